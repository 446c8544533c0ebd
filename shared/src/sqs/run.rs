//! The handling of one batch, from its delivery to the report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsMessage};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};

use super::batch::{Delivered, SqsBatch};
use super::lane::{self, Delivery, Lane};
use super::message::{Message, Received};
use super::{BatchFailed, Queue, fifo, trace_context};
use crate::engine::{Attempt, Call, Consumer, IntoVerdict, Ready, Settlement, refused};
use crate::protocol::{EpochMs, Trace};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};

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
            None => Received::open(message, &self.queue.envelopes).map_err(refused(LogOutcome::Unreadable)),
            Some(why) => Err(LogSummary::failed(LogOutcome::Unreadable, why).into()),
        };
        let received = received.and_then(|received| received.ok_or_else(|| LogSummary::new(LogOutcome::Test).into()));
        let trace = match &received {
            Ok(received) => trace_context::of(received, self.queue.trace.as_ref()),
            Err(_) => trace_context::of(&Received::new(message), self.queue.trace.as_ref()),
        };
        let ready = received.and_then(|received| self.ready(received, trace));
        Ok(Delivery { position, id, message, trace, ready })
    }

    /// Parses everything in a message before any message of the batch runs.
    fn ready(&self, received: Received<'e>, trace: Option<Trace>) -> Ready<Message<'e, T>> {
        let Queue { operation, principal, key, reading, .. } = self.queue;
        let key = key.of(&received).map_err(refused(LogOutcome::NoKey))?;
        let fingerprint = received.fingerprint(&operation.compare).map_err(refused(LogOutcome::NotComparable))?;
        let call = Call::new(operation.clone(), principal.clone(), key, fingerprint, self.deadline);
        let call = call.traced(trace).redelivered(received.is_redelivered());
        // A panic on one message must not return the others.
        let content = catch_unwind(AssertUnwindSafe(|| reading(&received)));
        let content = content.map_err(|_panic| refused(LogOutcome::Unreadable)(ReadingPanicked))?;
        Ok((call, Message::new(received, content.map_err(refused(LogOutcome::Unreadable))?)))
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
                    let summary = LogSummary::new(LogOutcome::AsAnotherOfItsBatch);
                    RequestLog { returned: Some(known.is_returned()), summary, ..self.line(&delivery) }.write();
                    known
                }
                None => self.consumer().handle(&delivery.ready, &self.handler, self.line(&delivery)).await,
            };
            // Most lanes have a single message, whose outcome is not needed afterwards.
            if deliveries.len() > 0 {
                outcomes.add(&delivery, settlement);
            }
            match settlement {
                Settlement::Done | Settlement::Duplicate => continue,
                Settlement::Returned => {}
                Settlement::InProgress(rest) => self.extend_visibility(delivery.message, rest).await,
            }
            self.queue.engine.metrics().count(Metric::MessageReturned, self.queue.operation.name());
            returned.push((delivery.position, delivery.id));
        }
        returned
    }

    fn consumer(&self) -> Consumer<'_, S> {
        let Queue { engine, mode, resolver, on_failure, .. } = self.queue;
        let (mode, resolver, on_failure) = (*mode, resolver.as_ref(), *on_failure);
        Consumer { engine, mode, resolver, on_failure, deadline: self.deadline }
    }

    fn line<'l>(&'l self, delivery: &Delivery<'l, T>) -> RequestLog<'l> {
        RequestLog {
            operation: self.queue.operation.name(),
            message: Some(delivery.id),
            producer_trace: delivery.trace,
            ..RequestLog::default()
        }
    }

    /// Keeps a message invisible until a lease ends. If this fails, the message is only delivered earlier or later.
    async fn extend_visibility(&self, message: &SqsMessage, rest: Duration) {
        let Some(visibility) = &self.queue.visibility else { return };
        if let Err(error) = visibility.set(message, rest).await {
            let operation = self.queue.operation.name();
            self.queue.engine.metrics().count(Metric::VisibilityUnchanged, operation);
            tracing::warn!(operation, message = message.message_id, error = &*error, "its visibility stays as it is");
        }
    }
}

/// The application's conversion of a message panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the application panicked when it read the message")]
struct ReadingPanicked;

/// How many lanes start in one turn of the runtime.
///
/// Their requests are sent at the end of the turn. If all lanes started in one turn, the first request would be sent
/// only when the last one is ready; if each started in its own turn, each reply would wake the runtime.
const LANES_A_TURN: usize = 5;
