use std::collections::BTreeSet;
use std::sync::Arc;

use idempotency::protocol::Record;
use payments::operations;

/// Counts other applications' records in the table.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    count: usize,
    operations: BTreeSet<Arc<str>>,
}

/// How many of their operations a log line names: enough to identify the application.
const NAMES: usize = 5;

impl Foreign {
    /// Counts other applications' records, and returns ours.
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

    /// Logs their count, if there are any.
    pub(super) fn log(&self, state: &str) {
        if self.count > 0 {
            let (records, operations) = (self.count, &self.operations);
            tracing::info!(records, ?operations, state, "records of other applications were not changed");
        }
    }
}
