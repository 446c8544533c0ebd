//! DynamoDB Streams, with one idempotency record per change.
//!
//! A watermark is impossible here, because there is no fixed partition: an event does not contain its shard, shards
//! split and end on their own, and a mapping may handle several parts of one concurrently. However, each change has a
//! unique event id, and the stream keeps it for only a day, so an idempotency record per change stays cheap.

use std::fmt;
use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_dynamo::Item;
use serde_json::Value;

use super::Position;
use crate::engine::{Attempt, Call, Engine, Error, IntoVerdict, OnFailure, Operation, Outcome, timed};
use crate::envelope::{self, Unreadable};
use crate::protocol::{EpochMs, Fingerprinter, InvalidKey, Key, Principal};
use crate::reconcile::{AnyResolver, Resolver};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;

/// A retention that covers the day for which a table's stream keeps a change, plus one more day.
pub const TABLE_STREAM_RETENTION: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Handles the stream of a DynamoDB table, by event id. The mapping needs `FunctionResponseTypes:
/// [ReportBatchItemFailures]`.
///
/// Changes run one after another. After a failure the rest of the batch is returned, since Lambda redelivers a shard
/// from the first failed change on.
///
/// The first change of a batch, and each one after a duplicate, is looked up by an eventually consistent read before
/// anything is written: an event does not show whether a change is redelivered, but a batch is redelivered as a whole
/// or from some change on.
#[derive(Clone)]
pub struct TableStream<S: Store> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    on_failure: OnFailure,
    single_write: bool,
    resolver: Option<AnyResolver<S::Effect, ()>>,
}

impl<S: Store> fmt::Debug for TableStream<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TableStream")
            .field("operation", &self.operation)
            .field("on_failure", &self.on_failure)
            .finish_non_exhaustive()
    }
}

/// An event of a table's stream as Lambda delivers it. Each change is parsed separately: the changes before one that
/// cannot be read still run.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TableBatch {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

/// A change has no sequence number, so it could not be reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change has no sequence number")]
pub struct NoSequenceNumber;

/// The result for a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settlement {
    /// It is settled, and this delivery ran it.
    Done,
    /// It was settled before.
    Duplicate,
    /// It must be delivered again.
    Open,
}

/// The reason that a change has no key and cannot run. The batch is redelivered from this change on.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("its event id is not a valid key")]
    NoKey(#[from] InvalidKey),
}

impl<S: Store> TableStream<S> {
    /// Creates a handler. `principal` identifies the table. The operation's retention is [`TABLE_STREAM_RETENTION`] by
    /// default; with a shorter one, a change that is redelivered after its end runs again.
    pub const fn new(engine: Engine<S>, operation: Operation, principal: Principal) -> Self {
        let operation = operation.or_retention(TABLE_STREAM_RETENTION);
        Self { engine, operation, principal, on_failure: OnFailure::Return, single_write: false, resolver: None }
    }

    /// Uses single-write mode, for operations whose effects are all transactional; see [`Engine::run_single_write`].
    #[must_use]
    pub const fn single_write(mut self) -> Self {
        self.single_write = true;
        self
    }

    /// Sets what happens to changes whose verdict is `Failed`. Default: [`OnFailure::Return`], with which the shard
    /// waits until the mapping gives them up.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Looks for evidence when a change is redelivered whose outcome is unknown. In single-write mode no outcome is
    /// unknown, and the resolver is not called.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver<S::Effect, ()> + 'static) -> Self {
        self.resolver = Some(AnyResolver::new(resolver));
        self
    }

    /// Handles a batch and reports the first change to redeliver.
    ///
    /// # Errors
    /// [`NoSequenceNumber`] if a change has none: nothing ran, and Lambda redelivers the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: TableBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<DynamoDbEventResponse, NoSequenceNumber>
    where
        H: Fn(Attempt<S::Effect>, EventRecord) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let number = |change| envelope::text(change, "/dynamodb/SequenceNumber").filter(|number| !number.is_empty());
        let changes = event.records.iter().map(|change| Ok((number(change).ok_or(NoSequenceNumber)?, change)));
        let mut response = DynamoDbEventResponse::default();
        let mut is_redelivery = true;
        for (number, change) in changes.collect::<Result<Vec<_>, NoSequenceNumber>>()? {
            let settlement = self.change(number, read(change), (deadline, is_redelivery), &handler).await;
            is_redelivery = settlement == Settlement::Duplicate;
            if settlement == Settlement::Open {
                self.engine.count(Metric::RecordReturned, self.operation.name());
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier = Some(number.to_owned());
                response.batch_item_failures.push(failure);
                break;
            }
        }
        self.engine.flush();
        Ok(response)
    }

    /// Handles one change, and looks it up first if it may be a duplicate.
    async fn change<H, R>(
        &self,
        number: &str,
        read: Result<(Key, EventRecord), NotBegun>,
        (deadline, is_redelivery): (EpochMs, bool),
        handler: &H,
    ) -> Settlement
    where
        H: Fn(Attempt<S::Effect>, EventRecord) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let operation = self.operation.name();
        // DynamoDB's sequence numbers are valid positions. One that is not would only be missing from the log.
        let position = Position::new(number).ok();
        let line = RequestLog { operation, position: position.as_ref(), returned: Some(true), ..RequestLog::default() };
        if !self.engine.has_time(deadline) {
            RequestLog { summary: LogSummary::new(LogOutcome::NoTimeToBegin), ..line }.write();
            return Settlement::Open;
        }
        let (key, change) = match read {
            Ok(read) => read,
            Err(error) => {
                RequestLog { summary: LogSummary::failed(LogOutcome::Unreadable, &error), ..line }.write();
                return Settlement::Open;
            }
        };
        let started = self.engine.now();
        let fingerprint = Fingerprinter::new().bytes(change.event_name.as_bytes()).finish();
        let call = Call::new(self.operation.clone(), self.principal.clone(), key, fingerprint, deadline);
        let call = call.redelivered(is_redelivery);
        let run = |attempt| {
            let handling = handler(attempt, change.clone());
            async { handling.await.into_verdict() }
        };
        let span = Span::message(operation);
        let (outcome, timings) = match (self.single_write, &self.resolver) {
            (true, _) => span.of(timed(self.engine.run_single_write(&call, run))).await,
            (false, Some(resolver)) => span.of(timed(self.engine.run_or_reconcile(&call, run, resolver))).await,
            (false, None) => span.of(timed(self.engine.run(&call, run))).await,
        };
        let settlement = self.settlement(&outcome);
        let (record, summary) = (call.record_id(), LogSummary::of(&outcome, self.engine.now()));
        let (returned, total) = (Some(settlement == Settlement::Open), self.engine.now().since(started));
        RequestLog { record: Some(record.name()), returned, summary, timings, total, ..line }.write();
        settlement
    }

    const fn settlement(&self, outcome: &Result<Outcome<()>, Error>) -> Settlement {
        match outcome {
            Ok(Outcome::Executed(answered)) if self.on_failure.is_done(answered.resolution) => Settlement::Done,
            Ok(Outcome::Replayed(answered)) if self.on_failure.is_done(answered.resolution) => Settlement::Duplicate,
            Ok(
                Outcome::Executed(_)
                | Outcome::Replayed(_)
                | Outcome::NotExecuted(())
                | Outcome::InProgress { .. }
                | Outcome::Mismatch
                | Outcome::Conflict
                | Outcome::Unknown { .. },
            )
            | Err(_) => Settlement::Open,
        }
    }
}

/// Deserializes an item as it is after a change: `new_image(&change)?`.
///
/// # Errors
/// [`Unreadable`] if the change has no such image, or the image has another form. The error contains no item data, so a
/// handler may return it.
pub fn new_image<T: DeserializeOwned>(change: &EventRecord) -> Result<T, Unreadable> {
    image(&change.change.new_image, "NewImage")
}

/// Deserializes an item as it was before a change.
///
/// # Errors
/// The same as for [`new_image`].
pub fn old_image<T: DeserializeOwned>(change: &EventRecord) -> Result<T, Unreadable> {
    image(&change.change.old_image, "OldImage")
}

fn image<T: DeserializeOwned>(image: &Item, name: &str) -> Result<T, Unreadable> {
    serde_dynamo::from_item(image.clone()).map_err(|_| Unreadable { member: name.to_owned() })
}

fn read(change: &Value) -> Result<(Key, EventRecord), NotBegun> {
    let change: EventRecord = envelope::read(change)?;
    Ok((Key::new(change.event_id.clone())?, change))
}
