//! The one line that a request, a message or a record of a stream leaves in the log.
//!
//! All that is known is in one line, so that one query can answer a question. Key, principal and body are never in it:
//! a key shows as the digest of its record, which the console shows as well. The invocation's `requestId` and X-Ray's
//! header are in the span around it, which `lambda_runtime` opens. A function that writes lines of its own finds here what
//! makes them alike.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::timings::Timings;
use crate::protocol::{InvocationId, Position, Trace, TransactionId};

/// What a request, a message or a record of a stream came to.
#[derive(Debug, Default)]
pub(crate) struct RequestLog<'l> {
    pub(crate) operation: &'l str,
    /// The digest of its record; nothing if it had no key.
    pub(crate) record: Option<&'l str>,
    /// Of a message.
    pub(crate) message: Option<&'l str>,
    /// Of a record of a stream: its partition or shard, and its place there.
    pub(crate) partition: Option<&'l str>,
    pub(crate) position: Option<&'l Position>,
    /// Up to where its partition is done.
    pub(crate) watermark: Option<&'l Position>,
    /// How many records behind it come again with it.
    pub(crate) behind: Option<usize>,
    /// Whether it comes again: of a message or a record.
    pub(crate) returned: Option<bool>,
    /// Of a response.
    pub(crate) status: Option<u16>,
    /// The trace of which a request is a part.
    pub(crate) trace: Option<Trace>,
    /// The trace in which a message or a record was sent.
    pub(crate) producer_trace: Option<Trace>,
    pub(crate) summary: LogSummary,
    pub(crate) timings: Timings,
    pub(crate) total: Duration,
}

/// How a request, a message or a record of a stream ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogOutcome {
    Executed,
    Replayed,
    NotExecuted,
    InProgress,
    Mismatch,
    Conflict,
    /// Whether it took effect is not known.
    #[default]
    Unknown,
    Error,
    /// A record that is done already.
    Duplicate,
    /// A record whose verdict was `Failed`.
    Failed,
    /// Another record stands where one was done.
    Regression,
    Unreadable,
    NoKey,
    NotComparable,
    NoTimeToBegin,
    AsAnotherOfItsBatch,
    /// A request that was answered before its key was looked at, with this problem code.
    Problem(&'static str),
}

impl LogOutcome {
    /// As it stands in the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Executed => "executed",
            Self::Replayed => "replayed",
            Self::NotExecuted => "not executed",
            Self::InProgress => "in progress",
            Self::Mismatch => "mismatch",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Error => "error",
            Self::Duplicate => "duplicate",
            Self::Failed => "failed",
            Self::Regression => "regression",
            Self::Unreadable => "unreadable",
            Self::NoKey => "no key",
            Self::NotComparable => "not comparable",
            Self::NoTimeToBegin => "no time to begin",
            Self::AsAnotherOfItsBatch => "as another of its batch",
            Self::Problem(code) => code,
        }
    }
}

/// The outcome, and what else is known of the call.
#[derive(Debug, Default)]
pub(crate) struct LogSummary {
    pub(crate) outcome: LogOutcome,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) attempt: Option<u64>,
    pub(crate) original_request: Option<InvocationId>,
    pub(crate) original_trace: Option<Trace>,
    pub(crate) error: Option<String>,
}

impl RequestLog<'_> {
    pub(crate) fn write(self) {
        // The level is part of a call site, so there is one for each.
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    outcome = self.summary.outcome.name(),
                    operation = self.operation,
                    record = self.record,
                    message_id = self.message,
                    partition = self.partition,
                    position = self.position.map(tracing::field::display),
                    watermark = self.watermark.map(tracing::field::display),
                    behind = self.behind,
                    returned = self.returned,
                    status = self.status,
                    attempt = self.summary.attempt,
                    transaction = self.summary.transaction.map(tracing::field::display),
                    original_request = self.summary.original_request.map(tracing::field::display),
                    trace = self.trace.map(|trace| tracing::field::display(trace.id())),
                    original_trace = self.summary.original_trace.map(|trace| tracing::field::display(trace.id())),
                    producer_trace = self.producer_trace.map(|trace| tracing::field::display(trace.id())),
                    wait_ms = milliseconds(self.timings.wait),
                    claim_ms = milliseconds(self.timings.claim),
                    commit_ms = milliseconds(self.timings.commit),
                    total_ms = milliseconds(self.total),
                    cold_start = is_cold_start(),
                    error = self.summary.error,
                )
            };
        }
        match (&self.summary.error, self.returned) {
            (Some(_), _) => write!(error),
            (None, Some(true)) => write!(warn),
            (None, Some(false) | None) => write!(info),
        }
    }
}

impl LogSummary {
    /// An outcome of which nothing else is known.
    pub(crate) fn new(outcome: LogOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// An outcome that an error explains.
    pub(crate) fn failed(outcome: LogOutcome, error: &dyn StdError) -> Self {
        Self { error: Some(with_causes(error)), ..Self::new(outcome) }
    }
}

/// Whether this is the first line of its process: its durations include the start of a sandbox. Call it once per line.
pub fn is_cold_start() -> bool {
    static WARM: AtomicBool = AtomicBool::new(false);
    !WARM.swap(true, Ordering::Relaxed)
}

/// A duration in the unit of the log's lines.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error with its causes; a store's error alone says little.
pub fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
