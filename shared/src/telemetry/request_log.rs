//! The request log: one log line for each request, message or stream record.
//!
//! The line contains everything that is known, so that one query is enough. It never contains key, principal or body: a
//! key appears as the name of its record, by which the console finds it. The invocation's `requestId` and X-Ray's
//! header are in the surrounding span, which `lambda_runtime` opens. Functions that write their own lines use the
//! helpers here for a uniform format.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::timings::Timings;
use crate::protocol::{InvocationId, Position, RecordId, Trace, TransactionId};

/// The log line of a request, a message or a stream record.
#[derive(Debug, Default)]
pub(crate) struct RequestLog<'l> {
    pub(crate) operation: &'l str,
    /// The name of the record; `None` if there was no key.
    pub(crate) record: Option<&'l str>,
    /// For a message: its id.
    pub(crate) message: Option<&'l str>,
    /// For a stream record: its partition or shard, and its position there.
    pub(crate) partition: Option<&'l str>,
    pub(crate) position: Option<&'l Position>,
    /// The watermark of its partition.
    pub(crate) watermark: Option<&'l Position>,
    /// For a returned stream record: how many records after it are returned with it.
    pub(crate) behind: Option<usize>,
    /// For a message or a stream record: whether it is redelivered.
    pub(crate) returned: Option<bool>,
    /// For a response: its status.
    pub(crate) status: Option<u16>,
    /// For a request: whether this call ran the handler, which the outcome alone does not show.
    pub(crate) ran: Option<bool>,
    /// For a request, if the layer has pseudonyms: its caller and its subject.
    pub(crate) named: Named,
    /// The trace that a request belongs to.
    pub(crate) trace: Option<Trace>,
    /// The trace in which a message or a record was sent.
    pub(crate) producer_trace: Option<Trace>,
    pub(crate) summary: LogSummary,
    pub(crate) timings: Timings,
    pub(crate) total: Duration,
}

/// The pseudonyms in the line of a request, if [`IdempotencyLayer::pseudonyms`](crate::http) is set.
#[derive(Debug, Default)]
pub(crate) struct Named {
    /// The whole id of the record, as it is stored.
    pub(crate) record_id: Option<String>,
    /// The pseudonym of the principal.
    pub(crate) who: Option<String>,
    /// The pseudonym of what the request is about: an account.
    pub(crate) about: Option<String>,
    /// The pseudonym of the means of payment.
    pub(crate) instrument: Option<String>,
    pub(crate) small: Option<bool>,
    pub(crate) code: Option<String>,
}

impl Named {
    /// Adds the record's id, if the line has pseudonyms.
    pub(crate) fn of_record(self, id: &RecordId) -> Self {
        Self { record_id: self.who.as_ref().map(|_| id.as_str().to_owned()), ..self }
    }
}

/// The outcome of a request, a message or a stream record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LogOutcome {
    Executed,
    Replayed,
    NotExecuted,
    InProgress,
    Mismatch,
    Conflict,
    /// It is unknown whether it took effect.
    #[default]
    Unknown,
    Error,
    /// A stream record that is already done.
    Duplicate,
    /// A stream record whose verdict was `Failed`.
    Failed,
    /// A stream record differs from the one that was done at its position.
    Regression,
    Unreadable,
    /// A test message of a service.
    Test,
    NoKey,
    NotComparable,
    NoTimeToBegin,
    AsAnotherOfItsBatch,
    /// A request that was answered before its key was examined, with this problem code.
    Problem(&'static str),
}

impl LogOutcome {
    /// The outcome's name in the log.
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
            Self::Test => "test",
            Self::NoKey => "no key",
            Self::NotComparable => "not comparable",
            Self::NoTimeToBegin => "no time to begin",
            Self::AsAnotherOfItsBatch => "as another of its batch",
            Self::Problem(code) => code,
        }
    }
}

/// The outcome of a call, with further information about it.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogSummary {
    pub(crate) outcome: LogOutcome,
    pub(crate) transaction: Option<TransactionId>,
    pub(crate) attempt: Option<u64>,
    /// For a replay: the time since the first attempt began.
    pub(crate) age: Option<Duration>,
    /// The time after which the caller may retry.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) original_request: Option<InvocationId>,
    pub(crate) original_trace: Option<Trace>,
    pub(crate) error: Option<String>,
}

impl RequestLog<'_> {
    pub(crate) fn write(self) {
        // A level is fixed per call site, so there is one call site for each level.
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
                    ran = self.ran,
                    age_s = self.summary.age.map(|age| age.as_secs()),
                    retry_after_s = self.summary.retry_after.map(|wait| wait.as_millis().div_ceil(1000).max(1) as u64),
                    record_id = self.named.record_id,
                    who = self.named.who,
                    about = self.named.about,
                    instrument = self.named.instrument,
                    small = self.named.small,
                    code = self.named.code,
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
    /// An outcome without further information.
    pub(crate) fn new(outcome: LogOutcome) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// An outcome with the error that explains it.
    pub(crate) fn failed(outcome: LogOutcome, error: &dyn StdError) -> Self {
        Self { error: Some(with_causes(error)), ..Self::new(outcome) }
    }
}

/// Whether this is the first line of its process, whose durations include the start of a sandbox. Call it once per
/// line.
pub fn is_cold_start() -> bool {
    static WARM: AtomicBool = AtomicBool::new(false);
    !WARM.swap(true, Ordering::Relaxed)
}

/// A duration in milliseconds, the unit of the log lines.
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An error with its sources, because a store's error alone explains little.
pub fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
