//! The moment: the rates of the whole service in a window. It is the gate that prevents signals for everybody in an
//! outage.

use crate::model::vote;
use crate::{Counts, Detector, Kind, Model, Pair};

/// The weight of the usual rate, in votes.
const USUAL_VOTES: f64 = 30.0;
/// A shift below this is noise.
const GATED_FROM: f64 = 0.4;
/// A difference below this number of standard deviations is treated as chance.
const SIGNIFICANT: f64 = 2.0;
/// Answers are slow if the share of slow runs is this much larger than usual.
const SLOW_FROM: f64 = 0.1;
/// A shift by which any rate is usual.
const ANYTHING: f64 = 20.0;
/// The factor by which the shift is increased, because an outage affects some entities more than others.
const ALLOWANCE: f64 = 1.25;

/// The rates of all entities of a kind in a window. Each has at most twenty votes, so that one heavy entity does not
/// excuse itself or others; for each entity the moment consists of *the others'* rates.
#[derive(Clone, Debug)]
pub struct Moment {
    kind: Kind,
    votes: [Pair; 12],
    slow: Pair,
    usual: Option<Usual>,
}

/// The usual rates of the whole service.
#[derive(Clone, Copy, Debug)]
struct Usual {
    rates: [f32; 12],
    slow: f32,
}

impl Moment {
    /// The moment of a window, from the counts of all entities of a kind. Without a learned model nothing is gated.
    pub fn of<'c>(kind: Kind, all: impl IntoIterator<Item = &'c Counts>, model: &Model) -> Self {
        let (mut votes, mut slow) = ([Pair::default(); 12], Pair::default());
        for counts in all {
            slow = slow.plus(vote(counts.slow_runs()));
            for (sum, pair) in votes.iter_mut().zip(counts.pairs()) {
                *sum = sum.plus(vote(pair));
            }
        }
        let usual = model.is_learned().then(|| Usual {
            rates: Detector::ALL.map(|detector| model.base_rate(kind, detector)),
            slow: model.slow_rate(kind),
        });
        Self { kind, votes, slow, usual }
    }

    /// The kind of its entities.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// By how much a detector's log-odds are above the usual, without the entity that has these counts; 0 if the
    /// difference is noise.
    #[must_use]
    pub fn shift(&self, detector: Detector, own: &Counts) -> f64 {
        match detector {
            // When answers are slow, each client repeats as its library does: some never, some ten times at once. So
            // other clients' behaviour shows that answers are slow, but not how many repetitions are normal.
            Detector::Early if self.is_gated(detector, own) => ANYTHING,
            Detector::Early => 0.0,
            _ => {
                let difference = self.difference(detector, own);
                if difference < GATED_FROM { 0.0 } else { ALLOWANCE * difference }
            }
        }
    }

    /// Whether the moment is unusual, without the entity that has these counts. The model does not learn from such a
    /// window.
    #[must_use]
    pub fn is_gated(&self, detector: Detector, own: &Counts) -> bool {
        let is_slow = detector == Detector::Early && self.is_slow(own);
        is_slow || self.difference(detector, own) >= GATED_FROM
    }

    /// Whether runs are slower than usual, without the entity that has these counts.
    pub(crate) fn is_slow(&self, own: &Counts) -> bool {
        let Some(usual) = self.usual else { return false };
        let (k, n) = others(self.slow, own.slow_runs());
        let usual = f64::from(usual.slow);
        (k + USUAL_VOTES * usual) / (n + USUAL_VOTES) >= usual + SLOW_FROM
    }

    fn difference(&self, detector: Detector, own: &Counts) -> f64 {
        let Some(usual) = self.usual else { return 0.0 };
        let (k, n) = others(self.votes[detector.index()], own.pair(detector));
        let usual = f64::from(usual.rates[detector.index()]).clamp(1e-5, 1.0 - 1e-5);
        // With few votes a difference is chance.
        if k - n * usual < SIGNIFICANT * (n * usual * (1.0 - usual)).sqrt() {
            return 0.0;
        }
        let now = (k + USUAL_VOTES * usual) / (n + USUAL_VOTES);
        log_odds(now.clamp(1e-5, 1.0 - 1e-5)) - log_odds(usual)
    }
}

/// The votes without an entity's own.
fn others(all: Pair, own: Pair) -> (f64, f64) {
    let own = vote(own);
    (f64::from((all.k - own.k).max(0.0)), f64::from((all.n - own.n).max(0.0)))
}

fn log_odds(rate: f64) -> f64 {
    (rate / (1.0 - rate)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::{Draws, NOON, counts, learned};
    use crate::{Memory, score};

    #[test]
    fn an_outage_of_everybody_raises_nobody() {
        let (model, mut draws) = (learned(), Draws(1));
        // Four of five payments of everybody are declined.
        let all: Vec<_> = (0..300)
            .map(|_| {
                let payments = 1 + (40.0 * draws.share()) as u32;
                counts((0..payments).filter(|_| draws.share() < 0.8).count() as u32, payments)
            })
            .collect();
        let (outage, calm) = (Moment::of(Kind::Principal, &all, &model), Moment::of(Kind::Principal, [], &model));
        let largest = |moment: &Moment| {
            all.iter().map(|own| score(own, &Memory::default(), &model, moment, NOON).score()).fold(0.0, f64::max)
        };
        assert!(largest(&outage) < 3.0, "{}", largest(&outage));
        // Without the gate many would be raised.
        assert!(largest(&calm) > 9.0, "{}", largest(&calm));
    }

    #[test]
    fn one_heavy_entity_opens_the_gate_neither_for_itself_nor_for_others() {
        let (model, mut draws) = (learned(), Draws(2));
        let mut all: Vec<_> = (0..100).map(|_| draws.honest()).collect();
        all.push(counts(20_000, 20_000));
        let moment = Moment::of(Kind::Principal, &all, &model);
        for own in &all {
            assert!(!moment.is_gated(Detector::Declined, own));
            assert_eq!(moment.shift(Detector::Declined, own), 0.0);
        }
        let score = score(&all[100], &Memory::default(), &model, &moment, NOON).score();
        assert!(score > 9.0, "{score}");
    }

    #[test]
    fn whoever_repeats_without_a_pause_is_excused_while_the_runs_of_others_are_slow() {
        let (model, mut draws) = (learned(), Draws(4));
        let mut others: Vec<_> = (0..60).map(|_| draws.honest()).collect();
        // Four keys, each asked for ten times more while its run lasts.
        let mut own = Counts { requests: 44, runs: 4, payments: 4, slow: 4, in_progress: 40, ..Counts::default() };
        (0..4_u8).for_each(|key| own.in_progress_keys.insert(&[key]));
        let score_among = |others: &[Counts]| {
            let moment = Moment::of(Kind::Principal, others.iter().chain([&own]), &model);
            score(&own, &Memory::default(), &model, &moment, NOON).score()
        };
        let when_usual = score_among(&others);
        assert!(when_usual > 5.0, "its own slow runs excuse nobody: {when_usual}");
        // One in three, and so nobody else repeats anything.
        for counts in others.iter_mut() {
            counts.slow = counts.runs.div_ceil(3);
        }
        assert_eq!(score_among(&others), 0.0);
        // A single slow run of others is chance.
        for counts in &mut others[1..] {
            counts.slow = 0;
        }
        assert_eq!(score_among(&others), when_usual);
    }

    #[test]
    fn nothing_is_gated_before_something_was_learned() {
        let all = [counts(9, 9), counts(8, 9)];
        let moment = Moment::of(Kind::Principal, &all, &Model::default());
        assert!(!moment.is_gated(Detector::Declined, &all[0]));
    }
}
