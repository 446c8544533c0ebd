//! Bugs of clients. They are neither attacks nor false alerts.

use signals::Answer;

use super::client::{Intent, Sender};
use super::honest::Integration;
use super::server::{Chances, Record};
use super::{Behind, Episode, WEEK_S, World};

impl World {
    /// One of each in week 1, three in week 2.
    pub(super) fn bugs(&mut self, integrations: &[Integration]) {
        for (start_s, times) in [(0.0, 1), (WEEK_S, 3)] {
            for bug in [Self::loop_without_a_pause, Self::reused_keys, Self::one_key_for_ever] {
                for _ in 0..times {
                    let sender = self.random.one_of(integrations).sender;
                    let at_s = start_s + self.random.uniform(0.0, 0.95 * WEEK_S);
                    let end_s = bug(self, at_s, &sender);
                    self.episodes.push(Episode {
                        behind: Behind::Bug,
                        principals: vec![sender.principal],
                        account: Some(sender.account),
                        requests: 0,
                        start_s: at_s,
                        end_s,
                    });
                }
            }
        }
    }

    fn loop_without_a_pause(&mut self, start_s: f64, sender: &Sender) -> f64 {
        let (pause_s, end_s) = (self.random.log_uniform(0.02, 0.4), start_s + self.random.log_uniform(5.0, 120.0));
        for _ in 0..self.random.between(1, 5) {
            let (key, intent, mut at_s) = (self.key(), self.plain(), start_s);
            while at_s < end_s {
                self.log_answer(at_s, Answer::InProgress, sender, key, intent);
                at_s += pause_s;
            }
        }
        end_s
    }

    fn reused_keys(&mut self, start_s: f64, sender: &Sender) -> f64 {
        let (per_hour, share) = (self.random.log_uniform(2.0, 200.0), self.random.log_uniform(0.05, 1.0));
        let end_s = start_s + 3_600.0 * self.random.log_uniform(1.0, 48.0);
        let mut at_s = start_s;
        while at_s < end_s {
            let intent = self.plain();
            if self.random.chance(share) {
                let key = self.key();
                self.log_answer(at_s, Answer::Mismatch, sender, key, intent);
            } else {
                self.operate(at_s, sender, intent);
            }
            at_s += self.random.exponential(per_hour / 3_600.0);
        }
        end_s
    }

    fn one_key_for_ever(&mut self, start_s: f64, sender: &Sender) -> f64 {
        let (pause_s, end_s) =
            (self.random.log_uniform(0.05, 2.0), start_s + 60.0 * self.random.log_uniform(2.0, 40.0));
        let (mut record, key, intent, mut at_s) = (Record::Absent, self.key(), self.plain(), start_s);
        while at_s < end_s {
            self.send(&mut record, key, at_s, sender, intent);
            at_s += pause_s;
        }
        end_s
    }

    fn plain(&mut self) -> Intent {
        Intent {
            chances: Chances { declined: self.tenant.declines, refused: 0.004, unknown: 0.0 },
            hard: self.tenant.hard,
            small: false,
            refund: false,
            instrument: self.instrument(),
        }
    }
}
