//! What the library counts and measures, and the writer for CloudWatch.

mod emf;

use std::time::Duration;

pub use emf::{Emf, EmfError};

/// Takes what the library counts and measures.
///
/// Implementations must not block: these calls are on the way of every request.
pub trait Metrics: Send + Sync {
    /// Something happened once.
    fn count(&self, metric: Metric, operation: &str);

    /// Something took this long.
    fn duration(&self, metric: Metric, operation: &str, duration: Duration);

    /// An invocation ends: what was collected is written out, before the sandbox may freeze.
    fn flush(&self);
}

/// Forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn count(&self, _: Metric, _: &str) {}
    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn flush(&self) {}
}

/// What is counted or measured. Names are CloudWatch metric names; durations end in `Ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// A call ran and was settled.
    Executed,
    /// A call was answered from its record.
    Replayed,
    /// A call was refused because another is running.
    InProgress,
    /// A key was used for another request.
    Mismatch,
    /// A request without a key.
    MissingKey,
    /// A request whose key is malformed.
    InvalidKey,
    /// A claim took over from an earlier attempt.
    Takeover,
    /// A late owner's write was refused.
    Fenced,
    /// The lost reply of our own write was recognised.
    OwnWriteRecognised,
    /// A record became UNKNOWN.
    UnknownEntered,
    /// The store gave no answer.
    StoreError,
    /// A run ended but could not be settled.
    CommitFailed,
    /// A message was returned to its queue.
    MessageReturned,
    /// How long a claim took.
    ClaimMs,
    /// How long the end of a claim took.
    CommitMs,
}

/// In what a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Occurrences.
    Count,
    /// Milliseconds.
    Milliseconds,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 15] = [
        Self::Executed,
        Self::Replayed,
        Self::InProgress,
        Self::Mismatch,
        Self::MissingKey,
        Self::InvalidKey,
        Self::Takeover,
        Self::Fenced,
        Self::OwnWriteRecognised,
        Self::UnknownEntered,
        Self::StoreError,
        Self::CommitFailed,
        Self::MessageReturned,
        Self::ClaimMs,
        Self::CommitMs,
    ];

    /// Its unit.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::ClaimMs | Self::CommitMs => Unit::Milliseconds,
            Self::Executed
            | Self::Replayed
            | Self::InProgress
            | Self::Mismatch
            | Self::MissingKey
            | Self::InvalidKey
            | Self::Takeover
            | Self::Fenced
            | Self::OwnWriteRecognised
            | Self::UnknownEntered
            | Self::StoreError
            | Self::CommitFailed
            | Self::MessageReturned => Unit::Count,
        }
    }

    /// The name in CloudWatch.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executed => "Executed",
            Self::Replayed => "Replayed",
            Self::InProgress => "InProgress",
            Self::Mismatch => "Mismatch",
            Self::MissingKey => "MissingKey",
            Self::InvalidKey => "InvalidKey",
            Self::Takeover => "Takeover",
            Self::Fenced => "Fenced",
            Self::OwnWriteRecognised => "OwnWriteRecognised",
            Self::UnknownEntered => "UnknownEntered",
            Self::StoreError => "StoreError",
            Self::CommitFailed => "CommitFailed",
            Self::MessageReturned => "MessageReturned",
            Self::ClaimMs => "ClaimMs",
            Self::CommitMs => "CommitMs",
        }
    }
}
