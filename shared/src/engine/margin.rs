//! How long before a function's deadline a run is stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of a function with less than 8 s the margin is a quarter of its time, so that with Lambda's default of 3 s a run gets
/// more than 2 s.
const PART_OF_THE_TIME: u32 = 4;

/// The time in which the stores' requests, with their retries, end.
const LONGEST: Duration = Duration::from_secs(2);

/// The engine's margin: as the application has set it, or according to the function's time-out.
///
/// No call says what the time-out is, only how much of it is left. So the longest time that any call has had left stands
/// for it: the first call of a process has nearly all of it.
#[derive(Debug, Default)]
pub(super) struct Margin {
    set: Option<Duration>,
    longest_left_ms: AtomicU64,
}

impl Margin {
    pub(super) const fn of(set: Duration) -> Self {
        Self { set: Some(set), longest_left_ms: AtomicU64::new(0) }
    }

    /// The margin for a call that has this much time left.
    pub(super) fn with_left(&self, left: Duration) -> Duration {
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let longest = self.longest_left_ms.fetch_max(left, Ordering::Relaxed).max(left);
        self.set.unwrap_or_else(|| LONGEST.min(Duration::from_millis(longest) / PART_OF_THE_TIME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_with_lambdas_default_of_three_seconds_leaves_a_run_at_least_two() {
        let margin = Margin::default();
        let left = Duration::from_millis(2_950);
        assert!(left - margin.with_left(left) >= Duration::from_secs(2));
    }

    #[test]
    fn what_is_left_of_a_long_time_out_does_not_shorten_the_margin_and_two_seconds_are_the_most() {
        let margin = Margin::default();
        for left_s in [6, 1, 0] {
            assert_eq!(margin.with_left(Duration::from_secs(left_s)), Duration::from_millis(1_500), "{left_s} s left");
        }
        assert_eq!(margin.with_left(Duration::MAX), LONGEST);
        assert_eq!(margin.with_left(Duration::from_secs(1)), LONGEST);
    }

    #[test]
    fn a_margin_that_was_set_does_not_depend_on_the_time() {
        let margin = Margin::of(Duration::from_millis(300));
        assert_eq!(margin.with_left(Duration::from_secs(60)), Duration::from_millis(300));
    }
}
