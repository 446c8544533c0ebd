//! Learning the model from a sample.

use crate::class::{CLASSES, Class, SizeClass};
use crate::grid::PLAIN;
use crate::model::vote;
use crate::prior::{Observed, Prior};
use crate::{Detector, Horizon, Kind, Model, Pair, Sample};

/// A class by size with fewer pairs than this learns from all sizes.
const ENOUGH: f64 = 200.0;

impl Model {
    /// Learns from a sample, for example of the last seven days. An empty sample gives an empty model.
    #[must_use]
    pub fn learn(sample: &Sample) -> Self {
        if sample.is_empty() {
            return Self::default();
        }
        let priors = (0..CLASSES).map(|index| Prior::learn(&pairs_for(sample, Class::at(index)), &PLAIN)).collect();
        let base_rates = Kind::ALL.map(|kind| Detector::ALL.map(|detector| base_rate(sample, kind, detector)));
        let slow_rates = Kind::ALL.map(|kind| rate_of(&sample.slow_runs(kind)));
        // The result is read from its bytes, so that scoring uses exactly the stored model.
        Self::from_bytes(&Self::new(priors, base_rates, slow_rates).to_bytes()).unwrap_or_default()
    }
}

fn pairs_for(sample: &Sample, class: Class) -> Vec<Observed> {
    let own = sample.observed(class);
    if own.iter().map(|pair| pair.times).sum::<f64>() >= ENOUGH {
        return own;
    }
    SizeClass::ALL.into_iter().flat_map(|size| sample.observed(Class { size, ..class })).collect()
}

fn base_rate(sample: &Sample, kind: Kind, detector: Detector) -> f32 {
    let of_size = |size| sample.observed(Class { kind, size, detector, horizon: Horizon::Window });
    let pairs: Vec<_> = SizeClass::ALL.into_iter().flat_map(of_size).collect();
    rate_of(&pairs)
}

/// The rate of all pairs, each weighted by its votes.
fn rate_of(pairs: &[Observed]) -> f32 {
    let votes = pairs.iter().map(|pair| vote(Pair { k: pair.k as f32, n: pair.n as f32 }).scaled(pair.times as f32));
    votes.fold(Pair::default(), Pair::plus).rate()
}
