//! SQS batches: every message is settled or returned to its queue, and takes effect once.
//!
//! The event source mapping must report partial batches (`FunctionResponseTypes: [ReportBatchItemFailures]`);
//! without that Lambda ignores the answer and deletes the whole batch.

mod key;

use std::time::Duration;

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use futures::stream::{self, StreamExt};

pub use key::{KeySource, NoKey};

use crate::engine::{Attempt, Call, Engine, Error, Operation, Outcome, Verdict};
use crate::metrics::Metric;
use crate::protocol::{EpochMs, Finding, Fingerprinter, Principal};
use crate::store::Store;

/// Handles the messages of a standard queue.
///
/// A handler's [`Verdict`] decides about its message: it is deleted if the verdict is final, and returned to the
/// queue otherwise, to come again until the queue's redrive policy takes it. There is no way to forget to report
/// a failure.
#[derive(Clone)]
pub struct Queue<S> {
    engine: Engine<S>,
    operation: Operation,
    principal: Principal,
    key: KeySource,
    mode: Mode,
    failed: Failed,
    concurrency: usize,
}

/// What becomes of a message whose operation is settled as FAILED. It does not run again either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failed {
    /// It is returned, until the redrive policy moves it to the dead-letter queue, where people see it.
    #[default]
    Redrive,
    /// It is deleted.
    Drop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Claim,
    OneTrip,
}

impl<S: Store> Queue<S> {
    /// A handler of messages.
    ///
    /// `principal` names who sends them, for example the producing service: there is no default. `key` says where
    /// the producer's key is.
    ///
    /// Set the operation's retention to more than the retention of the queue and of its dead-letter queue
    /// together ([`LONGEST_RETENTION`] always is): a message that is redriven after its record has expired runs
    /// again.
    pub fn new(engine: Engine<S>, operation: Operation, principal: Principal, key: KeySource) -> Self {
        Self { engine, operation, principal, key, mode: Mode::Claim, failed: Failed::default(), concurrency: 10 }
    }

    /// Uses one-trip mode: one request per message, for operations whose effects are all inside. See
    /// [`Engine::run_in_one_trip`].
    #[must_use]
    pub const fn one_trip(mut self) -> Self {
        self.mode = Mode::OneTrip;
        self
    }

    /// What becomes of messages that failed for good. Default: [`Failed::Redrive`].
    #[must_use]
    pub const fn failed(mut self, failed: Failed) -> Self {
        self.failed = failed;
        self
    }

    /// How many messages of a batch are handled at a time, at least 1. Default: 10.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Handles a batch and reports the messages that are to come again.
    ///
    /// `deadline` is the function's. Messages that were not begun a margin before it are returned.
    ///
    /// # Errors
    /// [`NoMessageId`] if a message cannot be reported; Lambda then returns the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: SqsEvent,
        deadline: EpochMs,
        handler: H,
    ) -> Result<SqsBatchResponse, NoMessageId>
    where
        H: Fn(Attempt<S::Effect>, SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut messages = Vec::with_capacity(event.records.len());
        for message in event.records {
            let id = message.message_id.clone().filter(|id| !id.is_empty()).ok_or(NoMessageId)?;
            messages.push((id, message));
        }
        let handler = &handler;
        let returned = stream::iter(messages)
            .map(|(id, message)| async move {
                let settled = self.message(&id, message, deadline, handler).await;
                (!settled).then_some(id)
            })
            .buffer_unordered(self.concurrency)
            .filter_map(std::future::ready);
        let mut response = SqsBatchResponse::default();
        response.set_failures(returned.collect::<Vec<_>>().await);
        self.engine.metrics().flush();
        Ok(response)
    }

    /// Whether the message is settled.
    async fn message<H, R>(&self, id: &str, message: SqsMessage, deadline: EpochMs, handler: &H) -> bool
    where
        H: Fn(Attempt<S::Effect>, SqsMessage) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let name = self.operation.name();
        if !self.engine.has_time(deadline) {
            self.engine.metrics().count(Metric::MessageReturned, name);
            tracing::warn!(operation = name, message = id, "returned: no time to begin");
            return false;
        }
        let key = match self.key.of(&message) {
            Ok(key) => key,
            Err(error) => {
                self.engine.metrics().count(Metric::MessageReturned, name);
                tracing::error!(operation = name, message = id, %error, "returned: no key");
                return false;
            }
        };
        let body = message.body.as_deref().unwrap_or_default();
        let fingerprint = Fingerprinter::new().value(body.as_bytes()).finish();
        let call = Call::new(self.operation.clone(), self.principal.clone(), key, fingerprint, deadline);
        let outcome = match self.mode {
            Mode::Claim => self.engine.run(&call, |attempt| handler(attempt, message)).await,
            Mode::OneTrip => self.engine.run_in_one_trip(&call, |attempt| handler(attempt, message.clone())).await,
        };
        let (settled, shown) = self.read(&outcome);
        let record = call.record_id();
        if settled {
            tracing::info!(operation = name, message = id, record = record.digest(), outcome = shown);
        } else {
            self.engine.metrics().count(Metric::MessageReturned, name);
            let error = outcome.as_ref().err().map(|error| error as &dyn std::error::Error);
            tracing::warn!(
                operation = name,
                message = id,
                record = record.digest(),
                outcome = shown,
                error,
                "returned"
            );
        }
        settled
    }

    fn read(&self, outcome: &Result<Outcome<()>, Error>) -> (bool, &'static str) {
        match outcome {
            Ok(Outcome::Executed(answered)) => (self.is_done(answered.finding), "executed"),
            Ok(Outcome::Replayed(answered)) => (self.is_done(answered.finding), "replayed"),
            Ok(Outcome::NotExecuted(())) => (false, "not executed"),
            Ok(Outcome::InProgress { .. }) => (false, "in progress"),
            Ok(Outcome::Mismatch) => (false, "mismatch"),
            Ok(Outcome::Unknown { .. }) => (false, "unknown"),
            Err(_) => (false, "error"),
        }
    }

    fn is_done(&self, finding: Finding) -> bool {
        match finding {
            Finding::Success => true,
            Finding::Failed => self.failed == Failed::Drop,
        }
    }
}

/// The retention that covers the longest retention of a queue and of its dead-letter queue, 14 days each, and a day.
pub const LONGEST_RETENTION: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A message without an id, which could not be reported as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a message of the batch has no messageId")]
pub struct NoMessageId;

#[cfg(test)]
mod tests;
