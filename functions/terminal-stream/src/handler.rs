//! The business of the stream: a sale becomes a posting.

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::sequence::{Gap, SequenceGate};
use idempotency::stream::Record;
use idempotency::{Attempt, Verdict};
use payments::{Posting, Sale, Table};

/// Posts sales to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    table: Table,
    /// The same marks as the ledger worker's: a sale that came by the queue, too, is posted once.
    terminals: SequenceGate,
}

impl Handler {
    pub(crate) fn new(table: Table) -> Self {
        Self { terminals: SequenceGate::new(table.name(), Gap::Hold), table }
    }

    /// All effects are inside: they are written with the partition's watermark.
    pub(crate) async fn handle(&self, attempt: Attempt<TransactWriteItem>, record: Record) -> Verdict<()> {
        match Sale::from_message(record.value.as_deref().unwrap_or_default()) {
            Ok(sale) => {
                // First, because the first refused effect decides: of a duplicate, the entries are refused as well.
                self.terminals.pass(&attempt, Table::terminal(&sale.terminal), sale.sequence);
                let effects = self.table.posted(&Posting::of_sale(&sale));
                effects.into_iter().for_each(|effect| attempt.add_effect(effect));
                Verdict::Success(())
            }
            // The partition waits until the mapping gives the record up, to the topic of failed ones.
            Err(invalid) => {
                tracing::error!(partition = record.partition, position = %record.position, %invalid, "no sale");
                Verdict::NotExecuted(())
            }
        }
    }
}
