//! Handles SQS batches: every message is settled or returned to its queue, and takes effect once.
//!
//! The event source mapping must report partial batches (`FunctionResponseTypes: [ReportBatchItemFailures]`); otherwise
//! Lambda ignores the response and deletes the whole batch.
//!
//! Messages of one batch run concurrently, except those of one lane, which run one after another: messages with equal
//! keys, messages that [contend](Contention), and the messages of one FIFO message group.
//!
//! **FIFO queues** are recognised by their ARN. The messages of a group run in order, and once one of them is returned,
//! the rest of its group is returned as well, [unless declared otherwise](InGroup); other groups continue. SQS counts a
//! receive for each message of a batch, whether it runs or not. Therefore, if a FIFO queue has a redrive policy, set
//! the `BatchSize` of its mapping to 1; otherwise a message that always fails moves its successors to the dead-letter
//! queue as well. Groups still run concurrently.

mod batch;
mod contention;
mod envelope;
mod fifo;
mod key;
mod lane;
mod message;
mod run;
mod trace_context;
mod visibility;

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsBatchResponse;
use derive_where::derive_where;

pub use crate::envelope::Unreadable;
pub use batch::SqsBatch;
pub use contention::Contention;
pub use envelope::Envelope;
pub use fifo::InGroup;
pub use key::{KeySource, NoKey};
pub use message::{Message, Received};
#[cfg(feature = "sqs-visibility")]
pub use visibility::SqsVisibility;
pub use visibility::Visibility;

use serde::de::DeserializeOwned;

use crate::engine::{Attempt, Engine, IntoVerdict, Mode, OnFailure, Operation};
use crate::protocol::{EpochMs, Pointer, Principal};
use crate::reconcile::{AnyResolver, Resolver};
use crate::store::Store;
use contention::ContentionOf;
use run::Run;

/// Handles the messages of a queue.
///
/// The handler's [`Verdict`](crate::engine::Verdict), or its `Result`, decides what happens to the message: after a
/// final verdict it is deleted, otherwise it is returned to the queue, until the queue's redrive policy moves it to the
/// dead-letter queue. Every failure is reported.
///
/// The body is parsed once. With [`Queue::reading`], the contention function and the handler get it as a type of the
/// application.
///
/// ```
/// use idempotency::protocol::{Pointer, Principal};
/// use idempotency::sqs::KeySource;
/// use idempotency::store::memory::{Effect, MemoryStore};
/// use idempotency::{Engine, Operation, Queue, Verdict};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemoryStore::new();
/// let engine = Engine::builder(store.clone()).build();
/// let operation = Operation::new("ledger", "post");
/// let key = KeySource::pointer(Pointer::new("/event")?);
/// let queue = Queue::new(engine.clone(), operation, Principal::new("orders")?, key).single_write();
/// # let event: idempotency::sqs::SqsBatch = serde_json::from_str(r#"{"Records":[
/// #     {"messageId":"m-1","body":"{\"event\":\"e-1\"}"},{"messageId":"m-2","body":"{\"event\":\"e-1\"}"}]}"#)?;
/// # let deadline = engine.now().plus(std::time::Duration::from_secs(10));
/// let response = queue.handle(&event, deadline, |attempt, _message| async move {
///     attempt.add_effect(Effect::named("posted"));
///     Verdict::Success(())
/// });
/// assert!(response.await?.batch_item_failures.is_empty());
/// assert_eq!(store.applied("posted"), 1); // two messages, one key
/// # Ok(())
/// # }
/// ```
#[derive_where(Clone, Debug)]
pub struct Queue<S: Store, T = ()> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    key: KeySource,
    /// From the outside in.
    envelopes: Vec<Envelope>,
    #[derive_where(skip)]
    reading: Reading<T>,
    mode: Mode,
    resolver: Option<AnyResolver<S::Effect, ()>>,
    on_failure: OnFailure,
    in_group: InGroup,
    fails_if_all_returned: bool,
    concurrency: usize,
    contention: ContentionOf<T>,
    /// `None`: every message keeps the queue's visibility timeout.
    #[derive_where(skip)]
    visibility: Option<Arc<dyn Visibility>>,
    /// Where a body contains its producer's trace.
    trace: Option<Pointer>,
}

/// The application's function that converts a message into its own type.
type Reading<T> = Arc<dyn Fn(&Received<'_>) -> Result<T, Unreadable> + Send + Sync>;

impl<S: Store> Queue<S> {
    /// Creates a handler for the messages of one operation.
    ///
    /// `principal` is the sender, for example the producing service; there is no default. `key` is the place of the
    /// producer's key in a message.
    ///
    /// The operation's retention is [`LONGEST_RETENTION`] by default. A shorter one must exceed the retention of the
    /// queue and of its dead-letter queue together: a message that is redriven after its record has expired runs again.
    ///
    /// A message is returned without running if its JSON body has several members of one name, if it has no key, or if
    /// it lacks a value by which its operation [compares](Operation::compare).
    pub fn new(engine: Engine<S>, operation: Operation, principal: Principal, key: KeySource) -> Self {
        Self {
            engine,
            operation: operation.or_retention(LONGEST_RETENTION),
            principal,
            key,
            envelopes: Vec::new(),
            reading: Arc::new(|_| Ok(())),
            mode: Mode::Claim,
            resolver: None,
            on_failure: OnFailure::default(),
            in_group: InGroup::default(),
            fails_if_all_returned: false,
            concurrency: 10,
            contention: ContentionOf::none(),
            visibility: None,
            trace: None,
        }
    }
}

impl<S: Store, T> Queue<S, T> {
    /// Converts each message once into a type of the application. The [contention](Queue::contention) function and the
    /// handler then get it as [`Message::content`]. If the conversion can fail, use a type such as `Result`; a message
    /// on which the function panics is returned.
    ///
    /// This removes a contention function set before, because that one is for messages of another type.
    ///
    /// ```
    /// use idempotency::sqs::Contention;
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Sale {
    ///     account: String,
    /// }
    ///
    /// # fn read<S: idempotency::store::Store>(queue: idempotency::Queue<S>) -> idempotency::Queue<S, Option<Sale>> {
    /// let queue = queue.reading(|message| Sale::deserialize(message.document().ok()?).ok());
    /// queue.contention(|message| match message.content() {
    ///     Some(sale) => Contention::none().on(&sale.account),
    ///     None => Contention::none(),
    /// })
    /// # }
    /// ```
    #[must_use]
    pub fn reading<U>(self, reading: impl Fn(&Received<'_>) -> U + Send + Sync + 'static) -> Queue<S, U> {
        self.read_by(Arc::new(move |message| Ok(reading(message))))
    }

    /// Deserializes each message into a type, which the handler gets as [`Message::content`]. A message of another form
    /// is returned without running, and its log line names the invalid member.
    ///
    /// This removes a contention function set before, because that one is for messages of another type.
    ///
    /// ```
    /// use idempotency::protocol::{Pointer, Principal};
    /// use idempotency::sqs::{Envelope, KeySource, Message};
    /// use idempotency::store::memory::{Effect, MemoryStore};
    /// use idempotency::{Attempt, Engine, Operation, Queue};
    /// use serde::Deserialize;
    ///
    /// #[derive(Deserialize)]
    /// struct Order {
    ///     quantity: String,
    /// }
    ///
    /// async fn ship(attempt: Attempt<Effect>, order: Message<'_, Order>) -> Result<(), std::num::ParseIntError> {
    ///     let quantity: u32 = order.content().quantity.parse()?; // an error: the message comes again
    ///     attempt.add_effect(Effect::named(format!("shipped {quantity}")));
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let store = MemoryStore::new();
    /// # let engine = Engine::builder(store.clone()).build();
    /// # let (operation, shop) = (Operation::new("orders", "ship"), Principal::new("shop")?);
    /// let key = KeySource::pointer(Pointer::new("/order")?);
    /// let queue = Queue::new(engine, operation, shop, key).single_write().envelope(Envelope::Sns).typed::<Order>();
    /// # let event: idempotency::sqs::SqsBatch = serde_json::from_str(r#"{"Records":[{"messageId":"m-1","body":
    /// #   "{\"Type\":\"Notification\",\"Message\":\"{\\\"order\\\":1,\\\"quantity\\\":\\\"2\\\"}\"}"}]}"#)?;
    /// # let deadline = idempotency::protocol::EpochMs(u64::MAX);
    /// let response = queue.handle(&event, deadline, ship).await?;
    /// # assert!(response.batch_item_failures.is_empty());
    /// # assert_eq!(store.applied("shipped 2"), 1);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn typed<U: DeserializeOwned + 'static>(self) -> Queue<S, U> {
        self.read_by(Arc::new(|message| message.typed()))
    }

    fn read_by<U>(self, reading: Reading<U>) -> Queue<S, U> {
        Queue {
            engine: self.engine,
            operation: self.operation,
            principal: self.principal,
            key: self.key,
            envelopes: self.envelopes,
            reading,
            mode: self.mode,
            resolver: self.resolver,
            on_failure: self.on_failure,
            in_group: self.in_group,
            fails_if_all_returned: self.fails_if_all_returned,
            concurrency: self.concurrency,
            contention: ContentionOf::none(),
            visibility: self.visibility,
            trace: self.trace,
        }
    }

    /// Declares the envelope that a service puts around each message. Key, fingerprint, contention and handler get the
    /// message inside; a message that is not in this envelope is returned. Call this again for an envelope inside the
    /// envelope: [`Envelope::Sns`], then [`Envelope::S3`].
    #[must_use]
    pub fn envelope(mut self, envelope: Envelope) -> Self {
        self.envelopes.push(envelope);
        self
    }

    /// Looks for evidence when a message is delivered again whose outcome is unknown; see [`Engine::run_or_reconcile`].
    /// Without a resolver such a message goes to the dead-letter queue, unless it is reconciled in another way before.
    ///
    /// In single-write mode no outcome is unknown, and the resolver is not called.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver<S::Effect, ()> + 'static) -> Self {
        self.resolver = Some(AnyResolver::new(resolver));
        self
    }

    /// Sets what happens to the rest of a FIFO queue's message group after one of its messages is returned. Default:
    /// [`InGroup::ReturnRest`].
    #[must_use]
    pub const fn in_group(mut self, in_group: InGroup) -> Self {
        self.in_group = in_group;
        self
    }

    /// Makes [`handle`](Self::handle) fail if it would return all messages of a batch. To SQS that makes no difference,
    /// but the invocation counts as a function error, which can trigger an alarm.
    #[must_use]
    pub const fn fail_if_all_returned(mut self) -> Self {
        self.fails_if_all_returned = true;
        self
    }

    /// Uses single-write mode: one request per message, for operations whose effects are all transactional. See
    /// [`Engine::run_single_write`].
    #[must_use]
    pub const fn single_write(mut self) -> Self {
        self.mode = Mode::SingleWrite;
        self
    }

    /// Sets what happens to messages whose verdict is `Failed`. Default: [`OnFailure::Return`].
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Sets how many lanes of a batch run concurrently, at least 1. Default: 10. A lane is one message, or several that
    /// run one after another.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Sets the function that returns what a message contends for. Messages of one batch that name the same item run
    /// one after another instead of cancelling each other's transactions. In a FIFO queue only the group matters, and
    /// this function is not called.
    #[must_use]
    pub fn contention(mut self, of: impl Fn(&Message<'_, T>) -> Contention + Send + Sync + 'static) -> Self {
        self.contention = ContentionOf::new(of);
        self
    }

    /// Keeps a message that is in progress elsewhere invisible until the end of the lease there. Without this setting,
    /// or if it fails, the message is delivered again after the queue's visibility timeout, which may use up receives
    /// that the redrive policy counts.
    #[must_use]
    pub fn visibility(mut self, visibility: impl Visibility + 'static) -> Self {
        self.visibility = Some(Arc::new(visibility));
        self
    }

    /// Sets where the body contains the producer's `traceparent`, for producers that cannot set a message attribute of
    /// that name, such as a pipe. A message attribute takes precedence; without both, X-Ray's header is used.
    ///
    /// A producer's retry belongs to another trace: let the operation [compare](crate::Operation::compare) everything
    /// except that member.
    #[must_use]
    pub fn traceparent(mut self, pointer: Pointer) -> Self {
        self.trace = Some(pointer);
        self
    }

    /// Handles a batch and reports the messages to deliver again, in the order of the batch.
    ///
    /// `deadline` is the function's. Messages that have not begun when the margin before it begins are returned.
    ///
    /// # Errors
    /// [`BatchFailed`]; Lambda then returns the whole batch.
    pub async fn handle<'e, H, R>(
        &self,
        event: &'e SqsBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<SqsBatchResponse, BatchFailed>
    where
        H: Fn(Attempt<S::Effect>, Message<'e, T>) -> R,
        R: Future<Output: IntoVerdict>,
    {
        Run { queue: self, event, deadline, handler }.batch().await
    }
}

/// A retention that covers the maximum retention of a queue and its dead-letter queue, 14 days each, and one more day.
pub const LONGEST_RETENTION: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// The reason that a batch has no response. Lambda returns all its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BatchFailed {
    /// A message without an id could not be reported as failed. Nothing ran.
    #[error("a message of the batch has no messageId")]
    NoMessageId,
    /// All messages would be returned, and the queue is set to [fail](Queue::fail_if_all_returned) in that case.
    #[error("all messages of the batch are returned")]
    AllReturned,
}

#[cfg(test)]
mod tests;
