//! The time limits of a call.

use std::time::Duration;

use crate::protocol::EpochMs;

/// The time limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a settled or released record is kept.
    pub retention: Duration,
    /// The latest time at which a claim may begin. After it there is no time to run.
    pub start_by: EpochMs,
    /// The latest time at which the call may write without holding a claim: one retention after its start. After that,
    /// records that other calls settled meanwhile may have expired and been deleted, so that no condition can show
    /// them.
    pub write_by: EpochMs,
    /// How long a duplicate waits for a running call.
    pub wait: Wait,
}

/// How long a duplicate waits for a running call.
///
/// It never waits beyond the end of that call's lease: by then the owner is late or dead, and the duplicate takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// It does not wait.
    No,
    /// Until the lease ends. If that is later than `by`, it does not wait at all, because the wait might not help.
    ForLease {
        /// The latest end of the wait.
        by: EpochMs,
    },
    /// Until this time.
    Until(EpochMs),
}

impl Wait {
    /// Until when to wait for a call with this lease; `None` if the wait is over.
    pub(super) fn until(self, lease: EpochMs, now: EpochMs) -> Option<EpochMs> {
        let until = match self {
            Self::No => None,
            Self::ForLease { by } => (lease <= by).then_some(lease),
            Self::Until(until) => Some(until.min(lease)),
        };
        until.filter(|until| now < *until)
    }
}
