//! The delays between the tries of a request.

use std::time::Duration;

use backon::ExponentialBuilder;

/// Growing delays within these limits, with jitter, so that many callers do not try at the same moments. Their number
/// is not limited: the caller ends the tries.
pub(crate) fn backoff(shortest_ms: u64, longest_ms: u64) -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(shortest_ms))
        .with_max_delay(Duration::from_millis(longest_ms))
        .without_max_times()
}
