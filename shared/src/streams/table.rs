//! DynamoDB Streams, with one idempotency record per change.
//!
//! A watermark is impossible here, because there is no fixed partition: an event does not contain its shard, shards
//! split and end on their own, and a mapping may handle several parts of one concurrently. However, each change has a
//! unique event id, and the stream keeps it for only a day, so an idempotency record per change stays cheap.

use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use derive_where::derive_where;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_dynamo::Item;
use serde_json::Value;

use super::Position;
use crate::engine::{Attempt, Call, Consumer, Engine, IntoVerdict, Mode, OnFailure, Operation, Settlement, refused};
use crate::envelope::{self, Unreadable};
use crate::protocol::{EpochMs, Fingerprinter, InvalidKey, Key, Principal};
use crate::reconcile::{AnyResolver, Resolver};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, RequestLog};

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
#[derive_where(Clone, Debug)]
pub struct TableStream<S: Store> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    on_failure: OnFailure,
    mode: Mode,
    resolver: Option<AnyResolver<S::Effect, ()>>,
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
        Self { engine, operation, principal, on_failure: OnFailure::Return, mode: Mode::Claim, resolver: None }
    }

    /// Uses single-write mode, for operations whose effects are all transactional; see [`Engine::run_single_write`].
    #[must_use]
    pub const fn single_write(mut self) -> Self {
        self.mode = Mode::SingleWrite;
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
        let Self { engine, mode, on_failure, .. } = self;
        let (mode, resolver, on_failure) = (*mode, self.resolver.as_ref(), *on_failure);
        let consumer = Consumer { engine, mode, resolver, on_failure, deadline };
        let mut response = DynamoDbEventResponse::default();
        let mut is_redelivery = true;
        for (number, change) in changes.collect::<Result<Vec<_>, NoSequenceNumber>>()? {
            let ready = self.call(change, deadline).map(|(call, change)| (call.redelivered(is_redelivery), change));
            // DynamoDB's numbers are valid positions; if one should not be, it is only missing in the log.
            let position = Position::new(number).ok();
            let (operation, position) = (self.operation.name(), position.as_ref());
            let line = RequestLog { operation, position, ..RequestLog::default() };
            let settlement = consumer.handle(&ready.map_err(refused(LogOutcome::Unreadable)), &handler, line).await;
            is_redelivery = settlement == Settlement::Duplicate;
            if settlement.is_returned() {
                engine.count(Metric::RecordReturned, operation);
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier = Some(number.to_owned());
                response.batch_item_failures.push(failure);
                break;
            }
        }
        engine.flush();
        Ok(response)
    }

    fn call(&self, change: &Value, deadline: EpochMs) -> Result<(Call, EventRecord), NotBegun> {
        let change: EventRecord = envelope::read(change)?;
        let key = Key::new(change.event_id.clone())?;
        let fingerprint = Fingerprinter::new().bytes(change.event_name.as_bytes()).finish();
        Ok((Call::new(self.operation.clone(), self.principal.clone(), key, fingerprint, deadline), change))
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
