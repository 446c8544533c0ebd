//! The limit of a claim's lease.

use std::time::Duration;

use super::EpochMs;

/// How long a claim holds: the earlier of two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseLimit {
    /// The longest time after the claim.
    pub at_most: Duration,
    /// The latest end.
    pub by: EpochMs,
}

impl LeaseLimit {
    /// The end of a lease that begins at this time.
    #[must_use]
    pub fn end(self, now: EpochMs) -> EpochMs {
        now.plus(self.at_most).min(self.by)
    }
}
