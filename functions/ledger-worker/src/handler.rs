//! The business of the worker: an event or a sale becomes a posting.

use aws_lambda_events::event::sqs::SqsMessage;
use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::sqs::Contention;
use idempotency::{Attempt, Verdict};
use payments::{Message, Posting, Table, Terminals};

/// Posts messages to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    table: Table,
    terminals: Terminals,
}

impl Handler {
    pub(crate) fn new(table: Table) -> Self {
        Self { terminals: Terminals::new(table.clone()), table }
    }

    /// All effects are inside: the entries, the balance and the terminal's number are written with the record of the
    /// message, in one request.
    pub(crate) async fn handle(&self, attempt: Attempt<TransactWriteItem>, message: &SqsMessage) -> Verdict<()> {
        match Message::from_json(message.body.as_deref().unwrap_or_default().as_bytes()) {
            Ok(Message::Sale(sale)) => {
                self.terminals.post(&attempt, &sale);
                Verdict::Success(())
            }
            Ok(Message::Event(event)) => {
                attempt.add_effects(self.table.posted(&Posting::of(&event)));
                Verdict::Success(())
            }
            // Nothing is recorded: the message goes to the dead letters, and can be posted once it is understood.
            Err(invalid) => {
                tracing::error!(message = message.message_id, %invalid, "not a message of the ledger");
                Verdict::NotExecuted(())
            }
        }
    }
}

/// Postings move the balance of their account, and sales the number of their terminal; those that do both run one after
/// another, a terminal's in the order of their numbers.
pub(crate) fn contention(message: &SqsMessage) -> Contention {
    match Message::from_json(message.body.as_deref().unwrap_or_default().as_bytes()) {
        Ok(Message::Event(event)) => Contention::none().on(format!("account {}", event.account)),
        Ok(Message::Sale(sale)) => Contention::none()
            .on(format!("account {}", sale.account))
            .on(format!("terminal {}", sale.terminal))
            .rank(sale.sequence.get()),
        Err(_) => Contention::none(),
    }
}
