//! The parts of the ledger worker behind SQS. The business logic is in `handler`.

mod handler;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::protocol::{Compare, EpochMs, InvalidPointer, InvalidPrincipal, Principal};
use idempotency::sqs::{BatchFailed, SqsBatch, Visibility};
use idempotency::store::Store;
use idempotency::{Engine, Operation, Queue};
use payments::{Message, Table};

use handler::{Content, Handler};

/// Posts the messages of the ledger's queue, each once.
pub struct Worker<S: Store> {
    queue: Queue<S, Content>,
    handler: Handler,
}

/// A key or a name in this program is invalid, which a test would detect.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSettings {
    /// A JSON pointer.
    #[error(transparent)]
    Pointer(#[from] InvalidPointer),
    /// The name of the producer.
    #[error(transparent)]
    Principal(#[from] InvalidPrincipal),
}

impl<S: Store> Clone for Worker<S> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), handler: self.handler.clone() }
    }
}

impl<S: Store<Effect = TransactWriteItem>> Worker<S> {
    /// A worker that stores its records with this engine and posts into this table.
    ///
    /// # Errors
    /// [`InvalidSettings`] if a pointer or the principal is invalid.
    pub fn new(engine: Engine<S>, table: Table) -> Result<Self, InvalidSettings> {
        let operation = Operation::new("ledger", "post to the ledger").compare(Compare::Selected(Message::compared()?));
        // The messages come from the payments application itself, whichever queue delivers them.
        let queue = Queue::new(engine, operation, Principal::new("payments")?, Message::key()?).single_write();
        Ok(Self::on(queue.traceparent(Message::traceparent()?), table))
    }

    /// A worker on a queue whose messages have other keys.
    pub fn on(queue: Queue<S>, table: Table) -> Self {
        Self { queue: queue.reading(handler::read).contention(handler::contention), handler: Handler::new(table) }
    }

    /// How to keep a message that is in progress elsewhere invisible; see [`Queue::visibility`].
    #[must_use]
    pub fn visibility(self, visibility: impl Visibility + 'static) -> Self {
        Self { queue: self.queue.visibility(visibility), ..self }
    }

    /// Handles a batch; see [`Queue::handle`].
    ///
    /// # Errors
    /// [`BatchFailed`] if a message has no id.
    pub async fn handle(&self, batch: &SqsBatch, deadline: EpochMs) -> Result<SqsBatchResponse, BatchFailed> {
        self.queue.handle(batch, deadline, |attempt, message| self.handler.handle(attempt, message)).await
    }
}
