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

    /// Something has this value now.
    fn gauge(&self, metric: Metric, value: f64);

    /// An invocation ends: what was collected is written out, before the sandbox may freeze.
    fn flush(&self);
}

/// Forgets everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn count(&self, _: Metric, _: &str) {}
    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}

/// What is counted or measured. Names are CloudWatch metric names; durations end in `Ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// A call ran and was settled.
    Executed,
    /// A call was answered from its record.
    Replayed,
    /// Of those, by what the process remembers, without a request to the store.
    ReplayedLocal,
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
    /// An uncertain record was settled as SUCCESS by evidence.
    UnknownHappened,
    /// An uncertain record was settled as FAILED by evidence.
    UnknownRefused,
    /// An uncertain record may run again, because its effect was prevented.
    UnknownPrevented,
    /// An uncertain record was looked at and left as it was.
    UnknownLeft,
    /// How many records are UNKNOWN.
    UnknownOpen,
    /// How old the oldest UNKNOWN record is.
    UnknownOldestAge,
    /// How many records were found PROCESSING under a lease that is over.
    AbandonedFound,
    /// How many records are still stored though they have expired.
    ExpiredPresent,
    /// How long the one that expired first has been expired.
    OldestExpiredAge,
    /// A reconciler's run came to its end.
    ReconcilerHeartbeat,
    /// The store gave no answer.
    StoreError,
    /// A run ended but could not be settled.
    CommitFailed,
    /// A message was returned to its queue.
    MessageReturned,
    /// The visibility of a message that is in progress elsewhere could not be set.
    VisibilityUnchanged,
    /// A message or record at or below the high-water mark of its stream was skipped.
    DuplicateSkipped,
    /// A message above the next sequence number of its stream was held.
    GapHeld,
    /// Records of a stream were returned to come again.
    RecordReturned,
    /// A partition went back below its watermark with other records than before. It stands still.
    WatermarkRegression,
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
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// How a metric is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Counted up ([`Metrics::count`]).
    Counter,
    /// Measured each time ([`Metrics::duration`]).
    Duration,
    /// Set to what it is now ([`Metrics::gauge`]).
    Gauge,
}

impl Metric {
    /// All there are.
    pub const ALL: [Self; 31] = [
        Self::Executed,
        Self::Replayed,
        Self::ReplayedLocal,
        Self::InProgress,
        Self::Mismatch,
        Self::MissingKey,
        Self::InvalidKey,
        Self::Takeover,
        Self::Fenced,
        Self::OwnWriteRecognised,
        Self::UnknownEntered,
        Self::UnknownHappened,
        Self::UnknownRefused,
        Self::UnknownPrevented,
        Self::UnknownLeft,
        Self::UnknownOpen,
        Self::UnknownOldestAge,
        Self::AbandonedFound,
        Self::ExpiredPresent,
        Self::OldestExpiredAge,
        Self::ReconcilerHeartbeat,
        Self::StoreError,
        Self::CommitFailed,
        Self::MessageReturned,
        Self::VisibilityUnchanged,
        Self::DuplicateSkipped,
        Self::GapHeld,
        Self::RecordReturned,
        Self::WatermarkRegression,
        Self::ClaimMs,
        Self::CommitMs,
    ];

    /// Its unit.
    #[must_use]
    pub const fn unit(self) -> Unit {
        match self {
            Self::ClaimMs | Self::CommitMs => Unit::Milliseconds,
            Self::UnknownOldestAge | Self::OldestExpiredAge => Unit::Seconds,
            Self::Executed
            | Self::Replayed
            | Self::ReplayedLocal
            | Self::InProgress
            | Self::Mismatch
            | Self::MissingKey
            | Self::InvalidKey
            | Self::Takeover
            | Self::Fenced
            | Self::OwnWriteRecognised
            | Self::UnknownEntered
            | Self::UnknownHappened
            | Self::UnknownRefused
            | Self::UnknownPrevented
            | Self::UnknownLeft
            | Self::UnknownOpen
            | Self::AbandonedFound
            | Self::ExpiredPresent
            | Self::ReconcilerHeartbeat
            | Self::StoreError
            | Self::CommitFailed
            | Self::MessageReturned
            | Self::VisibilityUnchanged
            | Self::DuplicateSkipped
            | Self::GapHeld
            | Self::RecordReturned
            | Self::WatermarkRegression => Unit::Count,
        }
    }

    /// How it is reported.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::ClaimMs | Self::CommitMs => Kind::Duration,
            Self::UnknownOpen
            | Self::UnknownOldestAge
            | Self::AbandonedFound
            | Self::ExpiredPresent
            | Self::OldestExpiredAge => Kind::Gauge,
            Self::Executed
            | Self::Replayed
            | Self::ReplayedLocal
            | Self::InProgress
            | Self::Mismatch
            | Self::MissingKey
            | Self::InvalidKey
            | Self::Takeover
            | Self::Fenced
            | Self::OwnWriteRecognised
            | Self::UnknownEntered
            | Self::UnknownHappened
            | Self::UnknownRefused
            | Self::UnknownPrevented
            | Self::UnknownLeft
            | Self::ReconcilerHeartbeat
            | Self::StoreError
            | Self::CommitFailed
            | Self::MessageReturned
            | Self::VisibilityUnchanged
            | Self::DuplicateSkipped
            | Self::GapHeld
            | Self::RecordReturned
            | Self::WatermarkRegression => Kind::Counter,
        }
    }

    /// The name in CloudWatch.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executed => "Executed",
            Self::Replayed => "Replayed",
            Self::ReplayedLocal => "ReplayedLocal",
            Self::InProgress => "InProgress",
            Self::Mismatch => "Mismatch",
            Self::MissingKey => "MissingKey",
            Self::InvalidKey => "InvalidKey",
            Self::Takeover => "Takeover",
            Self::Fenced => "Fenced",
            Self::OwnWriteRecognised => "OwnWriteRecognised",
            Self::UnknownEntered => "UnknownEntered",
            Self::UnknownHappened => "UnknownHappened",
            Self::UnknownRefused => "UnknownRefused",
            Self::UnknownPrevented => "UnknownPrevented",
            Self::UnknownLeft => "UnknownLeft",
            Self::UnknownOpen => "UnknownOpen",
            Self::UnknownOldestAge => "UnknownOldestAge",
            Self::AbandonedFound => "AbandonedFound",
            Self::ExpiredPresent => "ExpiredPresent",
            Self::OldestExpiredAge => "OldestExpiredAge",
            Self::ReconcilerHeartbeat => "ReconcilerHeartbeat",
            Self::StoreError => "StoreError",
            Self::CommitFailed => "CommitFailed",
            Self::MessageReturned => "MessageReturned",
            Self::VisibilityUnchanged => "VisibilityUnchanged",
            Self::DuplicateSkipped => "DuplicateSkipped",
            Self::GapHeld => "GapHeld",
            Self::RecordReturned => "RecordReturned",
            Self::WatermarkRegression => "WatermarkRegression",
            Self::ClaimMs => "ClaimMs",
            Self::CommitMs => "CommitMs",
        }
    }
}
