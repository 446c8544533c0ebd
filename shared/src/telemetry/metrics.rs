//! The library's metrics, and the writer for CloudWatch.

#[cfg(test)]
mod counts;
#[cfg(feature = "emf")]
mod emf;

use std::time::Duration;

#[cfg(test)]
pub(crate) use counts::Counts;
#[cfg(feature = "emf")]
pub use emf::{Emf, EmfError};

/// Receives the library's metrics.
///
/// Implementations must not block: they are called for every request.
pub trait Metrics: Send + Sync {
    /// Counts one occurrence.
    fn count(&self, metric: Metric, operation: &str);

    /// Records a duration.
    fn duration(&self, metric: Metric, operation: &str, duration: Duration);

    /// Sets the current value.
    fn gauge(&self, metric: Metric, value: f64);

    /// Writes out what was collected. Called at the end of an invocation, before the sandbox may freeze.
    fn flush(&self);
}

/// Discards all metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoMetrics;

impl Metrics for NoMetrics {
    fn count(&self, _: Metric, _: &str) {}
    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}

/// Makes [`Metric`] from the table of metrics, in which each metric is one line.
macro_rules! metrics {
    ($($(#[doc = $what:literal])+ $name:ident: $kind:ident in $unit:ident,)+) => {
        /// The library's metrics. Names are CloudWatch metric names; durations end in `Ms`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Metric {
            $($(#[doc = $what])+ $name,)+
        }

        impl Metric {
            /// All metrics.
            pub const ALL: [Self; [$(stringify!($name)),+].len()] = [$(Self::$name),+];

            /// The unit in which CloudWatch shows the metric.
            #[must_use]
            pub const fn unit(self) -> Unit {
                match self {
                    $(Self::$name => Unit::$unit,)+
                }
            }

            /// How the metric is reported: as a counter, a duration or a gauge.
            #[must_use]
            pub const fn kind(self) -> Kind {
                match self {
                    $(Self::$name => Kind::$kind,)+
                }
            }

            /// The name in CloudWatch.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)+
                }
            }
        }
    };
}

metrics! {
    /// A call ran and was settled.
    Executed: Counter in Count,
    /// A call was answered from its record.
    Replayed: Counter in Count,
    /// A call was answered from this process's cache, without a request to the store.
    ReplayedLocal: Counter in Count,
    /// An attempt after the first one ran and ended with SUCCESS.
    RetrySucceeded: Counter in Count,
    /// An attempt after the first one ran and did not end with SUCCESS: it failed, executed nothing, or its outcome is
    /// unknown.
    RetryFailed: Counter in Count,
    /// A call was refused because another was running.
    InProgress: Counter in Count,
    /// A write was refused because the record had changed since it was read. The caller reads again.
    Conflict: Counter in Count,
    /// A key was used for another request.
    Mismatch: Counter in Count,
    /// A request had no key.
    MissingKey: Counter in Count,
    /// A request without a key ran unprotected, because keys are optional.
    Unprotected: Counter in Count,
    /// A request had a malformed key.
    InvalidKey: Counter in Count,
    /// A claim took over from an earlier attempt.
    Takeover: Counter in Count,
    /// A late owner's write was refused.
    Fenced: Counter in Count,
    /// The lost reply of our own write was recognised.
    OwnWriteRecognised: Counter in Count,
    /// A record became UNKNOWN.
    UnknownEntered: Counter in Count,
    /// An uncertain record was settled as SUCCESS by evidence.
    UnknownHappened: Counter in Count,
    /// An uncertain record was settled as FAILED by evidence.
    UnknownRefused: Counter in Count,
    /// An uncertain record may run again, because its effect was prevented.
    UnknownPrevented: Counter in Count,
    /// An uncertain record was examined and left as it was.
    UnknownLeft: Counter in Count,
    /// The number of records of declared operations that are UNKNOWN.
    UnknownOpen: Gauge in Count,
    /// The age of the oldest record of a declared operation that is UNKNOWN.
    UnknownOldestAge: Gauge in Seconds,
    /// The number of UNKNOWN records in the table that belong to undeclared operations.
    UnknownForeign: Gauge in Count,
    /// The number of records of declared operations that were found PROCESSING after their lease ended.
    AbandonedFound: Gauge in Count,
    /// A follow-up found a record that was not settled, and reconciled it.
    FollowedUp: Counter in Count,
    /// A record of a declared operation was found that its follow-up should have settled but did not.
    FollowUpMissed: Counter in Count,
    /// The number of records that have expired but are still stored.
    ExpiredPresent: Gauge in Count,
    /// How long ago the earliest of them expired.
    OldestExpiredAge: Gauge in Seconds,
    /// A reconciler's run completed.
    ReconcilerHeartbeat: Counter in Count,
    /// The store did not answer.
    StoreError: Counter in Count,
    /// A run ended but could not be settled.
    CommitFailed: Counter in Count,
    /// A message was returned to its queue.
    MessageReturned: Counter in Count,
    /// The visibility of a message that is in progress elsewhere could not be set.
    VisibilityUnchanged: Counter in Count,
    /// A message or record at or below the high-water mark of its stream was skipped.
    DuplicateSkipped: Counter in Count,
    /// A message above the next sequence number of its stream was held.
    GapHeld: Counter in Count,
    /// The number of a message or record was already used for other content. The message is returned, for operators to
    /// see.
    SequenceConflict: Counter in Count,
    /// Records of a stream were returned for redelivery.
    RecordReturned: Counter in Count,
    /// A partition delivered records at or below its watermark that differ from those that were done. The partition has
    /// stopped.
    WatermarkRegression: Counter in Count,
    /// How long a duplicate waited for the running call.
    WaitMs: Duration in Milliseconds,
    /// How long a claim took.
    ClaimMs: Duration in Milliseconds,
    /// How long it took to end a claim.
    CommitMs: Duration in Milliseconds,
}

/// The unit of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// A number of occurrences.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Milliseconds,
}

/// How a metric is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Counted up ([`Metrics::count`]).
    Counter,
    /// Measured each time ([`Metrics::duration`]).
    Duration,
    /// Set to the current value ([`Metrics::gauge`]).
    Gauge,
}
