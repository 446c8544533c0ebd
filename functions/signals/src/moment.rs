//! The moment: what the whole service shows in a window. It is the gate that keeps an outage from accusing everybody.

use crate::model::vote;
use crate::{Counts, Detector, Kind, Model, Pair};

/// The weight of the usual rate, in votes.
const USUAL_VOTES: f64 = 30.0;
/// A shift below this is noise.
const GATED_FROM: f64 = 0.4;
/// How much more than the shift is allowed for: some are hit harder than others.
const ALLOWANCE: f64 = 1.25;

/// What all entities of a kind show in a window. Each has at most twenty votes, so that one heavy entity does not
/// excuse itself or others; and for each the moment is what *the others* show.
#[derive(Clone, Debug)]
pub struct Moment {
    kind: Kind,
    votes: [Pair; 12],
    usual: Option<[f32; 12]>,
}

impl Moment {
    /// The moment of a window, from the counts of all entities of a kind. Without a learned model nothing is gated.
    pub fn of<'c>(kind: Kind, all: impl IntoIterator<Item = &'c Counts>, model: &Model) -> Self {
        let mut votes = [Pair::default(); 12];
        for counts in all {
            for (sum, pair) in votes.iter_mut().zip(counts.pairs()) {
                *sum = sum.plus(vote(pair));
            }
        }
        let usual = model.is_learned().then(|| Detector::ALL.map(|detector| model.base_rate(kind, detector)));
        Self { kind, votes, usual }
    }

    /// The kind of its entities.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// By how much the log-odds of a detector are above the usual for the others than the entity that has this pair; 0
    /// if that is noise.
    #[must_use]
    pub fn shift(&self, detector: Detector, own: Pair) -> f64 {
        let difference = self.difference(detector, own);
        if difference < GATED_FROM { 0.0 } else { ALLOWANCE * difference }
    }

    /// Whether the moment is unusual for the others than the entity that has this pair. Such a window teaches nothing.
    #[must_use]
    pub fn is_gated(&self, detector: Detector, own: Pair) -> bool {
        self.difference(detector, own) >= GATED_FROM
    }

    fn difference(&self, detector: Detector, own: Pair) -> f64 {
        let Some(usual) = self.usual else { return 0.0 };
        let (all, own) = (self.votes[detector.index()], vote(own));
        let (k, n) = (f64::from((all.k - own.k).max(0.0)), f64::from((all.n - own.n).max(0.0)));
        let usual = f64::from(usual[detector.index()]).clamp(1e-5, 1.0 - 1e-5);
        let now = (k + USUAL_VOTES * usual) / (n + USUAL_VOTES);
        log_odds(now.clamp(1e-5, 1.0 - 1e-5)) - log_odds(usual)
    }
}

fn log_odds(rate: f64) -> f64 {
    (rate / (1.0 - rate)).ln()
}
