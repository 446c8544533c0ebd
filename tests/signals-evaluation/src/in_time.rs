//! What there is of a slow card test within 45 minutes, and how many honest callers show as much: no scorer can be
//! faster than its evidence.

use std::collections::{HashMap, HashSet, VecDeque};

use signals::Answer;

use crate::simulator::{Behind, DAY_S, Family, Request, Simulated, WEEK_S};

const WITHIN_S: f64 = 45.0 * 60.0;
/// The days of the test week.
pub(crate) const DAYS: f64 = 7.0;

/// So much evidence within 45 minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum AtLeast {
    /// Declines, of any kind.
    Declined(usize),
    /// Declines of a wrong card and a small amount.
    HardAndSmall(usize),
}

impl AtLeast {
    pub(crate) const ALL: [Self; 9] = [
        Self::Declined(1),
        Self::Declined(2),
        Self::Declined(3),
        Self::Declined(4),
        Self::Declined(6),
        Self::Declined(8),
        Self::HardAndSmall(1),
        Self::HardAndSmall(2),
        Self::HardAndSmall(3),
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Declined(1) => "1 decline".to_owned(),
            Self::Declined(number) => format!("{number} declines"),
            Self::HardAndSmall(1) => "1 decline of a wrong card and a small amount".to_owned(),
            Self::HardAndSmall(number) => format!("{number} such declines"),
        }
    }

    fn holds(self, declines: &VecDeque<Decline>) -> bool {
        match self {
            Self::Declined(number) => declines.len() >= number,
            Self::HardAndSmall(number) => declines.iter().filter(|decline| decline.hard_and_small).count() >= number,
        }
    }
}

/// For a tenant's test week.
#[derive(Clone, Debug, Default)]
pub(crate) struct InTime {
    pub(crate) slow_card_tests: usize,
    /// Those that had shown so much 45 minutes after they began.
    pub(crate) shown: HashMap<AtLeast, usize>,
    /// Honest callers, by the day, that showed so much in some 45 minutes.
    pub(crate) honest: HashMap<AtLeast, usize>,
}

#[derive(Clone, Copy, Debug)]
struct Decline {
    at_s: f64,
    hard_and_small: bool,
}

impl InTime {
    pub(crate) fn of(simulated: &Simulated) -> Self {
        let involved: HashSet<u32> =
            simulated.episodes.iter().flat_map(|episode| episode.principals.iter().copied()).collect();
        let mut found = Self::default();
        let mut shown = HashSet::new();
        let mut recent: HashMap<u32, VecDeque<Decline>> = HashMap::new();
        for request in simulated.requests.iter().filter(|request| is_decline(request) && request.at_s >= WEEK_S) {
            if involved.contains(&request.principal) {
                continue;
            }
            let declines = recent.entry(request.principal).or_default();
            declines.push_back(Decline::of(request));
            while declines.front().is_some_and(|first| first.at_s < request.at_s - WITHIN_S) {
                declines.pop_front();
            }
            let day = (request.at_s / DAY_S) as u32;
            for at_least in AtLeast::ALL.into_iter().filter(|at_least| at_least.holds(declines)) {
                if shown.insert((request.principal, day, at_least)) {
                    *found.honest.entry(at_least).or_insert(0) += 1;
                }
            }
        }
        found.count_attacks(simulated);
        found
    }

    fn count_attacks(&mut self, simulated: &Simulated) {
        let slow = simulated
            .episodes
            .iter()
            .filter(|episode| episode.behind == Behind::Attack(Family::SlowCardTest) && episode.start_s >= WEEK_S);
        for episode in slow {
            let first = simulated.requests.partition_point(|request| request.at_s < episode.start_s);
            let declines: VecDeque<Decline> = simulated.requests[first..]
                .iter()
                .take_while(|request| request.at_s <= episode.start_s + WITHIN_S)
                .filter(|request| is_decline(request) && episode.principals.contains(&request.principal))
                .map(Decline::of)
                .collect();
            self.slow_card_tests += 1;
            for at_least in AtLeast::ALL.into_iter().filter(|at_least| at_least.holds(&declines)) {
                *self.shown.entry(at_least).or_insert(0) += 1;
            }
        }
    }
}

impl Decline {
    fn of(request: &Request) -> Self {
        Self { at_s: request.at_s, hard_and_small: request.hard && request.small }
    }
}

fn is_decline(request: &Request) -> bool {
    request.ran && request.answer == Answer::Declined
}
