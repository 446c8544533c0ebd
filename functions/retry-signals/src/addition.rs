use signals::{Answer, Counts, Kind};

use crate::line::Line;

/// Records that a window names as examples.
const EXAMPLES: usize = 4;

/// The counts that a delivery adds to an entity's window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Addition {
    pub(crate) counts: Counts,
    /// Ids of records, as examples of requests that were not ordinary successes.
    pub(crate) records: Vec<String>,
}

impl Addition {
    pub(crate) fn add(&mut self, kind: Kind, line: &Line) {
        let facts = line.facts(kind);
        let is_notable = !(matches!(facts.answer, Answer::Succeeded | Answer::Other));
        if let Some(id) = line.record_id.as_ref().filter(|id| is_notable && id.len() <= 64)
            && self.records.len() < EXAMPLES
            && !self.records.contains(id)
        {
            self.records.push(id.clone());
        }
        self.counts.add(&facts);
    }
}
