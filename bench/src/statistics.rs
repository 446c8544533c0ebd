//! Medians.

use std::time::Duration;

/// The value below which this share of the values lies: 0.5 gives the median. Zero if there are none.
#[must_use]
pub fn quantile(values: &[Duration], share: f64) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let last = sorted.len().saturating_sub(1);
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let index = (last as f64 * share).round() as usize;
    sorted.get(index).copied().unwrap_or_default()
}

/// The median.
#[must_use]
pub fn median(values: &[Duration]) -> Duration {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let values: Vec<Duration> = [5, 1, 4, 2, 3].map(Duration::from_secs).to_vec();
        assert_eq!([0.0, 0.5, 0.99].map(|share| quantile(&values, share).as_secs()), [1, 3, 5]);
        assert_eq!(median(&[]), Duration::ZERO);
    }
}
