//! Follow-up: settles claims that a dead sandbox or a client without a retry left open, from the records' table stream.
//!
//! A sandbox that dies leaves its claim open, and a client that gives up never retries. The table's stream shows each
//! claim and its end. A claim that is settled in the same batch is done. For any other claim, a *follow-up* is sent: a
//! delayed message to look at this version of this record once its lease is over. The cost depends on what goes wrong,
//! not on what is stored: a healthy call leaves at most a part of one delayed message, and nothing polls.
//!
//! ```text
//! claim ─► stream ─► batch ─┬ settled in it ──► nothing to do
//!                           ├ open, due ──────► read ─► reconcile ─┬► settled
//!                           └ open, not due ──► send …             └► still unknown ─► a new version: stream
//!                                                └─► read ─┬ settled, gone, changed ─► nothing to do
//!                                                          └ still that version ─────► reconcile
//! ```
//!
//! A follow-up is only a hint. It may be late, lost, delivered twice or out of order: a look reads the record with
//! strong consistency and takes it over under a condition, like any other attempt. If a follow-up is lost, its record
//! is still in the sparse index (UNKNOWN) or found by a [scan](crate::store::unsettled::Unsettled) (PROCESSING).
//!
//! # Setting it up
//!
//! The table needs a stream of new images, and the function needs an event source mapping. The filters below deliver
//! claims and their ends, including releases; they leave out single-write mode, deletions and locks. Without filters
//! the result is the same, at the price of more invocations.
//!
//! ```yaml
//! Records:
//!   Type: AWS::DynamoDB::Table
//!   Properties: { StreamSpecification: { StreamViewType: NEW_IMAGE }, … }
//! FollowUp:
//!   Type: AWS::Serverless::Function
//!   Properties:
//!     Events:
//!       Claims:
//!         Type: DynamoDB
//!         Properties:
//!           Stream: !GetAtt Records.StreamArn
//!           StartingPosition: TRIM_HORIZON
//!           BatchSize: 10000
//!           MaximumBatchingWindowInSeconds: 60
//!           FunctionResponseTypes: [ReportBatchItemFailures]
//!           FilterCriteria:
//!             Filters:
//!               - Pattern: '{"dynamodb":{"Keys":{"id":{"S":[{"prefix":"idempotency:"}]}},
//!                           "NewImage":{"status":{"S":["PROCESSING","UNKNOWN"]}}}}'
//!               - Pattern: '{"eventName":["MODIFY"],"dynamodb":{"Keys":{"id":{"S":[{"prefix":"idempotency:"}]}},
//!                           "NewImage":{"status":{"S":["SUCCESS","FAILED"]}}}}'
//! ```
//!
//! The function uses the same resolver as retries do:
//!
//! ```no_run
//! # use idempotency::{DynamoDbStore, Engine, reconcile::{Operations, Resolver}};
//! # use lambda_http::lambda_runtime::{Error, LambdaEvent};
//! # use aws_sdk_dynamodb::types::TransactWriteItem;
//! use idempotency::follow_up::{FollowUpEvent, FollowUpResponse, FollowUps, Schedules};
//!
//! # async fn follow_up(
//! #     event: LambdaEvent<serde_json::Value>, engine: Engine<DynamoDbStore>, operations: Operations,
//! #     resolver: impl Resolver<TransactWriteItem, String>, group: &str, role: &str,
//! # ) -> Result<FollowUpResponse, Error> {
//! let LambdaEvent { payload, context } = event;
//! let deadline = idempotency::protocol::EpochMs(context.deadline);
//! let schedules = Schedules::new(Schedules::client(), group, role, context.invoked_function_arn);
//! let event = FollowUpEvent::read(payload).map_err(|_| "neither a batch of the stream nor follow-ups")?;
//! Ok(FollowUps::new(engine, operations, schedules).handle(event, deadline, None, &resolver).await?)
//! # }
//! ```
//!
//! [`Schedules`] names the permissions that the sender needs. `examples/follow_up.rs` runs without AWS.

mod batch;
#[cfg(any(test, feature = "test-util"))]
mod change;
mod event;
mod report;
mod schedules;
mod sender;

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use derive_where::derive_where;
use futures::stream::{self, StreamExt};
use serde::Serialize;

use crate::engine::{Answer, Engine, Resolver};
use crate::protocol::{EpochMs, FollowUp, InvocationId, Look};
use crate::reconcile::{Operations, Reconciled};
use crate::store::dynamodb::AttributeNames;
use crate::store::{BoxError, Store, StoreError};
use crate::streams::NoSequenceNumber;
use crate::telemetry::metrics::Metric;

#[cfg(any(test, feature = "test-util"))]
pub use change::change;
pub use event::{FollowUpEvent, to_text};
pub use report::FollowUpReport;
pub use schedules::Schedules;
pub use sender::Sender;

/// How many records are looked at concurrently, since each look may query an external system.
const CONCURRENCY: usize = 4;

/// The default of [`FollowUps::reserve`].
const RESERVE: Duration = Duration::from_secs(12);

/// A follow-up is given up after this many failed looks, which takes about a day.
const MOST_FAILURES: u32 = 32;

/// Handles the events of a follow-up function: batches of the table's stream, and follow-ups that are due.
#[derive_where(Debug)]
pub struct FollowUps<S, P> {
    engine: Engine<S>,
    operations: Operations,
    #[derive_where(skip)]
    sender: P,
    names: Arc<AttributeNames>,
    reserve: Duration,
}

/// The response to an event.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum FollowUpResponse {
    /// The change from which the stream must redeliver, if there is one.
    Changes(DynamoDbEventResponse),
    /// The results of the follow-ups.
    FollowUps(FollowUpReport),
}

/// The reason that an event must be delivered again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowUpError {
    /// A change has no sequence number, so it could not be reported. Nothing was done.
    #[error(transparent)]
    NoSequenceNumber(#[from] NoSequenceNumber),
    /// The follow-ups for a later look could not be sent.
    #[error("follow-ups could not be sent")]
    NotSent(#[source] BoxError),
    /// The store failed too often for some of the records.
    #[error("{0} follow-ups were given up")]
    GivenUp(usize),
}

/// One invocation.
struct Run<'r, R> {
    deadline: EpochMs,
    request: Option<InvocationId>,
    resolver: &'r R,
}

/// The result of one look.
enum Looked {
    Over,
    Reconciled(Reconciled),
    /// Look again later.
    Again(FollowUp),
    GivenUp,
}

impl<S: Store, P: Sender> FollowUps<S, P> {
    /// Creates a handler that follows up the records of these operations and leaves all others untouched.
    pub fn new(engine: Engine<S>, operations: Operations, sender: P) -> Self {
        Self { engine, operations, sender, names: Arc::default(), reserve: RESERVE }
    }

    /// Sets the attribute names of the table, if they are not the defaults.
    #[must_use]
    pub fn with_names(mut self, names: AttributeNames) -> Self {
        self.names = Arc::new(names);
        self
    }

    /// Sets how long before its deadline an invocation stops starting new looks: as long as a resolver may take, plus a
    /// margin. Default: 12 s.
    #[must_use]
    pub const fn reserve(mut self, reserve: Duration) -> Self {
        self.reserve = reserve;
        self
    }

    /// Handles an event: sends follow-ups for later looks, and reconciles the records that are due. `deadline` is the
    /// end of the invocation, `request` its id, for the records' histories.
    ///
    /// For a record whose outcome stays unknown no follow-up is sent here: the record has been written, so the stream
    /// leads to its next look, after [15 s](crate::protocol::SHORTEST_INTERVAL) to [an
    /// hour](crate::protocol::LONGEST_INTERVAL).
    ///
    /// # Errors
    /// [`FollowUpError`] if Lambda should deliver the event again.
    pub async fn handle<T: Answer>(
        &self,
        event: FollowUpEvent,
        deadline: EpochMs,
        request: Option<InvocationId>,
        resolver: &impl Resolver<S::Effect, T>,
    ) -> Result<FollowUpResponse, FollowUpError> {
        let run = Run { deadline, request, resolver };
        let response = match event {
            FollowUpEvent::Changes(changes) => self.changes(&changes, &run).await.map(FollowUpResponse::Changes),
            FollowUpEvent::FollowUps(sent) => self.sent(sent, &run).await.map(FollowUpResponse::FollowUps),
        };
        self.engine.flush();
        response
    }

    async fn changes<T: Answer>(
        &self,
        changes: &[serde_json::Value],
        run: &Run<'_, impl Resolver<S::Effect, T>>,
    ) -> Result<DynamoDbEventResponse, FollowUpError> {
        let open = batch::open(changes, &self.operations, &self.names)?;
        let first = open.iter().map(|open| open.number.clone()).min_by(by_number);
        let mut report = FollowUpReport::default();
        let follow_ups = open.into_iter().map(|open| open.follow_up).collect();
        let again = self.look(follow_ups, run, &mut report).await;
        let mut response = DynamoDbEventResponse::default();
        if let Err(error) = self.send(&again, &mut report).await {
            tracing::error!(error = &*error as &dyn std::error::Error, "follow-ups could not be sent");
            // Redeliver from the first open change on. Records that are reconciled meanwhile are then closed or have
            // another version.
            let mut failure = DynamoDbBatchItemFailure::default();
            failure.item_identifier = first;
            response.batch_item_failures.push(failure);
        }
        log(changes.len(), &report);
        Ok(response)
    }

    async fn sent<T: Answer>(
        &self,
        sent: Vec<FollowUp>,
        run: &Run<'_, impl Resolver<S::Effect, T>>,
    ) -> Result<FollowUpReport, FollowUpError> {
        let (count, mut report) = (sent.len(), FollowUpReport::default());
        let mut again = self.look(sent.clone(), run, &mut report).await;
        // A follow-up that came too early is not sent unchanged, because the sender may take it for the one that is
        // being delivered. It did not fail, so only its time is changed.
        for early in again.iter_mut().filter(|follow_up| sent.contains(follow_up)) {
            early.due = early.due.plus(Duration::from_millis(1));
        }
        let was_sent = self.send(&again, &mut report).await;
        log(count, &report);
        was_sent.map_err(FollowUpError::NotSent)?;
        match report.given_up {
            0 => Ok(report),
            given_up => Err(FollowUpError::GivenUp(given_up)),
        }
    }

    /// Looks at the follow-ups that are due, and returns those for a later look.
    async fn look<T: Answer>(
        &self,
        follow_ups: Vec<FollowUp>,
        run: &Run<'_, impl Resolver<S::Effect, T>>,
        report: &mut FollowUpReport,
    ) -> Vec<FollowUp> {
        let mut again = Vec::new();
        let mut looked =
            stream::iter(follow_ups).map(|follow_up| self.look_at(follow_up, run)).buffer_unordered(CONCURRENCY);
        while let Some(looked) = looked.next().await {
            match looked {
                Looked::Over => report.over += 1,
                Looked::Reconciled(reconciled) => report.count(reconciled),
                Looked::Again(follow_up) => again.push(follow_up),
                Looked::GivenUp => report.given_up += 1,
            }
        }
        again.sort_by_key(|follow_up| follow_up.due);
        again
    }

    async fn look_at<T: Answer>(&self, follow_up: FollowUp, run: &Run<'_, impl Resolver<S::Effect, T>>) -> Looked {
        let now = self.engine.now();
        if now < follow_up.due {
            return Looked::Again(follow_up);
        }
        if now.plus(self.reserve) > run.deadline {
            return Looked::Again(FollowUp { due: now.plus(crate::protocol::SHORTEST_INTERVAL), ..follow_up });
        }
        let found = match self.engine.store().read(&follow_up.record).await {
            Ok(found) => found,
            // Waiting does not make a version of a record readable.
            Err(error @ StoreError::Unreadable { .. }) => return failed(&follow_up, &error, || Looked::Over),
            Err(error) => return failed(&follow_up, &error, || again(follow_up.clone(), now)),
        };
        match follow_up.look(found, now) {
            Look::Over | Look::Superseded => Looked::Over,
            Look::Early(later) => Looked::Again(later),
            Look::Due(record) => {
                let deadline = EpochMs(run.deadline.0.min(now.plus(self.reserve).0));
                let looked =
                    self.engine.reconcile(&record, &self.operations, deadline, run.request, run.resolver).await;
                match looked {
                    Ok(reconciled) => {
                        self.engine.count(Metric::FollowedUp, &record.operation);
                        Looked::Reconciled(reconciled)
                    }
                    Err(error) => failed(&follow_up, &error, || again(follow_up.clone(), now)),
                }
            }
        }
    }

    async fn send(&self, again: &[FollowUp], report: &mut FollowUpReport) -> Result<(), BoxError> {
        if !again.is_empty() {
            self.sender.send(again).await?;
            report.sent = again.len();
        }
        Ok(())
    }
}

fn again(follow_up: FollowUp, now: EpochMs) -> Looked {
    match follow_up.failures {
        MOST_FAILURES.. => Looked::GivenUp,
        _ => Looked::Again(follow_up.again(now)),
    }
}

fn failed(follow_up: &FollowUp, error: &(dyn std::error::Error + 'static), looked: impl FnOnce() -> Looked) -> Looked {
    tracing::error!(record = follow_up.record.name(), error, "not followed up");
    looked()
}

/// Sequence numbers are decimal numbers without leading zeros, longer than any integer.
fn by_number(one: &String, other: &String) -> std::cmp::Ordering {
    one.len().cmp(&other.len()).then_with(|| one.cmp(other))
}

fn log(count: usize, report: &FollowUpReport) {
    let report = serde_json::to_string(report).unwrap_or_default();
    tracing::info!(count, report, "followed up");
}

#[cfg(test)]
mod tests;
