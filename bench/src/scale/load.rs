//! The loads: the shares of first requests and of repetitions.

/// A load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Almost only first requests; a few are repeated after they were answered.
    Healthy,
    /// Half of all requests are repetitions of a hundred requests that are still running, by Zipf's law.
    Storm,
}

impl Load {
    /// All loads.
    pub const ALL: [Self; 2] = [Self::Healthy, Self::Storm];

    /// The load's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy: 2 % of the requests are repetitions of settled ones",
            Self::Storm => "retry storm: half of the requests are repetitions of 100 running ones",
        }
    }

    /// The share of repetitions.
    #[must_use]
    pub const fn duplicates(self) -> f64 {
        match self {
            Self::Healthy => 0.02,
            Self::Storm => 0.5,
        }
    }

    /// Whether the repeated requests are settled.
    #[must_use]
    pub const fn repeats_settled(self) -> bool {
        matches!(self, Self::Healthy)
    }
}

/// The repeated requests, the most frequent first.
#[derive(Clone, Debug)]
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Creates `count` requests, of which the one at rank r is repeated in proportion to 1/r^exponent.
    #[must_use]
    pub fn new(count: u32, exponent: f64) -> Self {
        let mut sums: Vec<f64> = Vec::new();
        for rank in 1..=count {
            let sum = sums.last().copied().unwrap_or(0.0) + f64::from(rank).powf(-exponent);
            sums.push(sum);
        }
        let all = sums.last().copied().unwrap_or(1.0);
        Self(sums.into_iter().map(|sum| sum / all).collect())
    }

    /// Draws a rank, counted from zero.
    pub fn pick(&self, rng: &mut fastrand::Rng) -> usize {
        let drawn = rng.f64();
        self.0.partition_point(|sum| *sum < drawn).min(self.0.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_zipfs_requests_is_twice_as_frequent_as_the_second() {
        let (zipf, mut rng) = (Zipf::new(100, 1.0), fastrand::Rng::with_seed(1));
        let mut counts = [0.0_f64; 100];
        for _ in 0..200_000 {
            counts[zipf.pick(&mut rng)] += 1.0;
        }
        let ratio = counts[0] / counts[1];
        assert!((1.9..2.1).contains(&ratio), "{ratio}");
    }
}
