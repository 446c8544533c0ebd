//! The rates that are considered: forty, evenly spaced on the log-odds scale from 0.01 % to 99 %.

use std::sync::LazyLock;

/// The number of rates.
pub(crate) const RATES: usize = 40;
const LOWEST: f64 = -9.2;
const HIGHEST: f64 = 4.6;
/// A likelihood is treated as zero if its logarithm is this far below the largest: all weights are above e^-22.
const NEGLIGIBLE: f64 = -60.0;
/// A shifted rate stays below this log-odds.
const SHIFTED_HIGHEST: f64 = 6.0;

/// For each rate its logarithm and that of its complement.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub(crate) rates: [f64; RATES],
    ln_rates: [f64; RATES],
    ln_complements: [f64; RATES],
}

/// The grid without a shift.
pub(crate) static PLAIN: LazyLock<Grid> = LazyLock::new(|| Grid::shifted(0.0));

impl Grid {
    /// The grid with all log-odds shifted.
    pub(crate) fn shifted(shift: f64) -> Self {
        let mut grid = Self { rates: [0.0; RATES], ln_rates: [0.0; RATES], ln_complements: [0.0; RATES] };
        for index in 0..RATES {
            let odds = (log_odds_at(index) + shift).min(SHIFTED_HIGHEST.max(log_odds_at(index)));
            grid.rates[index] = 1.0 / (1.0 + (-odds).exp());
            grid.ln_rates[index] = -(-odds).exp().ln_1p();
            grid.ln_complements[index] = -odds.exp().ln_1p();
        }
        grid
    }

    /// The likelihood of `k` of `n` at each rate, divided by the largest, and the logarithm of that.
    pub(crate) fn likelihoods(&self, k: f64, n: f64) -> ([f64; RATES], f64) {
        let misses = (n - k).max(0.0);
        let mut values = [0.0; RATES];
        let mut largest = f64::NEG_INFINITY;
        for (index, value) in values.iter_mut().enumerate() {
            *value = k * self.ln_rates[index] + misses * self.ln_complements[index];
            largest = largest.max(*value);
        }
        for value in &mut values {
            let below = *value - largest;
            *value = if below > NEGLIGIBLE { below.exp() } else { 0.0 };
        }
        (values, largest)
    }

    /// The mean rate under weights.
    pub(crate) fn mean(&self, weights: &[f64; RATES]) -> f64 {
        weighted(weights, &self.rates)
    }
}

/// The sum of products.
pub(crate) fn weighted(weights: &[f64; RATES], values: &[f64; RATES]) -> f64 {
    weights.iter().zip(values).map(|(weight, value)| weight * value).sum()
}

/// Scales weights so that they add up to one.
pub(crate) fn normalised(mut weights: [f64; RATES]) -> [f64; RATES] {
    let sum: f64 = weights.iter().sum();
    for weight in &mut weights {
        *weight /= sum;
    }
    weights
}

fn log_odds_at(index: usize) -> f64 {
    LOWEST + (HIGHEST - LOWEST) * index as f64 / (RATES - 1) as f64
}
