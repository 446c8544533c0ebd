//! The business of the worker: an event becomes a posting.

use aws_lambda_events::event::sqs::SqsMessage;
use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::{Attempt, Verdict};
use payments::{Event, Posting, Table};

/// Posts events to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    table: Table,
}

impl Handler {
    pub(crate) const fn new(table: Table) -> Self {
        Self { table }
    }

    /// All effects are inside: the entries and the balance are written with the record of the message, in one request.
    pub(crate) async fn handle(&self, attempt: Attempt<TransactWriteItem>, message: SqsMessage) -> Verdict<()> {
        let body = message.body.unwrap_or_default();
        match Event::from_message(body.as_bytes()) {
            Ok(event) => {
                let posting = Posting::of(&event);
                self.table.posted(&posting).into_iter().for_each(|effect| attempt.add_effect(effect));
                Verdict::Success(())
            }
            // Nothing is recorded: the message goes to the dead letters, and can be posted once it is understood.
            Err(invalid) => {
                tracing::error!(message = message.message_id, %invalid, "not an event of the ledger");
                Verdict::NotExecuted(())
            }
        }
    }
}
