//! Honest traffic, some of which looks bad.

use signals::Answer;

use super::client::{Intent, Policy, Sender};
use super::server::{Chances, Record};
use super::{Caller, DAY_S, DAYS, World};

const SHOPPERS: [(Policy, f64); 5] = [
    (Policy::Never, 25.0),
    (Policy::Axios, 25.0),
    (Policy::Human, 25.0),
    (Policy::Stripe, 15.0),
    (Policy::Documented, 10.0),
];

const INTEGRATIONS: [(Policy, f64); 9] = [
    (Policy::Never, 10.0),
    (Policy::Stripe, 20.0),
    (Policy::Aws, 14.0),
    (Policy::Polly, 14.0),
    (Policy::Spring, 10.0),
    (Policy::Urllib3, 10.0),
    (Policy::Axios, 7.0),
    (Policy::Documented, 8.0),
    (Policy::Worker, 7.0),
];

const CALLERS: [(Caller, f64); 7] = [
    (Caller::Steady, 45.0),
    (Caller::NightlyBatch, 10.0),
    (Caller::Dunning, 12.0),
    (Caller::Donations, 8.0),
    (Caller::CallCentre, 16.0),
    (Caller::LoadTest, 5.0),
    (Caller::QueueWorker, 4.0),
];

/// A system that sends for its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Integration {
    pub(crate) sender: Sender,
    caller: Caller,
    declines: f64,
    refused: f64,
    small: f64,
    refunds: f64,
    mismatches: f64,
    no_key: f64,
}

impl World {
    /// People who buy. Returns their principals.
    pub(super) fn shoppers(&mut self) -> Vec<Sender> {
        let number = (self.setting.scale() * self.random.log_uniform(15_000.0, 60_000.0)) as usize;
        let mobile = self.random.uniform(0.2, 0.7);
        let other_card = self.random.uniform(0.15, 0.4);
        let mut shoppers = Vec::with_capacity(number);
        for _ in 0..number {
            let is_mobile = self.random.chance(mobile);
            let principal = self.principal(if is_mobile { Caller::Mobile } else { Caller::Shopper });
            let sender = Sender {
                principal,
                account: 0,
                policy: self.random.weighted(&SHOPPERS),
                lost: if is_mobile { self.random.beta(0.06, 10.0) } else { 0.005 },
                timeout_s: self.random.uniform(5.0, 30.0),
            };
            shoppers.push(sender);
            let per_day = 0.25 * self.random.gamma(0.7);
            let mut instrument = self.instrument();
            for day in 0..DAYS {
                let start_s = day as f64 * DAY_S;
                for _ in 0..self.random.poisson(per_day * self.growth(start_s)) {
                    let at_s = start_s + self.random.time_of_day();
                    let account = self.account();
                    self.session(at_s, &Sender { account, ..sender }, &mut instrument, other_card);
                }
            }
        }
        shoppers
    }

    /// A person who wants to pay once, and after a decline tries again or leaves.
    fn session(&mut self, mut at_s: f64, sender: &Sender, instrument: &mut u32, other_card: f64) {
        let small = self.random.chance(self.tenant.small);
        let mut declines = self.tenant.declines;
        for _ in 0..6 {
            if self.tenant.fresh_instruments {
                *instrument = self.instrument();
            }
            let chances = Chances { declined: declines, refused: 0.004, unknown: 0.0 };
            let intent = Intent { chances, hard: self.tenant.hard, small, refund: false, instrument: *instrument };
            let (over_s, outcome) = self.pay(at_s, sender, intent);
            if outcome != Some(Answer::Declined) || self.random.chance(0.45) {
                return;
            }
            if self.random.chance(other_card) {
                *instrument = self.instrument();
                declines = (1.5 * self.tenant.declines).min(0.5);
            } else {
                // The same card is likely declined again.
                declines = 0.7;
            }
            at_s = over_s + self.random.log_uniform(8.0, 180.0);
        }
    }

    /// One payment, perhaps with a double click, and perhaps asked about again hours later.
    fn pay(&mut self, at_s: f64, sender: &Sender, intent: Intent) -> (f64, Option<Answer>) {
        let (mut record, key) = (Record::Absent, self.key());
        if self.random.chance(0.0003) {
            self.log_answer(at_s, Answer::NoKey, sender, 0, intent);
        }
        let double = self.random.chance(0.012).then(|| self.random.uniform(0.05, 0.4));
        let result = self.operate_on(&mut record, key, at_s, sender, intent);
        if let Some(after_s) = double {
            let second = Answer::InProgress;
            self.log_answer(at_s + after_s, second, sender, key, intent);
        }
        if self.random.chance(0.01) {
            let later_s = result.0 + self.random.log_uniform(60.0, 72_000.0);
            self.send(&mut record, key, later_s, sender, intent);
        }
        if self.random.chance(0.0003) {
            self.log_answer(result.0 + 5.0, Answer::Mismatch, sender, key, intent);
        }
        result
    }

    /// Systems that send for their owners.
    pub(super) fn integrations(&mut self) -> Vec<Integration> {
        let number = (self.setting.scale() * self.random.log_uniform(60.0, 250.0)) as usize;
        (0..number)
            .map(|_| {
                let integration = self.integration();
                match integration.caller {
                    Caller::NightlyBatch | Caller::Dunning => self.runs_of_a_batch(&integration),
                    Caller::LoadTest => self.load_tests(&integration),
                    Caller::CallCentre => self.office_hours(&integration),
                    Caller::Steady
                    | Caller::Donations
                    | Caller::QueueWorker
                    | Caller::Shopper
                    | Caller::Mobile
                    | Caller::Attacker => self.steady(&integration),
                }
                integration
            })
            .collect()
    }

    fn integration(&mut self) -> Integration {
        let caller = self.random.weighted(&CALLERS);
        let worker = caller == Caller::QueueWorker;
        let sender = Sender {
            principal: self.principal(caller),
            account: self.account(),
            policy: if worker { Policy::Worker } else { self.random.weighted(&INTEGRATIONS) },
            lost: 0.005,
            timeout_s: self.random.uniform(5.0, 30.0),
        };
        let usual = self.tenant.declines;
        Integration {
            sender,
            caller,
            declines: match caller {
                Caller::Dunning => self.random.uniform(0.3, 0.75),
                Caller::CallCentre => self.random.uniform(0.1, 0.3),
                Caller::LoadTest => 0.0,
                _ => usual * self.random.uniform(0.5, 1.5),
            },
            refused: self.random.log_uniform(0.0005, 0.02),
            small: if caller == Caller::Donations { self.random.uniform(0.4, 0.95) } else { self.tenant.small },
            refunds: self.random.uniform(0.0, 0.08),
            mismatches: self.random.log_uniform(1e-5, 1e-3),
            no_key: self.random.log_uniform(1e-5, 1e-3),
        }
    }

    /// One request of an integration; returns when it was over.
    fn request(&mut self, at_s: f64, integration: &Integration) -> f64 {
        let refund = self.random.chance(integration.refunds);
        let chances = Chances {
            declined: if refund { 0.0 } else { integration.declines },
            refused: if refund { 0.05 } else { integration.refused },
            unknown: 0.0,
        };
        let intent = Intent {
            chances,
            hard: self.tenant.hard,
            small: self.random.chance(integration.small),
            refund,
            instrument: self.instrument(),
        };
        if self.random.chance(integration.no_key) {
            self.log_answer(at_s, Answer::NoKey, &integration.sender, 0, intent);
        }
        if self.random.chance(integration.mismatches) {
            let key = self.key();
            self.log_answer(at_s, Answer::Mismatch, &integration.sender, key, intent);
        }
        self.operate(at_s, &integration.sender, intent).0
    }

    fn steady(&mut self, integration: &Integration) {
        let per_second = self.random.log_uniform(0.02, 8.0) / 60.0;
        let mut at_s = 0.0;
        while at_s < DAYS as f64 * DAY_S {
            at_s += self.random.exponential(per_second * self.growth(at_s));
            self.request(at_s, integration);
        }
    }

    /// A run each day at its hour.
    fn runs_of_a_batch(&mut self, integration: &Integration) {
        let hour_s = self.random.uniform(0.0, DAY_S);
        let (size, pause_s) = (self.random.log_uniform(20.0, 2_000.0), self.random.log_uniform(0.03, 2.0));
        for day in 0..DAYS {
            let mut at_s = day as f64 * DAY_S + hour_s + self.random.uniform(0.0, 60.0);
            for _ in 0..self.random.poisson(size * self.growth(at_s)) {
                self.request(at_s, integration);
                at_s += pause_s * self.random.uniform(0.5, 1.5);
            }
        }
    }

    fn load_tests(&mut self, integration: &Integration) {
        for _ in 0..self.random.poisson(5.0) {
            let mut at_s = self.random.uniform(0.0, DAYS as f64 * DAY_S);
            let (end_s, per_second) =
                (at_s + 60.0 * self.random.log_uniform(5.0, 60.0), self.random.log_uniform(1.0, 10.0));
            while at_s < end_s {
                self.request(at_s, integration);
                at_s += self.random.exponential(per_second);
            }
        }
    }

    /// People who type cards in for callers.
    fn office_hours(&mut self, integration: &Integration) {
        let per_second = self.random.uniform(4.0, 40.0) / 3_600.0;
        for day in 0..DAYS {
            let mut at_s = (day as f64 + 8.0 / 24.0) * DAY_S;
            let end_s = at_s + 10.0 * 3_600.0;
            loop {
                at_s += self.random.exponential(per_second * self.growth(at_s));
                if at_s >= end_s {
                    break;
                }
                self.request(at_s, integration);
            }
        }
    }
}
