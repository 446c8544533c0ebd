//! The distance from the peers' mean in standard deviations.

use std::collections::HashMap;

use crate::learning::Row;

/// For each detector, horizon, kind and size of peers mean and standard deviation of the rates. The score is the
/// largest distance upwards, in the standard deviations of peers and of so many observations together.
#[derive(Debug, Default)]
pub(crate) struct ZScore {
    groups: HashMap<(usize, usize, usize, usize), Moments>,
}

#[derive(Debug, Default)]
struct Moments {
    number: f64,
    sum: f64,
    squares: f64,
}

impl ZScore {
    pub(crate) fn learn(rows: &[Row]) -> Self {
        let mut groups: HashMap<_, Moments> = HashMap::new();
        for row in rows {
            for (detector, horizon, pair) in
                row.each().filter(|(detector, _, pair)| pair.n > 0.0 && !row.gated[*detector])
            {
                let moments = groups.entry((row.kind as usize, size(pair.n), detector, horizon)).or_default();
                let rate = f64::from(pair.rate());
                moments.number += 1.0;
                moments.sum += rate;
                moments.squares += rate * rate;
            }
        }
        Self { groups }
    }

    pub(crate) fn score(&self, row: &Row) -> f64 {
        row.each()
            .filter(|(detector, _, _)| row.pairs[*detector][0].k > 0.0)
            .filter_map(|(detector, horizon, pair)| {
                let moments = self.groups.get(&(row.kind as usize, size(pair.n), detector, horizon))?;
                let mean = (moments.sum / moments.number).clamp(1e-6, 1.0 - 1e-6);
                let variance = (moments.squares / moments.number - mean * mean).max(0.0);
                let shifted = 1.0 / (1.0 + (-((mean / (1.0 - mean)).ln() + row.shifts[detector])).exp());
                let sampling = shifted * (1.0 - shifted) / f64::from(pair.n);
                Some((f64::from(pair.rate()) - shifted) / (variance.max(sampling) + 1e-6).sqrt())
            })
            .fold(0.0, f64::max)
    }
}

fn size(n: f32) -> usize {
    [3.0, 20.0].iter().filter(|bound| n > **bound).count()
}
