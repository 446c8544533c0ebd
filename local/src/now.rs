//! The time of day, since the Unix epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) fn seconds() -> u64 {
    since_epoch().as_secs()
}

pub(crate) fn milliseconds() -> i64 {
    i64::try_from(since_epoch().as_millis()).unwrap_or(i64::MAX)
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
