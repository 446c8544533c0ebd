//! Clients: how they repeat a request.

use signals::{Answer, Facts};

use super::random::Random;
use super::server::{Answered, Chances, Record};
use super::{Request, World};

/// How a client retries. The numbers are those of the libraries' sources and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Never,
    /// axios-retry: three more, without a pause unless told; not after a 409.
    Axios,
    /// A person who clicks again.
    Human,
    /// stripe-node: two more after half a second and more; also after a 409; it does not read `Retry-After`.
    Stripe,
    /// As the contract says: after `Retry-After`, also after a 409.
    Documented,
    /// AWS SDKs, standard: two more with full jitter.
    Aws,
    /// Polly in .NET: three more, exponentially from 2 s; it reads `Retry-After`.
    Polly,
    /// Spring's template: two more after a second, whatever the error is.
    Spring,
    /// urllib3: ten more, without a pause.
    Urllib3,
    /// A queue worker: again and again, half a minute or more apart.
    Worker,
}

/// Who sends, and over what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    pub(crate) principal: u32,
    pub(crate) account: u32,
    pub(crate) policy: Policy,
    /// The probability that a reply does not arrive.
    pub(crate) lost: f64,
    pub(crate) timeout_s: f64,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Intent {
    pub(crate) chances: Chances,
    /// The share of hard declines.
    pub(crate) hard: f64,
    pub(crate) small: bool,
    pub(crate) refund: bool,
    pub(crate) instrument: u32,
}

impl Policy {
    /// How long to wait before the next try after `tries`, if there is one. `answered` is none if no reply came.
    fn pause_s(self, tries: u32, answered: Option<&Answered>, random: &mut Random) -> Option<f64> {
        let conflict = answered.is_some_and(|answered| answered.answer == Answer::InProgress);
        let told_s = answered.and_then(|answered| answered.retry_after_s);
        let (most, pause_s) = match self {
            Self::Never => return None,
            Self::Axios if conflict => return None,
            Self::Axios => (3, told_s.unwrap_or(0.01)),
            Self::Human => (2, random.log_uniform(3.0, 30.0)),
            Self::Stripe => (2, (0.5 * f64::from(1 << tries.min(4))).min(5.0) * random.uniform(0.5, 1.0)),
            Self::Documented => (4, told_s.unwrap_or_else(|| f64::from(1 << tries.min(4)))),
            Self::Aws if conflict => return None,
            Self::Aws => (2, random.uniform(0.0, f64::from(1 << tries.min(4)))),
            Self::Polly if conflict => return None,
            Self::Polly => (3, told_s.unwrap_or(2.0 * f64::from(1 << tries.min(4))) * random.uniform(0.8, 1.2)),
            Self::Spring => (2, 1.0),
            Self::Urllib3 => (10, 0.02),
            Self::Worker => (20, random.uniform(30.0, 60.0)),
        };
        (tries < most).then_some(pause_s)
    }
}

impl World {
    /// Sends a request under a new key, with its retries. Returns the final answer that the client saw and when.
    pub(super) fn operate(&mut self, at_s: f64, sender: &Sender, intent: Intent) -> (f64, Option<Answer>) {
        let mut record = Record::Absent;
        let key = self.key();
        self.operate_on(&mut record, key, at_s, sender, intent)
    }

    /// The same under a key that the server may know.
    pub(super) fn operate_on(
        &mut self,
        record: &mut Record,
        key: u32,
        mut at_s: f64,
        sender: &Sender,
        intent: Intent,
    ) -> (f64, Option<Answer>) {
        let mut tries = 0;
        // The outcome as the client knows it from a replay.
        let mut outcome = None;
        loop {
            let answered = self.send(record, key, at_s, sender, intent);
            if answered.ran {
                outcome = Some(answered.answer);
            }
            let seen =
                (answered.at_s - at_s <= sender.timeout_s && !self.random.chance(sender.lost)).then_some(answered);
            let over_s = seen.map_or(at_s + sender.timeout_s.min(10.0), |answered| answered.at_s);
            let final_ = match seen.map(|answered| answered.answer) {
                Some(Answer::Succeeded | Answer::Replayed { .. } | Answer::Mismatch | Answer::NoKey) => true,
                Some(Answer::Declined | Answer::Refused) => sender.policy != Policy::Spring,
                Some(Answer::InProgress | Answer::Unknown | Answer::Other) | None => false,
            };
            if final_ {
                return (over_s, outcome);
            }
            match sender.policy.pause_s(tries, seen.as_ref(), &mut self.random) {
                Some(pause_s) => at_s = over_s + pause_s,
                None => return (over_s, outcome),
            }
            tries += 1;
        }
    }

    /// Sends one request, and logs it.
    pub(super) fn send(
        &mut self,
        record: &mut Record,
        key: u32,
        at_s: f64,
        sender: &Sender,
        intent: Intent,
    ) -> Answered {
        let answered = self.server.handle(record, at_s, intent.chances, &mut self.random);
        let hard = answered.answer == Answer::Declined && self.random.chance(intent.hard);
        self.log(answered, sender, key, Intent { hard: f64::from(u8::from(hard)), ..intent });
        answered
    }

    /// Logs a request.
    pub(super) fn log(&mut self, answered: Answered, sender: &Sender, key: u32, intent: Intent) {
        self.requests.push(Request {
            at_s: answered.at_s,
            principal: sender.principal,
            account: sender.account,
            answer: answered.answer,
            ran: answered.ran,
            slow: answered.ran && answered.took_s * 1_000.0 > Facts::SLOW_MS as f64,
            refund: intent.refund,
            hard: intent.hard > 0.5,
            small: intent.small,
            instrument: intent.instrument,
            key,
        });
    }

    /// Logs a request that was answered without running.
    pub(super) fn log_answer(&mut self, at_s: f64, answer: Answer, sender: &Sender, key: u32, intent: Intent) {
        self.log(Answered { at_s, answer, ran: false, took_s: 0.0, retry_after_s: None }, sender, key, intent);
    }
}
