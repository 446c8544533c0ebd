//! The time limits of a call.

use std::time::Duration;

use crate::protocol::EpochMs;

/// The time limits of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a settled or released record is kept.
    pub retention: Duration,
    /// The latest time at which a claim may begin. Later there is no time to run.
    pub start_by: EpochMs,
    /// The latest time at which the call may write without holding a claim: a retention after it began. What others have
    /// settled in the meantime may then have expired and be deleted, so that no condition shows it any more.
    pub write_by: EpochMs,
    /// How long a duplicate waits for a running call.
    pub wait: Wait,
}

/// How long a duplicate waits for a running call.
///
/// It never waits beyond the end of that call's lease: the owner is then late or dead, and the duplicate takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wait {
    /// It does not wait.
    No,
    /// Until the lease ends. If that is later than `by`, it does not wait at all, for it might wait in vain.
    ForLease {
        /// The latest end of the wait.
        by: EpochMs,
    },
    /// Until this time.
    Until(EpochMs),
}

impl Wait {
    /// How long to wait for a call with this lease; `None` if not any longer.
    pub(super) fn until(self, lease: EpochMs, now: EpochMs) -> Option<EpochMs> {
        let until = match self {
            Self::No => None,
            Self::ForLease { by } => (lease <= by).then_some(lease),
            Self::Until(until) => Some(until.min(lease)),
        };
        until.filter(|until| now < *until)
    }
}
