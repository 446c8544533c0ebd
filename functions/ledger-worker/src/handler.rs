//! The worker's business logic: an event or a sale becomes a posting.

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::sqs::{Contention, Message, Received};
use idempotency::{Attempt, Verdict};
use payments::{Invalid, Posting, Table, Terminals, record_posting};

/// The content of a message, or its problems.
pub(crate) type Content = Result<payments::Message, Invalid>;

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

    /// All effects are transactional: the entries, the balance and the terminal's number are written with the record of
    /// the message, in one request.
    pub(crate) async fn handle(
        &self,
        attempt: Attempt<TransactWriteItem>,
        message: Message<'_, Content>,
    ) -> Verdict<()> {
        match message.content() {
            Ok(payments::Message::Sale(sale)) => {
                self.terminals.post(&attempt, sale);
                Verdict::Success(())
            }
            Ok(payments::Message::Event(event)) => {
                record_posting(&self.table, &Posting::of(event), &attempt);
                Verdict::Success(())
            }
            // Nothing is recorded: the message goes to the dead-letter queue and can be posted once this version
            // understands it.
            Err(invalid) => {
                tracing::error!(message = message.message_id, %invalid, "not a message of the ledger");
                Verdict::NotExecuted(())
            }
        }
    }
}

/// Parses a message, once for contention and handler.
pub(crate) fn read(message: &Received<'_>) -> Content {
    payments::Message::of(message.document()?)
}

/// A posting changes the balance of its account, and a sale also the number of its terminal. Messages that change the
/// same item run one after another, and those of a terminal in the order of their numbers.
pub(crate) fn contention(message: &Message<'_, Content>) -> Contention {
    match message.content() {
        Ok(payments::Message::Event(event)) => Contention::none().on(format!("account {}", event.account)),
        Ok(payments::Message::Sale(sale)) => Contention::none()
            .on(format!("account {}", sale.account))
            .on(format!("terminal {}", sale.terminal))
            .rank(sale.sequence.get()),
        Err(_) => Contention::none(),
    }
}
