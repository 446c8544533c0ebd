//! Random numbers from a seed, the same on each machine.

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Beta, Distribution, Exp, Gamma, LogNormal, Poisson};

#[derive(Debug)]
pub(crate) struct Random(ChaCha8Rng);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub(crate) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    pub(crate) fn log_uniform(&mut self, low: f64, high: f64) -> f64 {
        self.uniform(low.ln(), high.ln()).exp()
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.random::<f64>() < probability
    }

    /// A whole number, both bounds included.
    pub(crate) fn between(&mut self, low: u32, high: u32) -> u32 {
        self.0.random_range(low..=high)
    }

    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.0.random_range(0..all.len())]
    }

    /// One of several with these weights.
    pub(crate) fn weighted<T: Copy>(&mut self, all: &[(T, f64)]) -> T {
        let mut rest = self.uniform(0.0, all.iter().map(|(_, weight)| weight).sum());
        for (value, weight) in all {
            rest -= weight;
            if rest < 0.0 {
                return *value;
            }
        }
        all[all.len() - 1].0
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> u32 {
        Poisson::new(mean.max(1e-9)).map_or(0, |distribution| distribution.sample(&mut self.0) as u32)
    }

    /// A time until the next of events with this rate.
    pub(crate) fn exponential(&mut self, rate: f64) -> f64 {
        Exp::new(rate.max(1e-12)).map_or(f64::INFINITY, |distribution| distribution.sample(&mut self.0))
    }

    pub(crate) fn gamma(&mut self, shape: f64) -> f64 {
        Gamma::new(shape, 1.0 / shape).map_or(1.0, |distribution| distribution.sample(&mut self.0))
    }

    pub(crate) fn beta(&mut self, mean: f64, weight: f64) -> f64 {
        Beta::new(mean * weight, (1.0 - mean) * weight).map_or(mean, |distribution| distribution.sample(&mut self.0))
    }

    pub(crate) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        LogNormal::new(median.ln(), sigma).map_or(median, |distribution| distribution.sample(&mut self.0))
    }

    /// A time of the day in seconds: more at noon and in the evening than at night.
    pub(crate) fn time_of_day(&mut self) -> f64 {
        loop {
            let share = self.uniform(0.0, 1.0);
            if self.chance(0.15 + 0.85 * (std::f64::consts::PI * share).sin().powi(2)) {
                return share * super::DAY_S;
            }
        }
    }
}
