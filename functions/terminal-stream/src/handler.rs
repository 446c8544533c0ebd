//! The stream's business logic: a sale becomes a posting.

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::streams::Record;
use idempotency::{Attempt, Verdict};
use payments::{Sale, Table, Terminals};

/// Posts sales to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    terminals: Terminals,
}

impl Handler {
    pub(crate) fn new(table: Table) -> Self {
        Self { terminals: Terminals::new(table) }
    }

    /// All effects are transactional: they are written with the partition's watermark.
    pub(crate) async fn handle(&self, attempt: Attempt<TransactWriteItem>, record: Record) -> Verdict<()> {
        match Sale::from_message(record.value.as_deref().unwrap_or_default()) {
            Ok(sale) => {
                self.terminals.post(&attempt, &sale);
                Verdict::Success(())
            }
            // The partition waits until the mapping gives the record up and sends it to the topic for failed records.
            Err(invalid) => {
                tracing::error!(partition = record.partition, position = %record.position, %invalid, "no sale");
                Verdict::NotExecuted(())
            }
        }
    }
}
