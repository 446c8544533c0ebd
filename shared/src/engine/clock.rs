//! The time of day as a component, so that tests and simulations own it.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::protocol::EpochMs;

/// Tells the time of day.
///
/// No safety rests on it: a clock that is wrong costs waiting or an early takeover, never a second effect.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> EpochMs;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> EpochMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        EpochMs(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }
}
