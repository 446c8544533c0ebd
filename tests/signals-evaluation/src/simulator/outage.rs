//! Outages of the payment provider and of card issuers.

use super::random::Random;
use super::{DAY_S, DAYS};

/// Something that hits everybody.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    pub(crate) kind: OutageKind,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
    /// The share of requests that it hits.
    pub(crate) strength: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutageKind {
    /// Answers take 2 to 9 seconds.
    Slow,
    /// Nothing is executed.
    Down,
    /// The provider's answers are lost, so that outcomes are unknown.
    LostAnswers,
    /// Payments are declined.
    Declines,
}

impl Outage {
    pub(crate) fn draw_all(random: &mut Random) -> Vec<Self> {
        let mut outages = Vec::new();
        for (per_week, kinds) in [
            (2.0, &[OutageKind::Slow, OutageKind::Down, OutageKind::LostAnswers][..]),
            (1.2, &[OutageKind::Declines][..]),
        ] {
            for _ in 0..random.poisson(2.0 * per_week) {
                let start_s = random.uniform(0.0, DAYS as f64 * DAY_S);
                outages.push(Self {
                    kind: random.one_of(kinds),
                    start_s,
                    end_s: start_s + 60.0 * random.log_uniform(4.0, 60.0),
                    strength: random.uniform(0.4, 0.95),
                });
            }
        }
        outages
    }

    pub(crate) fn covers(&self, at_s: f64) -> bool {
        (self.start_s..self.end_s).contains(&at_s)
    }
}
