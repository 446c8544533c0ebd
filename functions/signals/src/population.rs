//! For tests: honest entities, from a seed.

use crate::{Counts, Kind, Memory, Model, Moment, Sample, WindowTime};

/// Noon of some day.
pub(crate) const NOON: WindowTime = WindowTime { start_s: 1_764_417_600, length_s: 300 };

/// Random numbers: a linear congruential generator is enough to draw some counts.
pub(crate) struct Draws(pub(crate) u64);

impl Draws {
    pub(crate) fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// An honest entity: it pays up to forty times, and has its own decline rate, mostly about a tenth.
    pub(crate) fn honest(&mut self) -> Counts {
        let rate = 0.02 + 0.2 * self.share() * self.share();
        let payments = 1 + (40.0 * self.share() * self.share()) as u32;
        let declined = (0..payments).filter(|_| self.share() < rate).count() as u32;
        counts(declined, payments)
    }
}

/// Payments, so many of them declined.
pub(crate) fn counts(declined: u32, payments: u32) -> Counts {
    Counts { requests: payments, runs: payments, payments, declined, ..Counts::default() }
}

/// A moment at which nothing is unusual.
pub(crate) fn calm() -> Moment {
    Moment::of(Kind::Principal, [], &Model::default())
}

/// The model that is learned from twenty thousand honest windows.
pub(crate) fn learned() -> Model {
    let (mut draws, mut sample) = (Draws(7), Sample::default());
    for _ in 0..20_000 {
        sample.observe(&draws.honest(), &Memory::default(), &calm(), NOON);
    }
    Model::learn(&sample)
}
