//! Points in time, with the unit in the type: a lease is in milliseconds, an expiration in seconds, and comparing the
//! two does not compile.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochMs(pub u64);

impl EpochMs {
    /// This point in time as whole seconds, rounded down.
    #[must_use]
    pub const fn seconds(self) -> EpochS {
        EpochS(self.0 / 1000)
    }

    /// The point in time `duration` later; the latest representable one if that would overflow.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let later_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(later_ms))
    }

    /// The point in time `duration` earlier; the earliest representable one if that would overflow.
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let earlier_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(earlier_ms))
    }

    /// The duration from `earlier` to this point in time; zero if `earlier` is the later one.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// A time before 1970 counts as 1970.
impl From<SystemTime> for EpochMs {
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}

/// Seconds since 1970-01-01T00:00:00Z, the unit of a DynamoDB time-to-live attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochS(pub u64);

impl EpochS {
    /// The point in time `duration` later, rounded up to whole seconds, so that a record is never kept for too short a
    /// time.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let whole = duration.as_secs() + u64::from(duration.subsec_nanos() > 0);
        Self(self.0.saturating_add(whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_never_shortened_by_rounding() {
        assert_eq!(EpochS(10).plus(Duration::from_millis(1)), EpochS(11));
        assert_eq!(EpochS(10).plus(Duration::from_secs(1)), EpochS(11));
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        assert_eq!(EpochMs(5).since(EpochMs(9)), Duration::ZERO);
        assert_eq!(EpochMs(u64::MAX).plus(Duration::from_secs(1)), EpochMs(u64::MAX));
        assert_eq!(EpochMs(0).plus(Duration::MAX), EpochMs(u64::MAX));
        assert_eq!(EpochMs(5).minus(Duration::from_millis(9)), EpochMs(0));
    }
}
