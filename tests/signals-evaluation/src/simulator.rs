//! A tenant's two weeks of requests, from a seed.
//!
//! Everything in it is a parameter drawn wide, with what is known of real clients and attacks: retry policies of usual
//! clients, outages of provider and issuers, honest traffic that looks bad (dunning, call centres, load tests), bugs of
//! clients, and ten families of attacks.

mod attack;
mod bug;
mod client;
mod honest;
mod outage;
mod random;
mod server;

use signals::{Answer, Counts, Facts, Kind};

pub use attack::Family;
pub(crate) use outage::Outage;
use random::Random;
use server::Server;

pub(crate) const DAY_S: f64 = 86_400.0;
pub(crate) const DAYS: usize = 14;
pub(crate) const WEEK_S: f64 = 7.0 * DAY_S;
pub(crate) const WINDOW_S: u32 = 300;
/// The first day, counted from the Unix epoch.
pub(crate) const FIRST_DAY: u64 = 20_000;

/// A tenant's requests, and what is really behind them.
#[derive(Debug)]
pub struct Simulated {
    pub(crate) seed: u64,
    pub(crate) setting: Setting,
    /// In the order of their times.
    pub(crate) requests: Vec<Request>,
    pub(crate) episodes: Vec<Episode>,
    pub(crate) outages: Vec<Outage>,
    /// The class of each principal.
    pub(crate) principals: Vec<Caller>,
}

/// What is unusual about a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Setting {
    /// Nothing.
    #[default]
    Usual,
    /// A ninth of the shoppers and integrations: about 5,000 windows a day.
    Small,
    /// Forty attacks in week 1, four of each family, which nobody has labelled.
    Contaminated,
    /// The same, and at the end of each day operators label what was behind them.
    Labelled,
}

impl Setting {
    /// How much there is of the usual number of callers.
    fn scale(self) -> f64 {
        if self == Self::Small { 1.0 / 9.0 } else { 1.0 }
    }

    /// Attacks of each family in week 1, if not by chance.
    fn earlier_attacks(self) -> Option<u32> {
        match self {
            Self::Usual | Self::Small => None,
            Self::Contaminated | Self::Labelled => Some(4),
        }
    }
}

/// What a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Caller {
    Shopper,
    Mobile,
    Steady,
    NightlyBatch,
    Dunning,
    Donations,
    CallCentre,
    LoadTest,
    QueueWorker,
    Attacker,
}

/// A line of the request log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// When it was answered, in seconds from the first day.
    pub(crate) at_s: f64,
    pub(crate) principal: u32,
    pub(crate) account: u32,
    pub(crate) answer: Answer,
    pub(crate) ran: bool,
    pub(crate) slow: bool,
    pub(crate) refund: bool,
    pub(crate) hard: bool,
    pub(crate) small: bool,
    pub(crate) instrument: u32,
    pub(crate) key: u32,
}

/// An attack or a bug.
#[derive(Clone, Debug)]
pub(crate) struct Episode {
    pub(crate) behind: Behind,
    pub(crate) principals: Vec<u32>,
    pub(crate) account: Option<u32>,
    /// Of an attack: how many it made.
    pub(crate) requests: usize,
    pub(crate) start_s: f64,
    pub(crate) end_s: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behind {
    Attack(Family),
    Bug,
}

/// What the parts of the simulator work on.
struct World {
    random: Random,
    server: Server,
    tenant: Tenant,
    setting: Setting,
    requests: Vec<Request>,
    episodes: Vec<Episode>,
    principals: Vec<Caller>,
    /// The accounts' popularity, added up.
    popularity: Vec<f64>,
    keys: u32,
    instruments: u32,
}

/// What a tenant is like.
struct Tenant {
    declines: f64,
    hard: f64,
    small: f64,
    /// A payment method that is entered again gets a new identifier.
    fresh_instruments: bool,
    /// How much more there is of everything in week 2.
    growth: f64,
}

impl Simulated {
    /// The tenant of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with(seed, Setting::Usual)
    }

    /// The tenant of a seed in a setting.
    #[must_use]
    pub fn with(seed: u64, setting: Setting) -> Self {
        let mut random = Random::new(seed);
        let tenant = Tenant::draw(&mut random);
        let outages = Outage::draw_all(&mut random);
        let server = Server::new(&mut random, outages.clone());
        let accounts = random.log_uniform(20.0, 400.0) as usize;
        let popularity = (0..accounts).map(|_| random.uniform(0.0, 1.0).powi(3)).scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        });
        let popularity = popularity.collect();
        let mut world = World {
            random,
            server,
            tenant,
            setting,
            requests: Vec::new(),
            episodes: Vec::new(),
            principals: Vec::new(),
            popularity,
            keys: 0,
            instruments: 0,
        };
        let shoppers = world.shoppers();
        let integrations = world.integrations();
        world.bugs(&integrations);
        world.attacks(&shoppers, &integrations);
        let World { mut requests, episodes, principals, .. } = world;
        requests.retain(|request| request.at_s < DAYS as f64 * DAY_S);
        requests.sort_by(|one, other| one.at_s.total_cmp(&other.at_s));
        Self { seed, setting, requests, episodes, outages, principals }
    }

    /// The same tenant, of which nobody knows the attacks and bugs.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        self.episodes.clear();
        self
    }

    /// The same tenant until the end of week 1.
    #[must_use]
    pub fn without_the_test_week(mut self) -> Self {
        self.requests.retain(|request| request.at_s < WEEK_S);
        self
    }
}

impl Tenant {
    fn draw(random: &mut Random) -> Self {
        Self {
            declines: random.uniform(0.03, 0.18),
            hard: random.uniform(0.1, 0.4),
            small: if random.chance(0.25) { random.uniform(0.2, 0.6) } else { random.uniform(0.005, 0.06) },
            fresh_instruments: random.chance(0.5),
            growth: if random.chance(0.3) { random.uniform(1.3, 3.0) } else { 1.0 },
        }
    }
}

impl World {
    fn principal(&mut self, caller: Caller) -> u32 {
        self.principals.push(caller);
        u32::try_from(self.principals.len() - 1).unwrap_or(u32::MAX)
    }

    /// An account, by popularity.
    fn account(&mut self) -> u32 {
        let all = self.popularity.last().copied().unwrap_or(0.0);
        let drawn = self.random.uniform(0.0, all);
        u32::try_from(self.popularity.partition_point(|sum| *sum < drawn)).unwrap_or(0)
    }

    fn key(&mut self) -> u32 {
        self.keys += 1;
        self.keys
    }

    fn instrument(&mut self) -> u32 {
        self.instruments += 1;
        self.instruments
    }

    /// How many of something per day in a week.
    fn growth(&self, at_s: f64) -> f64 {
        if at_s < WEEK_S { 1.0 } else { self.tenant.growth }
    }
}

impl Request {
    /// Its entity of a kind.
    pub(crate) fn entity(&self, kind: Kind) -> u32 {
        match kind {
            Kind::Principal => self.principal,
            Kind::Account => self.account,
        }
    }

    /// Adds it to the counts of its entity of a kind.
    pub(crate) fn count_into(&self, kind: Kind, counts: &mut Counts) {
        let [instrument, key, principal] = [self.instrument, self.key, self.principal].map(u32::to_be_bytes);
        counts.add(&Facts {
            answer: self.answer,
            ran: self.ran,
            slow: self.slow,
            refund: self.refund,
            hard: self.hard,
            small: self.small,
            instrument: (self.instrument != 0).then_some(&instrument[..]),
            caller: (kind == Kind::Account).then_some(&principal[..]),
            record: (self.key != 0).then_some(&key[..]),
        });
    }
}
