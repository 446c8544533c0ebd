//! The evidence that a window is unusual.

use crate::grid::{Grid, RATES, weighted};
use crate::model::{Class, SizeClass};
use crate::prior::Prior;
use crate::{Counts, Detector, Horizon, Memory, Model, Moment, Pair, WindowTime};

/// The own past counts as at most so many observations.
const PAST_AT_MOST: f32 = 60.0;

/// What is unusual about a window of an entity: for its peers *and* for itself, at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The strongest finding of each detector that found anything, the strongest first.
    pub findings: Vec<Finding>,
}

/// What one detector found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The detector.
    pub detector: Detector,
    /// The horizon over which it counted.
    pub horizon: Horizon,
    /// What it counted; fractions if the horizon is longer than the window.
    pub counted: Pair,
    /// The logarithm of how many times likelier the counts are if this entity is unusual. If the model is right, the
    /// chance of a value above *x* is at most *e*^(-*x*).
    pub score: f64,
    /// The mean rate of its peers, at this moment.
    pub peers: f64,
    /// The rate of its own past, if it has one.
    pub own: Option<f64>,
}

impl Evidence {
    /// The score of the strongest finding; 0 without any.
    #[must_use]
    pub fn score(&self) -> f64 {
        self.findings.first().map_or(0.0, |finding| finding.score)
    }

    /// The strongest finding.
    #[must_use]
    pub fn strongest(&self) -> Option<&Finding> {
        self.findings.first()
    }
}

/// Scores a window of an entity, of which `memory` is what was remembered before. Without a learned model nothing is
/// found.
#[must_use]
pub fn score(window: &Counts, memory: &Memory, model: &Model, moment: &Moment, at: WindowTime) -> Evidence {
    if !model.is_learned() {
        return Evidence::default();
    }
    let memory = memory.faded(at);
    let plain = Grid::shifted(0.0);
    let mut findings: Vec<_> = Detector::ALL
        .into_iter()
        .filter_map(|detector| Scoring { memory: &memory, model, moment, plain: &plain, at }.detector(detector, window))
        .collect();
    findings.sort_by(|one, other| other.score.total_cmp(&one.score));
    Evidence { findings }
}

struct Scoring<'s> {
    memory: &'s Memory,
    model: &'s Model,
    moment: &'s Moment,
    plain: &'s Grid,
    at: WindowTime,
}

impl Scoring<'_> {
    /// The strongest finding of a detector.
    fn detector(&self, detector: Detector, window: &Counts) -> Option<Finding> {
        let pair = window.pair(detector);
        // What is not in the window itself was scored before.
        if pair.k <= 0.0 {
            return None;
        }
        let shift = self.moment.shift(detector, pair);
        let shifted = (shift != 0.0).then(|| Grid::shifted(shift));
        let grid = shifted.as_ref().unwrap_or(self.plain);
        Horizon::ALL
            .into_iter()
            .filter_map(|horizon| self.finding(detector, horizon, self.memory.over(horizon, detector, pair), grid))
            .filter(|finding| !self.memory.is_silent(detector, finding.counted.rate(), self.at))
            .max_by(|one, other| one.score.total_cmp(&other.score))
    }

    fn finding(&self, detector: Detector, horizon: Horizon, counted: Pair, grid: &Grid) -> Option<Finding> {
        let class = Class { kind: self.moment.kind(), size: SizeClass::of(counted.n), detector, horizon };
        let prior = self.model.prior(class)?;
        let peers = grid.mean(&prior.0);
        if f64::from(counted.rate()) <= peers {
            return None;
        }
        let past = self.memory.past(detector);
        let own = (past.n > 0.0).then(|| past.scaled((PAST_AT_MOST / past.n).min(1.0)));
        let own = own.map(|past| prior.after(f64::from(past.k), f64::from(past.n), self.plain));
        let score = log_evidence(counted, grid, peers, prior, own.as_ref());
        (score > 0.0).then(|| Finding {
            detector,
            horizon,
            counted,
            score,
            peers,
            own: own.is_some().then(|| f64::from(past.rate())),
        })
    }
}

/// The logarithm of the likelihood if the entity is unusual, over that if it is like its peers or like its own past.
fn log_evidence(counted: Pair, grid: &Grid, peers: f64, prior: &Prior, own: Option<&Prior>) -> f64 {
    let (likelihoods, _) = grid.likelihoods(f64::from(counted.k), f64::from(counted.n));
    let (sum, above) = (0..RATES)
        .filter(|index| grid.rates[*index] > peers)
        .fold((0.0, 0.0), |(sum, above), index| (sum + likelihoods[index], above + 1.0));
    if above == 0.0 {
        return 0.0;
    }
    let as_peers = weighted(&prior.0, &likelihoods);
    let usual = own.map_or(as_peers, |own| 0.5 * as_peers + 0.5 * weighted(&own.0, &likelihoods));
    (sum / above).ln() - usual.ln()
}
