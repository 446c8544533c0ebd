use std::collections::BTreeSet;
use std::sync::Arc;

use idempotency::protocol::Record;
use payments::operations;

/// Records in the table that are of no operation of ours, as they are met.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    count: usize,
    operations: BTreeSet<Arc<str>>,
}

/// How many names of others' operations a line of the log has: enough to know whose they are.
const NAMES: usize = 5;

impl Foreign {
    /// Counts the records of others, and leaves ours.
    pub(super) fn sort_out(&mut self, records: Vec<Record>) -> Vec<Record> {
        let (ours, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|record| operations().of(record).is_some());
        self.count += others.len();
        for record in others {
            if self.operations.len() < NAMES {
                self.operations.insert(record.operation);
            }
        }
        ours
    }

    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// A line in the log, if there are any.
    pub(super) fn log(&self, state: &str) {
        if self.count > 0 {
            let (records, operations) = (self.count, &self.operations);
            tracing::info!(records, ?operations, state, "records of operations that are not ours are left as they are");
        }
    }
}
