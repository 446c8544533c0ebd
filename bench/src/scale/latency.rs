//! Latencies: log-normal, given by their median and 99th percentile.

use super::assumption;

/// A distribution of durations.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    median_us: f64,
    sigma: f64,
}

/// The 99th percentile of the standard normal distribution.
const P99: f64 = 2.326_347_9;

impl Latency {
    /// A distribution with this median and 99th percentile, in milliseconds.
    #[must_use]
    pub fn new((median_ms, p99_ms): (f64, f64)) -> Self {
        Self { median_us: median_ms * 1e3, sigma: (p99_ms / median_ms).ln() / P99 }
    }

    /// A duration in microseconds.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and seconds at most")]
    pub fn draw(&self, rng: &mut fastrand::Rng) -> u64 {
        // Box and Muller's transform.
        let (one, other) = (1.0 - rng.f64(), rng.f64());
        let normal = (-2.0 * one.ln()).sqrt() * (std::f64::consts::TAU * other).cos();
        (self.median_us * (self.sigma * normal).exp()) as u64
    }
}

/// The latencies of a Region.
#[derive(Clone, Copy, Debug)]
pub struct Latencies {
    /// A single write.
    pub write: Latency,
    /// A transaction.
    pub transaction: Latency,
    /// The operation itself.
    pub run: Latency,
}

impl Default for Latencies {
    fn default() -> Self {
        Self {
            write: Latency::new(assumption::WRITE_MS),
            transaction: Latency::new(assumption::TRANSACTION_MS),
            run: Latency::new(assumption::RUN_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_all_durations_are_below_the_median_and_one_in_a_hundred_above_the_percentile() {
        let (latency, mut rng) = (Latency::new((5.0, 15.0)), fastrand::Rng::with_seed(1));
        let mut drawn: Vec<u64> = (0..100_000).map(|_| latency.draw(&mut rng)).collect();
        drawn.sort_unstable();
        assert!((4_900..5_100).contains(&drawn[50_000]), "{}", drawn[50_000]);
        assert!((14_500..15_500).contains(&drawn[99_000]), "{}", drawn[99_000]);
    }
}
