//! Ten families of attacks.

use signals::Answer;

use super::client::{Intent, Policy, Sender};
use super::honest::Integration;
use super::server::{Chances, Record};
use super::{Behind, Caller, DAY_S, Episode, WEEK_S, World};

/// What an attack does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Many stolen cards, quickly.
    FastCardTest,
    /// A stolen card now and then, for hours or days.
    SlowCardTest,
    /// Many principals with one to three cards each, on one account.
    DistributedCardTest,
    /// Used keys with other requests.
    Tampering,
    /// Many requests under a key at once.
    Race,
    /// Old answers, by their keys.
    Harvesting,
    /// Refunds of payments of others.
    RefundProbing,
    /// One card, until its limit is known.
    LimitProbing,
    /// Payments that end unknown.
    UnknownFarming,
    /// Requests without a key, and invalid ones.
    Spraying,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::FastCardTest,
        Self::SlowCardTest,
        Self::DistributedCardTest,
        Self::Tampering,
        Self::Race,
        Self::Harvesting,
        Self::RefundProbing,
        Self::LimitProbing,
        Self::UnknownFarming,
        Self::Spraying,
    ];

    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::FastCardTest => "fast card test",
            Self::SlowCardTest => "slow card test",
            Self::DistributedCardTest => "distributed card test",
            Self::Tampering => "tampering",
            Self::Race => "race",
            Self::Harvesting => "harvesting",
            Self::RefundProbing => "refund probing",
            Self::LimitProbing => "limit probing",
            Self::UnknownFarming => "unknown farming",
            Self::Spraying => "spraying",
        }
    }
}

impl World {
    /// In week 1 each family with probability one half, or as the setting says; in week 2 six of each.
    pub(super) fn attacks(&mut self, shoppers: &[Sender], integrations: &[Integration]) {
        for family in Family::ALL {
            let by_chance = u32::from(self.random.chance(0.5));
            for _ in 0..self.setting.earlier_attacks().unwrap_or(by_chance) {
                self.attack(family, 0.0, shoppers, integrations);
            }
            for _ in 0..6 {
                self.attack(family, WEEK_S, shoppers, integrations);
            }
        }
    }

    fn attack(&mut self, family: Family, from_s: f64, shoppers: &[Sender], integrations: &[Integration]) {
        let by = self.attacker(shoppers, integrations);
        let longest_s = match family {
            Family::SlowCardTest => 2.0 * DAY_S,
            _ => 0.4 * DAY_S,
        };
        let start_s = from_s + self.random.uniform(0.0, WEEK_S - longest_s);
        let before = self.requests.len();
        match family {
            Family::FastCardTest => {
                let (rate, minutes) = (self.random.log_uniform(3.0, 60.0), self.random.log_uniform(2.0, 60.0));
                self.card_test(start_s, minutes * 60.0, rate / 60.0, &by);
            }
            Family::SlowCardTest => {
                let (rate, hours) = (self.random.log_uniform(0.5, 8.0), self.random.log_uniform(6.0, 48.0));
                self.card_test(start_s, hours * 3_600.0, rate / 3_600.0, &by);
            }
            Family::DistributedCardTest => self.distributed(start_s, &by),
            Family::Tampering => self.tamper(start_s, &by),
            Family::Race => self.race(start_s, &by),
            Family::Harvesting => self.harvest(start_s, &by),
            Family::RefundProbing => self.probe_refunds(start_s, &by),
            Family::LimitProbing => self.probe_limit(start_s, &by),
            Family::UnknownFarming => self.farm_unknown(start_s, &by),
            Family::Spraying => self.spray(start_s, &by),
        }
        self.record(family, start_s, before, by);
    }

    /// Takes the episode from the requests that it made.
    fn record(&mut self, family: Family, start_s: f64, before: usize, by: Sender) {
        let made = &self.requests[before..];
        let mut principals: Vec<_> = made.iter().map(|request| request.principal).collect();
        principals.sort_unstable();
        principals.dedup();
        let end_s = made.iter().map(|request| request.at_s).fold(start_s, f64::max);
        self.episodes.push(Episode {
            behind: Behind::Attack(family),
            principals,
            account: Some(by.account),
            requests: made.len(),
            start_s,
            end_s,
        });
    }

    /// A fresh principal, a shopper's token, or an integration's, mixed into its traffic.
    fn attacker(&mut self, shoppers: &[Sender], integrations: &[Integration]) -> Sender {
        let account = self.account();
        let (principal, account) = match self.random.weighted(&[(0, 60.0), (1, 28.0), (2, 12.0)]) {
            0 => (self.principal(Caller::Attacker), account),
            1 => (self.random.one_of(shoppers).principal, account),
            _ => {
                let sender = self.random.one_of(integrations).sender;
                (sender.principal, sender.account)
            }
        };
        Sender { principal, account, policy: Policy::Never, lost: 0.0, timeout_s: 30.0 }
    }

    /// A stolen card after the other.
    fn card_test(&mut self, start_s: f64, lasts_s: f64, per_second: f64, by: &Sender) {
        let stolen = self.stolen_cards();
        let mut at_s = start_s + self.random.exponential(per_second).min(0.2 * lasts_s);
        while at_s < start_s + lasts_s {
            self.try_card(at_s, by, stolen);
            at_s += self.random.exponential(per_second);
        }
    }

    fn distributed(&mut self, start_s: f64, by: &Sender) {
        let stolen = self.stolen_cards();
        let lasts_s = 3_600.0 * self.random.uniform(1.0, 8.0);
        for _ in 0..self.random.log_uniform(30.0, 600.0) as u32 {
            let by = Sender { principal: self.principal(Caller::Attacker), ..*by };
            let mut at_s = start_s + self.random.uniform(0.0, lasts_s);
            for _ in 0..self.random.between(1, 3) {
                self.try_card(at_s, &by, stolen);
                at_s += self.random.log_uniform(5.0, 120.0);
            }
        }
    }

    /// What the stolen cards of an attack are like: declines, hard declines, and whether small amounts are tried.
    fn stolen_cards(&mut self) -> (f64, f64, bool) {
        (self.random.uniform(0.6, 0.98), self.random.uniform(0.3, 0.9), self.random.chance(0.6))
    }

    fn try_card(&mut self, at_s: f64, by: &Sender, (declined, hard, small): (f64, f64, bool)) {
        let chances = Chances { declined, refused: 0.004, unknown: 0.0 };
        let intent = Intent { chances, hard, small, refund: false, instrument: self.instrument() };
        self.operate(at_s, by, intent);
    }

    fn tamper(&mut self, start_s: f64, by: &Sender) {
        let honest = self.random.uniform(0.0, 0.5);
        self.repeatedly(start_s, (0.5, 30.0), |world, at_s| {
            let intent = world.ordinary();
            if world.random.chance(honest) {
                world.operate(at_s, by, intent);
            } else {
                let key = world.key();
                world.log_answer(at_s, Answer::Mismatch, by, key, intent);
            }
        });
    }

    fn race(&mut self, start_s: f64, by: &Sender) {
        let pause_s = self.random.log_uniform(1.0, 60.0);
        let mut at_s = start_s;
        for _ in 0..self.random.between(3, 30) {
            let (mut record, key, intent) = (Record::Absent, self.key(), self.ordinary());
            let within_s = self.random.uniform(0.05, 0.3);
            let mut times: Vec<_> =
                (0..self.random.between(3, 40)).map(|_| self.random.uniform(0.0, within_s)).collect();
            times.sort_by(f64::total_cmp);
            for after_s in times {
                self.send(&mut record, key, at_s + after_s, by, intent);
            }
            at_s += pause_s;
        }
    }

    fn harvest(&mut self, start_s: f64, by: &Sender) {
        let guesses = self.random.uniform(0.0, 0.9);
        self.repeatedly(start_s, (1.0, 60.0), |world, at_s| {
            let intent = world.ordinary();
            if world.random.chance(guesses) {
                // A key that nobody used: it would run, and is not a valid request.
                let chances = Chances { refused: 0.9, ..intent.chances };
                world.operate(at_s, by, Intent { chances, ..intent });
            } else {
                let age_s = world.random.uniform(3_600.0, 23.0 * 3_600.0) as u64;
                let key = world.key();
                world.log_answer(at_s, Answer::Replayed { age_s }, by, key, intent);
            }
        });
    }

    fn probe_refunds(&mut self, start_s: f64, by: &Sender) {
        let refused = self.random.uniform(0.5, 1.0);
        self.repeatedly(start_s, (0.3, 10.0), |world, at_s| {
            let chances = Chances { declined: 0.0, refused, unknown: 0.0 };
            let intent = Intent { chances, refund: true, ..world.ordinary() };
            world.operate(at_s, by, intent);
        });
    }

    fn probe_limit(&mut self, start_s: f64, by: &Sender) {
        let (declined, instrument) = (self.random.uniform(0.5, 0.95), self.instrument());
        self.repeatedly(start_s, (0.5, 10.0), |world, at_s| {
            let chances = Chances { declined, refused: 0.004, unknown: 0.0 };
            let fresh = world.tenant.fresh_instruments && world.random.chance(0.1);
            let instrument = if fresh { world.instrument() } else { instrument };
            let intent = Intent { chances, hard: 0.05, instrument, ..world.ordinary() };
            world.operate(at_s, by, intent);
        });
    }

    fn farm_unknown(&mut self, start_s: f64, by: &Sender) {
        let unknown = self.random.uniform(0.3, 0.95);
        let by = Sender { policy: self.random.one_of(&[Policy::Never, Policy::Human]), ..*by };
        self.repeatedly(start_s, (0.2, 6.0), |world, at_s| {
            let intent = world.ordinary();
            world.operate(at_s, &by, Intent { chances: Chances { unknown, ..intent.chances }, ..intent });
        });
    }

    fn spray(&mut self, start_s: f64, by: &Sender) {
        let without_key = self.random.uniform(0.3, 1.0);
        self.repeatedly(start_s, (1.0, 60.0), |world, at_s| {
            let intent = world.ordinary();
            if world.random.chance(without_key) {
                world.log_answer(at_s, Answer::NoKey, by, 0, intent);
            } else {
                world.operate(at_s, by, Intent { chances: Chances { refused: 0.7, ..intent.chances }, ..intent });
            }
        });
    }

    /// Does something so many times a minute, for 2 to 60 minutes.
    fn repeatedly(&mut self, start_s: f64, per_minute: (f64, f64), mut once: impl FnMut(&mut Self, f64)) {
        let per_second = self.random.log_uniform(per_minute.0, per_minute.1) / 60.0;
        let end_s = start_s + 60.0 * self.random.log_uniform(2.0, 60.0);
        let mut at_s = start_s;
        loop {
            once(self, at_s);
            at_s += self.random.exponential(per_second);
            if at_s >= end_s {
                return;
            }
        }
    }

    fn ordinary(&mut self) -> Intent {
        Intent {
            chances: Chances { declined: self.tenant.declines, refused: 0.004, unknown: 0.0 },
            hard: self.tenant.hard,
            small: self.random.chance(self.tenant.small),
            refund: false,
            instrument: self.instrument(),
        }
    }
}
