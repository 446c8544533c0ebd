//! The handling of one batch, from its delivery to the report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};

use super::batch::{Delivered, SqsBatch};
use super::lane::{self, Delivery, Lane, ReadingPanicked, Ready, Refused, Settlement};
use super::message::{Message, Received};
use super::{BatchFailed, Mode, Queue, fifo};
use crate::engine::{Attempt, Call, Error, IntoVerdict, Outcome, timed};
use crate::protocol::{EpochMs, Resolution, Trace};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;

/// One batch in progress.
pub(super) struct Run<'q, 'e, S: Store, T, H> {
    pub(super) queue: &'q Queue<S, T>,
    pub(super) event: &'e SqsBatch,
    pub(super) deadline: EpochMs,
    pub(super) handler: H,
}

impl<'e, S, T, H, R> Run<'_, 'e, S, T, H>
where
    S: Store,
    H: Fn(Attempt<S::Effect>, Message<'e, T>) -> R,
    R: Future<Output: IntoVerdict>,
{
    /// Handles the batch and reports the messages to deliver again, in the order of the batch.
    pub(super) async fn batch(&self) -> Result<SqsBatchResponse, BatchFailed> {
        let deliveries = self.deliveries()?;
        let lanes = match deliveries.iter().any(|delivery| fifo::is_from_fifo(delivery.message)) {
            true => fifo::groups(deliveries, self.queue.in_group),
            false => lane::standard(deliveries, &self.queue.contention),
        };
        let mut returned = self.lanes(lanes).await;
        returned.sort_unstable();
        let all = !returned.is_empty() && returned.len() == self.event.records.len();
        let mut response = SqsBatchResponse::default();
        response.set_failures(returned.into_iter().map(|(_position, id)| id.to_owned()));
        self.queue.engine.flush();
        match self.queue.fails_if_all_returned && all {
            true => Err(BatchFailed::AllReturned),
            false => Ok(response),
        }
    }

    pub(super) fn deliveries(&self) -> Result<Vec<Delivery<'e, T>>, BatchFailed> {
        self.event.records.iter().enumerate().map(|(place, record)| self.delivery(place, record)).collect()
    }

    fn delivery(&self, position: usize, delivered: &'e Delivered) -> Result<Delivery<'e, T>, BatchFailed> {
        let Delivered { message, unreadable } = delivered;
        let id = message.message_id.as_deref().filter(|id| !id.is_empty()).ok_or(BatchFailed::NoMessageId)?;
        let received = match unreadable {
            None => Received::open(message, &self.queue.envelopes).map_err(Refused::NotInEnvelope),
            Some(why) => Err(Refused::Unreadable(why.clone())),
        };
        let received = received.and_then(|received| received.ok_or(Refused::Test));
        let trace = match &received {
            Ok(received) => self.queue.trace.of(received),
            Err(_) => self.queue.trace.of(&Received::new(message)),
        };
        let ready = received.and_then(|received| self.ready(received, trace));
        Ok(Delivery { position, id, message, trace, ready })
    }

    /// Parses everything that is needed from a message before any message of the batch runs.
    fn ready(&self, received: Received<'e>, trace: Option<Trace>) -> Result<Ready<'e, T>, Refused> {
        let Queue { operation, principal, key, reading, .. } = self.queue;
        let key = key.of(&received).map_err(Refused::NoKey)?;
        let fingerprint = received.fingerprint(&operation.compare).map_err(Refused::NotComparable)?;
        let call = Call::new(operation.clone(), principal.clone(), key, fingerprint, self.deadline);
        let call = call.traced(trace).redelivered(received.is_redelivered());
        // A panic on one message must not return the others.
        let content = catch_unwind(AssertUnwindSafe(|| reading(&received)));
        let content = content.map_err(|_panic| Refused::Panicked(ReadingPanicked))?.map_err(Refused::Unreadable)?;
        Ok(Ready { call, message: Message::new(received, content) })
    }

    /// Runs several lanes concurrently. The result lists the messages to return, by index and id.
    async fn lanes(&self, lanes: Vec<Lane<'e, T>>) -> Vec<(usize, &'e str)> {
        let (mut running, mut returned) = (FuturesUnordered::new(), Vec::new());
        for (number, lane) in lanes.into_iter().enumerate() {
            if number > 0 && number.is_multiple_of(LANES_A_TURN) {
                // The first poll starts them. A lane that becomes ready meanwhile is found at the next poll.
                while let Some(Some(more)) = running.next().now_or_never() {
                    returned.extend(more);
                }
                tokio::task::yield_now().await;
            }
            if running.len() == self.queue.concurrency {
                returned.extend(running.next().await.into_iter().flatten());
            }
            running.push(self.lane(lane));
        }
        while let Some(more) = running.next().await {
            returned.extend(more);
        }
        returned
    }

    /// Runs the messages of a lane one after another. The result lists the messages to return, by index and id.
    async fn lane(&self, lane: Lane<'e, T>) -> Vec<(usize, &'e str)> {
        let mut outcomes = lane::Outcomes::default();
        let mut returned = Vec::new();
        let mut deliveries = lane.deliveries.into_iter();
        while let Some(delivery) = deliveries.next() {
            let settlement = match outcomes.of(&delivery, lane.in_order) {
                Some(known) => {
                    self.log_skipped(&delivery, known, LogSummary::new(LogOutcome::AsAnotherOfItsBatch));
                    known
                }
                None => self.message(&delivery).await,
            };
            // Most lanes have a single message, whose outcome is not needed afterwards.
            if deliveries.len() > 0 {
                outcomes.add(&delivery, settlement);
            }
            match settlement {
                Settlement::Done => continue,
                Settlement::Returned => {}
                Settlement::InProgress(rest) => self.extend_visibility(delivery.message, rest).await,
            }
            self.queue.engine.metrics().count(Metric::MessageReturned, self.queue.operation.name());
            returned.push((delivery.position, delivery.id));
        }
        returned
    }

    async fn message(&self, delivery: &Delivery<'e, T>) -> Settlement {
        let Queue { engine, operation, mode, resolver, .. } = self.queue;
        let started = engine.now();
        if !engine.has_time(self.deadline) {
            return self.return_message(delivery, LogSummary::new(LogOutcome::NoTimeToBegin));
        }
        let Ready { call, message } = match &delivery.ready {
            Ok(ready) => ready,
            Err(refused) => {
                self.log_skipped(delivery, refused.settlement(), refused.summary());
                return refused.settlement();
            }
        };
        let run = |attempt| {
            let handling = (self.handler)(attempt, message.clone());
            async { handling.await.into_verdict() }
        };
        let span = Span::message(operation.name()).linked(delivery.trace);
        // A batch holds many of these futures, and one of the two is twice as large as the other.
        let (outcome, timings) = match (mode, resolver) {
            (Mode::Claim, None) => span.of(timed(engine.run(call, run))).await,
            (Mode::Claim, Some(resolver)) => span.of(timed(engine.run_or_reconcile(call, run, resolver))).await,
            (Mode::SingleWrite, _) => span.of(timed(engine.run_single_write(call, run))).await,
        };
        let settlement = self.settlement(&outcome);
        let record = call.record_id();
        let line = RequestLog {
            operation: operation.name(),
            record: Some(record.name()),
            message: Some(delivery.id),
            producer_trace: delivery.trace,
            returned: Some(settlement != Settlement::Done),
            summary: LogSummary::of(&outcome, engine.now()),
            timings,
            total: engine.now().since(started),
            ..RequestLog::default()
        };
        line.write();
        settlement
    }

    /// Returns a message that has not begun.
    fn return_message(&self, delivery: &Delivery<'_, T>, summary: LogSummary) -> Settlement {
        self.log_skipped(delivery, Settlement::Returned, summary);
        Settlement::Returned
    }

    /// Logs a message that the engine did not run.
    fn log_skipped(&self, delivery: &Delivery<'_, T>, settlement: Settlement, summary: LogSummary) {
        let line = RequestLog {
            operation: self.queue.operation.name(),
            message: Some(delivery.id),
            producer_trace: delivery.trace,
            returned: Some(settlement != Settlement::Done),
            summary,
            ..RequestLog::default()
        };
        line.write();
    }

    fn settlement(&self, outcome: &Result<Outcome<()>, Error>) -> Settlement {
        match outcome {
            Ok(Outcome::Executed(answered) | Outcome::Replayed(answered)) => self.settled(answered.resolution),
            Ok(Outcome::InProgress { retry_after }) => Settlement::InProgress(*retry_after),
            Ok(Outcome::NotExecuted(()) | Outcome::Mismatch | Outcome::Conflict | Outcome::Unknown { .. }) | Err(_) => {
                Settlement::Returned
            }
        }
    }

    fn settled(&self, resolution: Resolution) -> Settlement {
        match self.queue.on_failure.is_done(resolution) {
            true => Settlement::Done,
            false => Settlement::Returned,
        }
    }

    /// Keeps a message invisible until a lease ends. If this fails, the message is only delivered earlier or later.
    async fn extend_visibility(&self, message: &SqsMessage, rest: Duration) {
        if let Err(error) = self.queue.visibility.set(message, rest).await {
            let operation = self.queue.operation.name();
            self.queue.engine.metrics().count(Metric::VisibilityUnchanged, operation);
            tracing::warn!(operation, message = message.message_id, error = &*error, "its visibility stays as it is");
        }
    }
}

/// How many lanes start in one turn of the runtime.
///
/// Their requests are sent at the end of the turn. If all lanes started in one turn, the first request would be sent
/// only when the last one is ready; if each started in its own turn, each reply would wake the runtime.
const LANES_A_TURN: usize = 5;
