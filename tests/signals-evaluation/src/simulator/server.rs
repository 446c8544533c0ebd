//! The API: claims, runs and replays, with its outages.

use signals::Answer;

use super::outage::{Outage, OutageKind};
use super::random::Random;

/// Unknown outcomes and errors without an outage.
const UNKNOWN: f64 = 0.0004;
const ERROR: f64 = 0.0003;

#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) lease_s: f64,
    outages: Vec<Outage>,
}

/// What the server knows about a key.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Record {
    Absent,
    Running { since_s: f64, until_s: f64, then: Settled },
    Settled { since_s: f64, as_: Settled },
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Settled {
    Succeeded,
    Declined,
    Refused,
    /// Unknown for so many seconds.
    Unknown(f64),
    NotExecuted,
}

/// What a request under a key would lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chances {
    pub(crate) declined: f64,
    pub(crate) refused: f64,
    /// Above the server's own.
    pub(crate) unknown: f64,
}

/// How the server answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    pub(crate) at_s: f64,
    pub(crate) answer: Answer,
    pub(crate) ran: bool,
    pub(crate) took_s: f64,
    pub(crate) retry_after_s: Option<f64>,
}

impl Server {
    pub(crate) fn new(random: &mut Random, outages: Vec<Outage>) -> Self {
        Self { lease_s: random.one_of(&[6.0, 10.0, 30.0]), outages }
    }

    /// Handles a request that arrives.
    pub(crate) fn handle(&self, record: &mut Record, at_s: f64, chances: Chances, random: &mut Random) -> Answered {
        let at_once =
            |answer, retry_after_s| Answered { at_s: at_s + 0.02, answer, ran: false, took_s: 0.02, retry_after_s };
        if let Record::Running { until_s, then, .. } = *record
            && until_s <= at_s
        {
            *record = match then {
                Settled::NotExecuted => Record::Absent,
                Settled::Succeeded | Settled::Declined | Settled::Refused | Settled::Unknown(_) => {
                    Record::Settled { since_s: until_s, as_: then }
                }
            };
        }
        match *record {
            Record::Absent => {}
            Record::Running { since_s, .. } => {
                let rest_s = (since_s + self.lease_s - at_s).max(1.0);
                return at_once(Answer::InProgress, Some(rest_s));
            }
            Record::Settled { since_s, as_: Settled::Unknown(for_s) } if at_s < since_s + for_s => {
                return at_once(Answer::Unknown, Some(5.0));
            }
            Record::Settled { since_s, .. } => {
                return at_once(Answer::Replayed { age_s: (at_s - since_s) as u64 }, None);
            }
        }
        let (took_s, then) = self.run(at_s, chances, random);
        let until_s = at_s + took_s;
        *record = Record::Running { since_s: at_s, until_s, then };
        let (answer, retry_after_s) = match then {
            Settled::Succeeded => (Answer::Succeeded, None),
            Settled::Declined => (Answer::Declined, None),
            Settled::Refused => (Answer::Refused, None),
            Settled::Unknown(_) => (Answer::Unknown, Some(5.0)),
            Settled::NotExecuted => (Answer::Other, Some(2.0)),
        };
        Answered { at_s: until_s, answer, ran: true, took_s, retry_after_s }
    }

    fn run(&self, at_s: f64, chances: Chances, random: &mut Random) -> (f64, Settled) {
        let mut took_s = random.log_normal(0.35, 0.5);
        for outage in self.outages.iter().filter(|outage| outage.covers(at_s)) {
            if !random.chance(outage.strength) {
                continue;
            }
            match outage.kind {
                OutageKind::Slow => took_s = random.uniform(2.0, 9.0),
                OutageKind::Down => return (took_s, Settled::NotExecuted),
                OutageKind::LostAnswers => return (5.0, Settled::Unknown(random.uniform(15.0, 90.0))),
                OutageKind::Declines => return (took_s, Settled::Declined),
            }
        }
        if random.chance(UNKNOWN + chances.unknown) {
            (5.0, Settled::Unknown(random.uniform(15.0, 90.0)))
        } else if random.chance(ERROR) {
            (took_s, Settled::NotExecuted)
        } else if random.chance(chances.refused) {
            (took_s, Settled::Refused)
        } else if random.chance(chances.declined) {
            (took_s, Settled::Declined)
        } else {
            (took_s, Settled::Succeeded)
        }
    }
}
