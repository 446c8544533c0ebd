//! The distribution of rates among peers, learned from pairs: the nonparametric maximum-likelihood mixture
//! (Kiefer and Wolfowitz), by expectation-maximisation.

use crate::grid::{Grid, RATES, normalised, weighted};

/// The rounds of expectation-maximisation.
const ROUNDS: usize = 80;
/// The share of peers that may have any rate. It bounds the evidence, most of all for rare rates.
const FLOOR: f64 = 0.000_3;

/// Weights over the rates of the grid.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Prior(pub(crate) [f64; RATES]);

/// Equal pairs, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed {
    pub(crate) k: f64,
    pub(crate) n: f64,
    pub(crate) times: f64,
}

impl Prior {
    /// The most likely weights for pairs, mixed with a small share for every rate.
    pub(crate) fn learn(observed: &[Observed], grid: &Grid) -> Self {
        let likelihoods = Likelihoods::of(observed, grid);
        let mut weights = [1.0 / RATES as f64; RATES];
        if !observed.is_empty() {
            for _ in 0..ROUNDS {
                weights = likelihoods.improve(&weights);
            }
        }
        let tail = Self::floor();
        Self(std::array::from_fn(|index| (1.0 - FLOOR) * weights[index] + FLOOR * tail[index]))
    }

    /// The small share for every rate: lower rates are more plausible than higher ones.
    fn floor() -> [f64; RATES] {
        normalised(std::array::from_fn(|index| (-8.0 * index as f64 / (RATES - 1) as f64).exp()))
    }

    /// These weights after a past with these likelihoods.
    pub(crate) fn after(&self, likelihoods: &[f64; RATES]) -> Self {
        Self(normalised(std::array::from_fn(|index| self.0[index] * likelihoods[index])))
    }
}

struct Likelihoods {
    rows: Vec<(f64, [f64; RATES])>,
}

impl Likelihoods {
    fn of(observed: &[Observed], grid: &Grid) -> Self {
        Self { rows: observed.iter().map(|pair| (pair.times, grid.likelihoods(pair.k, pair.n).0)).collect() }
    }

    /// One round.
    fn improve(&self, weights: &[f64; RATES]) -> [f64; RATES] {
        let mut next = [0.0; RATES];
        for (times, row) in &self.rows {
            let scale = times / weighted(weights, row);
            for index in 0..RATES {
                next[index] += scale * weights[index] * row[index];
            }
        }
        normalised(next)
    }

    /// The log-likelihood of weights, up to a constant.
    #[cfg(test)]
    fn log_likelihood(&self, weights: &[f64; RATES]) -> f64 {
        self.rows.iter().map(|(times, row)| times * weighted(weights, row).ln()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_round_lowers_the_likelihood(
            pairs in proptest::collection::vec((0.0..1.0_f64, 0.1..500.0_f64, 1.0..1000.0_f64), 1..40),
        ) {
            let observed: Vec<_> =
                pairs.iter().map(|(rate, n, times)| Observed { k: rate * n, n: *n, times: *times }).collect();
            let likelihoods = Likelihoods::of(&observed, &Grid::shifted(0.0));
            let mut weights = [1.0 / RATES as f64; RATES];
            let mut before = likelihoods.log_likelihood(&weights);
            for _ in 0..ROUNDS {
                weights = likelihoods.improve(&weights);
                let after = likelihoods.log_likelihood(&weights);
                prop_assert!(after >= before - 1e-9 * (1.0 + before.abs()), "{after} after {before}");
                before = after;
            }
        }
    }

    #[test]
    fn the_weights_find_the_rate_that_made_the_pairs() {
        let grid = Grid::shifted(0.0);
        let prior = Prior::learn(&[Observed { k: 10.0, n: 100.0, times: 5_000.0 }], &grid);
        let mean = grid.mean(&prior.0);
        assert!((0.08..0.12).contains(&mean), "{mean}");
    }
}
