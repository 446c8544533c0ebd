//! SQS batches: every message is settled or returned to its queue, and takes effect once.
//!
//! The event source mapping must report partial batches (`FunctionResponseTypes: [ReportBatchItemFailures]`);
//! without that Lambda ignores the answer and deletes the whole batch.
//!
//! Messages of one batch run at the same time, but for those that belong in one lane and run one after another: equal
//! keys, what the application says [contends](Contention), and the messages of one group of a FIFO queue.
//!
//! **FIFO queues** are known by their ARN. The messages of a group run in their order, and once one of them is returned
//! the rest of its group is, too; other groups go on. SQS counts a receive for each message of a batch, run or not: so
//! that a message that always fails does not take those behind it to the dead-letter queue, give the mapping of a FIFO
//! queue with a redrive policy a `BatchSize` of 1. Its groups still run at the same time.

mod batch;
mod body;
mod contention;
mod fifo;
mod key;
mod lane;
mod trace_context;
mod visibility;

use std::fmt;
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};

pub use batch::SqsBatch;
pub use contention::Contention;
pub use key::{KeySource, NoKey};
#[cfg(feature = "sqs-visibility")]
pub use visibility::SqsVisibility;
pub use visibility::Visibility;

use crate::engine::{Attempt, Call, Engine, Error, OnFailure, Operation, Outcome, Verdict, timed};
use crate::protocol::{EpochMs, Pointer, Principal, Resolution};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;
use body::Body;
use contention::ContentionOf;
use lane::{Delivery, Lane, Refused, Settlement};
use trace_context::TraceSource;
use visibility::VisibilityOf;

/// Handles the messages of a queue.
///
/// A handler's [`Verdict`] decides about its message: it is deleted if the verdict is final, and returned to the
/// queue otherwise, to come again until the queue's redrive policy takes it. There is no way to forget to report
/// a failure.
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
/// let (operation, sender) = (Operation::new("ledger", "post"), Principal::new("orders")?);
/// let queue = Queue::new(engine.clone(), operation, sender, KeySource::pointer(Pointer::new("/event")?)).single_write();
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
#[derive(Clone)]
pub struct Queue<S> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    key: KeySource,
    mode: Mode,
    on_failure: OnFailure,
    concurrency: usize,
    contention: ContentionOf,
    visibility: VisibilityOf,
    trace: TraceSource,
}

impl<S> fmt::Debug for Queue<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Queue")
            .field("operation", &self.operation)
            .field("key", &self.key)
            .field("on_failure", &self.on_failure)
            .field("concurrency", &self.concurrency)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Claim,
    SingleWrite,
}

impl<S: Store> Queue<S> {
    /// A handler of messages.
    ///
    /// `principal` names who sends them, for example the producing service: there is no default. `key` says where
    /// the producer's key is.
    ///
    /// The operation's retention is [`LONGEST_RETENTION`] if it says none. A shorter one must be more than the retention
    /// of the queue and of its dead-letter queue together: a message that is redriven after its record has expired runs
    /// again.
    ///
    /// A message whose body is JSON with a member twice is returned and does not run, and so is one without a key, or
    /// without a value by which its operation [compares](Operation::compare).
    pub fn new(engine: Engine<S>, operation: Operation, principal: Principal, key: KeySource) -> Self {
        Self {
            engine,
            operation: operation.or_retention(LONGEST_RETENTION),
            principal,
            key,
            mode: Mode::Claim,
            on_failure: OnFailure::default(),
            concurrency: 10,
            contention: ContentionOf::default(),
            visibility: VisibilityOf::default(),
            trace: TraceSource::default(),
        }
    }

    /// Uses single-write mode: one request per message, for operations whose effects are all inside. See
    /// [`Engine::run_single_write`].
    #[must_use]
    pub const fn single_write(mut self) -> Self {
        self.mode = Mode::SingleWrite;
        self
    }

    /// What becomes of messages that failed for good. Default: [`OnFailure::Return`].
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// How many lanes of a batch are handled at a time, at least 1. Default: 10. A lane is one message, or several
    /// that run one after another.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// What a message contends for: messages of one batch that name the same item run one after another instead of
    /// cancelling each other's transactions. On a FIFO queue the group decides alone, and this is not asked.
    #[must_use]
    pub fn contention(mut self, of: impl Fn(&SqsMessage) -> Contention + Send + Sync + 'static) -> Self {
        self.contention = ContentionOf::new(of);
        self
    }

    /// How to keep a message that is in progress elsewhere invisible until the lease there is over. Without it, or
    /// where it fails, the message comes again after the queue's visibility timeout, which may spend receives that
    /// the redrive policy counts.
    #[must_use]
    pub fn visibility(mut self, visibility: impl Visibility + 'static) -> Self {
        self.visibility = VisibilityOf::new(visibility);
        self
    }

    /// Where the body carries the `traceparent` of its producer. For producers that can set no message attribute of that
    /// name, as a pipe; an attribute is read in any case, and so is X-Ray's header.
    ///
    /// A producer that sends again does so in another trace: let the operation
    /// [compare](crate::Operation::compare) all but that member.
    #[must_use]
    pub fn traceparent(mut self, pointer: Pointer) -> Self {
        self.trace = TraceSource::in_body(pointer);
        self
    }

    /// Handles a batch and reports the messages that are to come again, in the order in which they came.
    ///
    /// `deadline` is the function's. Messages that were not begun a margin before it are returned.
    ///
    /// # Errors
    /// [`NoMessageId`] if a message cannot be reported; Lambda then returns the whole batch.
    pub async fn handle<'e, H, R>(
        &self,
        event: &'e SqsBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<SqsBatchResponse, NoMessageId>
    where
        H: Fn(Attempt<S::Effect>, &'e SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let deliveries = self.deliveries(event, deadline)?;
        let lanes = match deliveries.iter().any(|delivery| fifo::is_from_fifo(delivery.message)) {
            true => fifo::groups(deliveries),
            false => lane::standard(deliveries, &self.contention),
        };
        let mut returned = self.lanes(lanes, deadline, &handler).await;
        returned.sort_unstable();
        let mut response = SqsBatchResponse::default();
        response.set_failures(returned.into_iter().map(|(_position, id)| id.to_owned()));
        self.engine.flush();
        Ok(response)
    }

    fn deliveries<'e>(&self, event: &'e SqsBatch, deadline: EpochMs) -> Result<Vec<Delivery<'e>>, NoMessageId> {
        let deliveries = event.records.iter().enumerate().map(|(position, delivered)| {
            let batch::Delivered { message, unreadable } = delivered;
            let id = message.message_id.as_deref().filter(|id| !id.is_empty()).ok_or(NoMessageId)?;
            let body = Body::of(message);
            let trace = self.trace.of(message, &body);
            let call = match unreadable {
                None => self.call(message, &body, deadline).map(|call| call.traced(trace)),
                Some(why) => Err(Refused::Unreadable(why.clone())),
            };
            Ok(Delivery { position, id, message, trace, call })
        });
        deliveries.collect()
    }

    fn call(&self, message: &SqsMessage, body: &Body<'_>, deadline: EpochMs) -> Result<Call, Refused> {
        let key = self.key.of(message, body).map_err(Refused::NoKey)?;
        let fingerprint = body.fingerprint(&self.operation.compare).map_err(Refused::NotComparable)?;
        Ok(Call::new(self.operation.clone(), self.principal.clone(), key, fingerprint, deadline))
    }

    /// Handles lanes beside each other. Those to be returned, by position and id.
    async fn lanes<'e, H, R>(&self, lanes: Vec<Lane<'e>>, deadline: EpochMs, handler: &H) -> Vec<(usize, &'e str)>
    where
        H: Fn(Attempt<S::Effect>, &'e SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let (mut running, mut returned) = (FuturesUnordered::new(), Vec::new());
        for (number, lane) in lanes.into_iter().enumerate() {
            if number > 0 && number.is_multiple_of(LANES_A_TURN) {
                // Being asked, they begin; what wakes them meanwhile shows when they are asked again.
                while let Some(Some(more)) = running.next().now_or_never() {
                    returned.extend(more);
                }
                tokio::task::yield_now().await;
            }
            if running.len() == self.concurrency {
                returned.extend(running.next().await.into_iter().flatten());
            }
            running.push(self.lane(lane, deadline, handler));
        }
        while let Some(more) = running.next().await {
            returned.extend(more);
        }
        returned
    }

    /// Handles the messages of a lane one after another. Those to be returned, by position and id.
    async fn lane<'e, H, R>(&self, lane: Lane<'e>, deadline: EpochMs, handler: &H) -> Vec<(usize, &'e str)>
    where
        H: Fn(Attempt<S::Effect>, &'e SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut outcomes = lane::Outcomes::default();
        let mut returned = Vec::new();
        let mut deliveries = lane.deliveries.into_iter();
        while let Some(delivery) = deliveries.next() {
            let settlement = match outcomes.of(&delivery, lane.in_order) {
                Some(known) => {
                    self.note(&delivery, known, LogSummary::new(LogOutcome::AsAnotherOfItsBatch));
                    known
                }
                None => self.message(&delivery, deadline, handler).await,
            };
            // Most lanes have one message, after which nobody asks.
            if deliveries.len() > 0 {
                outcomes.add(&delivery, settlement);
            }
            match settlement {
                Settlement::Done => continue,
                Settlement::Returned => {}
                Settlement::InProgress(rest) => self.hide(delivery.message, rest).await,
            }
            self.engine.metrics().count(Metric::MessageReturned, self.operation.name());
            returned.push((delivery.position, delivery.id));
        }
        returned
    }

    async fn message<'e, H, R>(&self, delivery: &Delivery<'e>, deadline: EpochMs, handler: &H) -> Settlement
    where
        H: Fn(Attempt<S::Effect>, &'e SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let started = self.engine.now();
        if !self.engine.has_time(deadline) {
            return self.leave(delivery, LogSummary::new(LogOutcome::NoTimeToBegin));
        }
        let call = match &delivery.call {
            Ok(call) => call,
            Err(refused) => return self.leave(delivery, refused.summary()),
        };
        let run = |attempt| handler(attempt, delivery.message);
        let span = Span::message(self.operation.name()).linked(delivery.trace);
        // A batch has many of these at a time, and the one has twice the size of the other.
        let (outcome, timings) = match self.mode {
            Mode::Claim => span.of(timed(self.engine.run(call, run))).await,
            Mode::SingleWrite => span.of(timed(self.engine.run_single_write(call, run))).await,
        };
        let settlement = self.read(&outcome);
        let record = call.record_id();
        let line = RequestLog {
            operation: self.operation.name(),
            record: Some(record.digest()),
            message: Some(delivery.id),
            producer_trace: delivery.trace,
            returned: Some(settlement != Settlement::Done),
            summary: LogSummary::of(&outcome),
            timings,
            total: self.engine.now().since(started),
            ..RequestLog::default()
        };
        line.write();
        settlement
    }

    /// Returns a message that is not begun.
    fn leave(&self, delivery: &Delivery<'_>, summary: LogSummary) -> Settlement {
        self.note(delivery, Settlement::Returned, summary);
        Settlement::Returned
    }

    /// The line of a message for which the engine was not asked.
    fn note(&self, delivery: &Delivery<'_>, settlement: Settlement, summary: LogSummary) {
        let line = RequestLog {
            operation: self.operation.name(),
            message: Some(delivery.id),
            producer_trace: delivery.trace,
            returned: Some(settlement != Settlement::Done),
            summary,
            ..RequestLog::default()
        };
        line.write();
    }

    fn read(&self, outcome: &Result<Outcome<()>, Error>) -> Settlement {
        match outcome {
            Ok(Outcome::Executed(answered) | Outcome::Replayed(answered)) => self.settled(answered.resolution),
            Ok(Outcome::InProgress { retry_after }) => Settlement::InProgress(*retry_after),
            Ok(Outcome::NotExecuted(()) | Outcome::Mismatch | Outcome::Conflict | Outcome::Unknown { .. }) | Err(_) => {
                Settlement::Returned
            }
        }
    }

    fn settled(&self, resolution: Resolution) -> Settlement {
        match (resolution, self.on_failure) {
            (Resolution::Success, _) | (Resolution::Failed, OnFailure::Discard) => Settlement::Done,
            (Resolution::Failed, OnFailure::Return) => Settlement::Returned,
        }
    }

    /// Hides a message until a lease is over. Only a convenience: without it the message comes earlier or later.
    async fn hide(&self, message: &SqsMessage, rest: Duration) {
        if let Err(error) = self.visibility.set(message, rest).await {
            let operation = self.operation.name();
            self.engine.metrics().count(Metric::VisibilityUnchanged, operation);
            tracing::warn!(operation, message = message.message_id, error = &*error, "its visibility stays as it is");
        }
    }
}

/// How many lanes begin in one turn of the runtime.
///
/// What they write to their connections is sent at the end of the turn: were all begun in one, the store would hear of
/// the first message only when the last one is ready. Were each begun in its own, each answer would wake the runtime.
const LANES_A_TURN: usize = 5;

/// The retention that covers the longest retention of a queue and of its dead-letter queue, 14 days each, and a day.
pub const LONGEST_RETENTION: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A message without an id, which could not be reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the batch has no messageId")]
pub struct NoMessageId;

#[cfg(test)]
mod tests;
