//! The one line that a request or a message leaves in the log.
//!
//! All that is known is in one line, so that one query can answer a question. Key, principal and body are never in it:
//! a key shows as the digest of its record, which the console shows as well. The invocation's `requestId` and its trace
//! are in the span around it, which `lambda_runtime` opens.

use std::error::Error as StdError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::engine::{Answered, Error, Outcome, Timings};
use crate::protocol::{RequestId, TransactionId};

/// What a request or a message came to.
#[derive(Debug, Default)]
pub(crate) struct Line<'l> {
    pub(crate) operation: &'l str,
    /// The digest of its record; nothing if it had no key.
    pub(crate) record: Option<&'l str>,
    /// Of a message.
    pub(crate) message: Option<&'l str>,
    /// Whether the message comes again.
    pub(crate) returned: Option<bool>,
    /// Of a response.
    pub(crate) status: Option<u16>,
    pub(crate) told: Told,
    pub(crate) timings: Timings,
    pub(crate) total: Duration,
}

/// What the caller was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) outcome: &'static str,
    transaction: Option<TransactionId>,
    attempt: Option<u64>,
    original_request: Option<RequestId>,
    error: Option<String>,
}

impl Line<'_> {
    pub(crate) fn write(self) {
        // The level is part of a call site, so there is one for each.
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    outcome = self.told.outcome,
                    operation = self.operation,
                    record = self.record,
                    message_id = self.message,
                    returned = self.returned,
                    status = self.status,
                    attempt = self.told.attempt,
                    transaction = self.told.transaction.map(tracing::field::display),
                    original_request = self.told.original_request.map(tracing::field::display),
                    wait_ms = milliseconds(self.timings.wait),
                    claim_ms = milliseconds(self.timings.claim),
                    commit_ms = milliseconds(self.timings.commit),
                    total_ms = milliseconds(self.total),
                    cold_start = is_cold_start(),
                    error = self.told.error,
                )
            };
        }
        match (&self.told.error, self.returned) {
            (Some(_), _) => write!(error),
            (None, Some(true)) => write!(warn),
            (None, Some(false) | None) => write!(info),
        }
    }
}

impl Told {
    /// Nothing was asked of the engine.
    pub(crate) fn refused(outcome: &'static str) -> Self {
        Self { outcome, ..Self::default() }
    }

    /// Nothing was asked of the engine, because something is wrong.
    pub(crate) fn failed(outcome: &'static str, error: &dyn StdError) -> Self {
        Self { error: Some(with_causes(error)), ..Self::refused(outcome) }
    }

    /// The engine's answer.
    pub(crate) fn of<T>(outcome: &Result<Outcome<T>, Error>) -> Self {
        match outcome {
            Ok(Outcome::Executed(answered)) => Self::answered("executed", answered),
            Ok(Outcome::Replayed(answered)) => {
                Self { original_request: answered.original_request, ..Self::answered("replayed", answered) }
            }
            Ok(Outcome::NotExecuted(_)) => Self::refused("not executed"),
            Ok(Outcome::InProgress { .. }) => Self::refused("in progress"),
            Ok(Outcome::Mismatch) => Self::refused("mismatch"),
            Ok(Outcome::Unknown { transaction, .. }) => {
                Self { transaction: Some(*transaction), ..Self::refused("unknown") }
            }
            Err(error) => Self::failed("error", error),
        }
    }

    fn answered<T>(outcome: &'static str, answered: &Answered<T>) -> Self {
        let (transaction, attempt) = (Some(answered.transaction), Some(answered.attempt));
        Self { transaction, attempt, ..Self::refused(outcome) }
    }
}

/// Whether this is the first line of its process: what it says of time includes the start of a sandbox.
fn is_cold_start() -> bool {
    static WARM: AtomicBool = AtomicBool::new(false);
    !WARM.swap(true, Ordering::Relaxed)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A store's error says little without what it was caused by.
fn with_causes(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
