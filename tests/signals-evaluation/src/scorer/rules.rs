//! Rules: limits that are learned, and limits that are published.

use std::collections::HashMap;

use signals::Detector;

use crate::learning::Row;

/// The share of windows that a learned limit lets pass.
const QUANTILE: f64 = 0.999;
/// The bounds of the groups of peers, by how many could have been.
const SIZES: [f32; 5] = [1.5, 3.0, 10.0, 20.0, 100.0];

/// For each detector, horizon, kind and size of peers a limit that all but one in a thousand keep. The score is how far
/// the limit is exceeded, on the log-odds scale, lowered by the moment's shift.
#[derive(Debug, Default)]
pub(crate) struct LearnedRules {
    limits: HashMap<(usize, usize, usize, usize), f64>,
}

impl LearnedRules {
    pub(crate) fn learn(rows: &[Row]) -> Self {
        let mut rates: HashMap<_, Vec<f64>> = HashMap::new();
        for row in rows {
            for (detector, horizon, pair) in
                row.each().filter(|(detector, _, pair)| pair.n > 0.0 && !row.gated[*detector])
            {
                rates
                    .entry((row.kind as usize, size(pair.n), detector, horizon))
                    .or_default()
                    .push(odds(pair.k, pair.n));
            }
        }
        let limits = rates.into_iter().map(|(group, mut rates)| {
            rates.sort_by(f64::total_cmp);
            let place = (QUANTILE * rates.len() as f64) as usize;
            (group, rates[place.min(rates.len() - 1)])
        });
        Self { limits: limits.collect() }
    }

    pub(crate) fn score(&self, row: &Row) -> f64 {
        row.each()
            .filter(|(detector, _, _)| row.pairs[*detector][0].k > 0.0)
            .filter_map(|(detector, horizon, pair)| {
                let limit = self.limits.get(&(row.kind as usize, size(pair.n), detector, horizon))?;
                Some(odds(pair.k, pair.n) - limit - row.shifts[detector])
            })
            .fold(0.0, |largest, score| f64::max(largest, score + 1.0))
    }
}

fn size(n: f32) -> usize {
    SIZES.iter().filter(|bound| n > **bound).count()
}

/// Log-odds with half a count added to both sides, so that one of one is less than ten of ten.
fn odds(k: f32, n: f32) -> f64 {
    (f64::from(k + 0.5) / f64::from(n - k + 0.5).max(0.5)).ln()
}

/// Rules with limits as they are published for five minutes: three declines, 40 % declined of at least five, ten
/// different cards, three mismatches. The score is how often the nearest limit is exceeded.
pub(crate) fn published(row: &Row) -> f64 {
    let counted = |detector: Detector| row.pairs[detector as usize][0];
    let open = |detector: Detector| (-row.shifts[detector as usize]).exp();
    let declined = counted(Detector::Declined);
    let ratio = if declined.n >= 5.0 { f64::from(declined.rate()) / 0.4 } else { 0.0 };
    [
        (Detector::Declined, 3.0),
        (Detector::HardDeclined, 2.0),
        (Detector::DistinctInstruments, 3.0),
        (Detector::SameInstrument, 3.0),
        (Detector::SmallDeclined, 2.0),
        (Detector::Mismatch, 3.0),
        (Detector::Early, 10.0),
        (Detector::OldReplay, 5.0),
        (Detector::Unknown, 3.0),
        (Detector::Refused, 5.0),
        (Detector::NoKey, 5.0),
        (Detector::RefundRefused, 3.0),
    ]
    .into_iter()
    .map(|(detector, limit)| f64::from(counted(detector).k) / limit * open(detector))
    .fold(ratio * open(Detector::Declined), f64::max)
}
