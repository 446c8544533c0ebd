//! DynamoDB Streams: a record each.
//!
//! An event does not say which shard it is of, shards split and end by themselves, and a mapping may handle several
//! parts of one at the same time: there is no partition that a watermark could stand for. But each change has an event
//! id that no other has, and the stream keeps it for a day only, so that a record each stays cheap.

use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use serde::Deserialize;
use serde_json::Value;

use super::Position;
use crate::engine::{Attempt, Call, Engine, Error, Operation, Outcome, Verdict, timed};
use crate::envelope::{self, Unreadable};
use crate::line::{Line, Told};
use crate::metrics::Metric;
use crate::protocol::{EpochMs, Finding, Fingerprinter, InvalidKey, Key, Principal};
use crate::queue::Failed;
use crate::span::Span;
use crate::store::Store;

/// The retention that covers the day for which a table's stream keeps a change, and a day.
pub const TABLE_STREAM_RETENTION: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Handles the stream of a DynamoDB table, by the event id. The mapping needs
/// `FunctionResponseTypes: [ReportBatchItemFailures]`.
///
/// Changes run one after another; after a failure the rest of the batch is returned, as Lambda does with a shard.
#[derive(Clone)]
pub struct TableStream<S> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    failed: Failed,
    one_trip: bool,
}

/// An event of a table's stream, as Lambda hands it over. Each change in it is read by itself: those before one that
/// cannot be read run.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct TableBatch {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

/// A change that could not be reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a change has no sequence number")]
pub struct NoSequenceNumber;

/// Why a change has no key and cannot run. It is where the batch comes again from.
#[derive(Debug, thiserror::Error)]
enum NotBegun {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error("its event id is no key")]
    NoKey(#[from] InvalidKey),
}

impl<S: Store> TableStream<S> {
    /// A handler. `principal` names the table. The operation's retention is [`TABLE_STREAM_RETENTION`] if it says none;
    /// with a shorter one, a change that comes again after it runs again.
    pub const fn new(engine: Engine<S>, operation: Operation, principal: Principal) -> Self {
        let operation = operation.or_retention(TABLE_STREAM_RETENTION);
        Self { engine, operation, principal, failed: Failed::Redrive, one_trip: false }
    }

    /// Uses one-trip mode; see [`Engine::run_in_one_trip`].
    #[must_use]
    pub const fn one_trip(mut self) -> Self {
        self.one_trip = true;
        self
    }

    /// What becomes of changes that failed for good. Default: [`Failed::Redrive`], the shard waits until the mapping
    /// gives them up.
    #[must_use]
    pub const fn failed(mut self, failed: Failed) -> Self {
        self.failed = failed;
        self
    }

    /// Handles a batch and reports the first change that is to come again.
    ///
    /// # Errors
    /// [`NoSequenceNumber`]; nothing ran, and Lambda returns the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: TableBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<DynamoDbEventResponse, NoSequenceNumber>
    where
        H: Fn(Attempt<S::Effect>, EventRecord) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let number = |change| envelope::text(change, "/dynamodb/SequenceNumber").filter(|number| !number.is_empty());
        let changes = event.records.iter().map(|change| Ok((number(change).ok_or(NoSequenceNumber)?, change)));
        let mut response = DynamoDbEventResponse::default();
        for (number, change) in changes.collect::<Result<Vec<_>, NoSequenceNumber>>()? {
            if !self.change(number, read(change), deadline, &handler).await {
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

    /// Whether the change is settled.
    async fn change<H, R>(
        &self,
        number: &str,
        read: Result<(Key, EventRecord), NotBegun>,
        deadline: EpochMs,
        handler: &H,
    ) -> bool
    where
        H: Fn(Attempt<S::Effect>, EventRecord) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let operation = self.operation.name();
        // DynamoDB's numbers are positions; if one should not be, it is missing in the line only.
        let position = Position::new(number).ok();
        let line = Line { operation, position: position.as_ref(), returned: Some(true), ..Line::default() };
        if !self.engine.has_time(deadline) {
            Line { told: Told::refused("no time to begin"), ..line }.write();
            return false;
        }
        let (key, change) = match read {
            Ok(read) => read,
            Err(error) => {
                Line { told: Told::failed("unreadable", &error), ..line }.write();
                return false;
            }
        };
        let started = self.engine.time();
        let fingerprint = Fingerprinter::new().bytes(change.event_name.as_bytes()).finish();
        let call = Call::new(self.operation.clone(), self.principal.clone(), key, fingerprint, deadline);
        let run = |attempt| handler(attempt, change.clone());
        let span = Span::message(operation);
        let (outcome, timings) = match self.one_trip {
            true => span.of(timed(self.engine.run_in_one_trip(&call, run))).await,
            false => span.of(timed(self.engine.run(&call, run))).await,
        };
        let settled = self.is_settled(&outcome);
        let (record, told) = (call.record_id(), Told::of(&outcome));
        let (returned, total) = (Some(!settled), self.engine.time().since(started));
        Line { record: Some(record.digest()), returned, told, timings, total, ..line }.write();
        settled
    }

    const fn is_settled(&self, outcome: &Result<Outcome<()>, Error>) -> bool {
        match outcome {
            Ok(Outcome::Executed(answered) | Outcome::Replayed(answered)) => match answered.finding {
                Finding::Success => true,
                Finding::Failed => matches!(self.failed, Failed::Drop),
            },
            Ok(
                Outcome::NotExecuted(())
                | Outcome::InProgress { .. }
                | Outcome::Mismatch
                | Outcome::Conflict
                | Outcome::Unknown { .. },
            )
            | Err(_) => false,
        }
    }
}

fn read(change: &Value) -> Result<(Key, EventRecord), NotBegun> {
    let change: EventRecord = envelope::read(change)?;
    Ok((Key::new(change.event_id.clone())?, change))
}
