//! The evidence that a window is unusual.

use crate::class::{Class, SizeClass};
use crate::grid::{Grid, PLAIN, RATES, weighted};
use crate::prior::Prior;
use crate::{Counts, Detector, Horizon, Memory, Model, Moment, Pair, WindowTime};

/// The maximum number of observations that the own past counts as.
const PAST_AT_MOST: f32 = 60.0;

/// The weight of the kinds of declines, relative to the declines themselves.
const KINDS: f64 = 0.5;

/// The evidence that a window of an entity is unusual: for its peers *and* for itself, at this moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The strongest finding of each detector that found anything, the strongest first.
    pub findings: Vec<Finding>,
}

/// The finding of one detector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Finding {
    /// The detector.
    pub detector: Detector,
    /// The horizon over which it counted.
    pub horizon: Horizon,
    /// The counts; fractions if the horizon is longer than the window.
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

/// Scores a window of an entity, from the `memory` before the window. Without a learned model nothing is found.
#[must_use]
pub fn score(window: &Counts, memory: &Memory, model: &Model, moment: &Moment, at: WindowTime) -> Evidence {
    Findings::of(window, memory, model, moment, at).evidence()
}

/// The findings of each detector over each horizon, before the kinds of declines are added.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Findings([[Option<Finding>; 3]; 12]);

impl Findings {
    /// The findings in a window of an entity, from the `memory` before the window.
    #[must_use]
    pub fn of(window: &Counts, memory: &Memory, model: &Model, moment: &Moment, at: WindowTime) -> Self {
        if !model.is_learned() {
            return Self::default();
        }
        let scoring = Scoring { window, memory: &memory.faded(at), model, moment, at };
        Self(Detector::ALL.map(|detector| scoring.over_horizons(detector)))
    }

    /// These findings without one detector, to measure what it contributes.
    #[must_use]
    pub fn without(mut self, detector: Detector) -> Self {
        self.0[detector.index()] = [None; 3];
        self
    }

    /// The evidence that they are.
    #[must_use]
    pub fn evidence(self) -> Evidence {
        let Self(mut each) = self;
        add_kinds_of_declines(&mut each);
        // Of equal findings the last one is taken: the one with the shortest horizon, which is the most specific.
        let strongest = |findings: [Option<Finding>; 3]| {
            findings.into_iter().rev().flatten().max_by(|one, other| one.score.total_cmp(&other.score))
        };
        let mut findings: Vec<_> = each.into_iter().filter_map(strongest).collect();
        findings.sort_by(|one, other| other.score.total_cmp(&one.score));
        Evidence { findings }
    }
}

/// The kind of a declined payment, given that it was declined, is additional evidence, so the logarithms add up. But
/// one person's tries are mostly of one kind, so the payments are not independent.
fn add_kinds_of_declines(each: &mut [[Option<Finding>; 3]; 12]) {
    for horizon in Horizon::ALL.map(Horizon::index) {
        let kinds = Detector::ALL.into_iter().filter(|detector| detector.is_kind_of_decline());
        let more: f64 = kinds.filter_map(|kind| each[kind.index()][horizon]).map(|finding| finding.score).sum();
        if let Some(declined) = &mut each[Detector::Declined.index()][horizon] {
            declined.score += KINDS * more;
        }
    }
}

/// An entity's own past, as a detector sees it.
struct Past {
    rate: f64,
    /// The likelihood of the past at each rate of the grid.
    likelihoods: [f64; RATES],
}

struct Scoring<'s> {
    window: &'s Counts,
    memory: &'s Memory,
    model: &'s Model,
    moment: &'s Moment,
    at: WindowTime,
}

impl Scoring<'_> {
    fn over_horizons(&self, detector: Detector) -> [Option<Finding>; 3] {
        let pair = self.window.pair(detector);
        // Counts from before the window were scored before.
        let counts = if detector.is_kind_of_decline() { pair.n } else { pair.k };
        if counts <= 0.0 {
            return [None; 3];
        }
        let past = self.past(detector);
        let shift = self.moment.shift(detector, self.window);
        let shifted = (shift != 0.0).then(|| Grid::shifted(shift));
        Horizon::ALL.map(|horizon| {
            let counted = self.memory.over(horizon, detector, pair);
            let usual = self.finding(detector, horizon, counted, past.as_ref(), &PLAIN)?;
            // The moment shifts the window, of which a longer horizon is only partly made: the weaker evidence counts.
            let Some(shifted) = &shifted else { return Some(usual) };
            let at_this_moment = self.finding(detector, horizon, counted, past.as_ref(), shifted)?;
            Some(if at_this_moment.score < usual.score { at_this_moment } else { usual })
        })
    }

    /// The own past, the same for all horizons; `None` without one.
    fn past(&self, detector: Detector) -> Option<Past> {
        let past = self.memory.past(detector);
        (past.n > 0.0).then(|| {
            let weighed = past.scaled((PAST_AT_MOST / past.n).min(1.0));
            let (likelihoods, _) = PLAIN.likelihoods(f64::from(weighed.k), f64::from(weighed.n));
            Past { rate: f64::from(past.rate()), likelihoods }
        })
    }

    fn finding(
        &self,
        detector: Detector,
        horizon: Horizon,
        counted: Pair,
        past: Option<&Past>,
        grid: &Grid,
    ) -> Option<Finding> {
        let class = Class { kind: self.moment.kind(), size: SizeClass::of(counted.n), detector, horizon };
        let prior = self.model.prior(class)?;
        let (rate, peers) = (f64::from(counted.rate()), grid.mean(&prior.0));
        if rate <= peers || self.memory.is_silent(detector, counted.rate(), self.at) {
            return None;
        }
        let own = past.map(|past| prior.after(&past.likelihoods));
        if own.as_ref().is_some_and(|own| rate <= grid.mean(&own.0)) {
            return None;
        }
        let score = log_evidence(counted, grid, peers, prior, own.as_ref());
        (score > 0.0).then(|| Finding { detector, horizon, counted, score, peers, own: past.map(|past| past.rate) })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{Draws, NOON, calm, counts, learned};

    fn hours_before(hours: u64) -> WindowTime {
        WindowTime { start_s: NOON.start_s - hours * 3_600, ..NOON }
    }

    #[test]
    fn many_declines_are_found_and_usual_ones_are_not() {
        let model = learned();
        let scored = |declined, payments| score(&counts(declined, payments), &Memory::default(), &model, &calm(), NOON);
        let attack = scored(41, 44);
        let finding = attack.strongest().unwrap();
        assert_eq!((finding.detector, finding.horizon), (Detector::Declined, Horizon::Window));
        assert_eq!((finding.counted.k, finding.counted.n), (41.0, 44.0));
        assert!((0.05..0.15).contains(&finding.peers), "{}", finding.peers);
        assert!(finding.score > 9.0, "{}", finding.score);
        // Rates below the mean are not unusual.
        assert_eq!(scored(1, 44), Evidence::default());
        assert_eq!(scored(0, 44), Evidence::default());
    }

    #[test]
    fn the_mean_of_the_evidence_of_honest_windows_is_at_most_one() {
        let (model, mut draws) = (learned(), Draws(3));
        let mean = (0..20_000)
            .map(|_| score(&draws.honest(), &Memory::default(), &model, &calm(), NOON).score())
            // Where nothing is found the quotient of the likelihoods is below one.
            .map(|score| if score > 0.0 { score.exp() } else { 0.0 })
            .sum::<f64>()
            / 20_000.0;
        assert!(mean <= 1.05, "{mean}");
    }

    #[test]
    fn what_is_usual_for_an_entity_is_not_held_against_it() {
        let model = learned();
        let mut memory = Memory::default();
        for day in 1..8 {
            memory.absorb(&counts(30, 44), &calm(), hours_before(24 * (8 - day)));
        }
        let stranger = score(&counts(30, 44), &Memory::default(), &model, &calm(), NOON);
        let regular = score(&counts(30, 44), &memory, &model, &calm(), NOON);
        assert!(stranger.score() > 9.0, "{}", stranger.score());
        assert!(regular.score() < 2.0, "{}", regular.score());
    }

    #[test]
    fn what_is_slow_is_found_over_a_longer_horizon() {
        let model = learned();
        let mut memory = Memory::default();
        for hour in 1..12 {
            memory.absorb(&counts(1, 1), &calm(), hours_before(12 - hour));
        }
        let alone = score(&counts(1, 1), &Memory::default(), &model, &calm(), NOON);
        let after_others = score(&counts(1, 1), &memory, &model, &calm(), NOON);
        assert_eq!(after_others.strongest().unwrap().horizon, Horizon::HalfDay);
        assert!(after_others.score() > alone.score() + 3.0);
    }

    #[test]
    fn a_silent_detector_finds_nothing_until_its_rate_doubles() {
        let model = learned();
        let mut memory = Memory::default();
        memory.absorb(&counts(20, 44), &calm(), hours_before(1));
        memory.call_fine(Detector::Declined, hours_before(1));
        assert_eq!(score(&counts(20, 44), &memory, &model, &calm(), NOON), Evidence::default());
        assert!(score(&counts(44, 44), &memory, &model, &calm(), NOON).score() > 0.0);
    }

    #[test]
    fn stored_bytes_change_a_score_by_next_to_nothing() {
        let model = learned();
        let mut memory = Memory::default();
        for hour in 1..30 {
            memory.absorb(&counts(3, 11), &calm(), hours_before(30 - hour));
        }
        let read = Memory::from_bytes(&memory.to_bytes()).unwrap();
        let score_of = |memory: &Memory| score(&counts(41, 44), memory, &model, &calm(), NOON).score();
        assert!((score_of(&memory) - score_of(&read)).abs() < 0.02);
    }

    #[test]
    fn nothing_is_found_before_something_was_learned() {
        assert_eq!(score(&counts(44, 44), &Memory::default(), &Model::default(), &calm(), NOON), Evidence::default());
    }
}
