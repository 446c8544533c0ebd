//! The margin: how long before a function's deadline a run is stopped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// If a function's time-out is under 8 s, the margin is a quarter of it, so that with Lambda's default of 3 s a run
/// gets more than 2 s.
const PART_OF_THE_TIME: u32 = 4;

/// The time within which a store's requests end, including their retries.
const LONGEST: Duration = Duration::from_secs(2);

/// The engine's margin: as the application has set it, or according to the function's time-out.
///
/// A call does not carry the time-out, only the time left of it. The longest remaining time seen so far is therefore
/// taken as the time-out: the first call of a process has nearly all of it left.
#[derive(Debug, Default)]
pub(super) struct Margin {
    set: Option<Duration>,
    longest_left_ms: AtomicU64,
}

impl Margin {
    pub(super) const fn of(set: Duration) -> Self {
        Self { set: Some(set), longest_left_ms: AtomicU64::new(0) }
    }

    /// The margin for a call that has `left` until its deadline.
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
