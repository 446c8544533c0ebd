//! One tenant: its windows in order, each seen by all scorers as the application would.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use anyhow::Result;
use signals::{Answer, Calibration, Counts, Finding, Findings, Kind, Memory, Model, Moment, Sample, WindowTime, score};

use crate::Mutant;
use crate::in_time::InTime;
use crate::learning::{Reservoir, Row};
use crate::scorer::{Forest, LearnedRules, ScorerName, ZScore, published};
use crate::simulator::{
    Behind, Caller, DAY_S, DAYS, Episode, FIRST_DAY, Request, Setting, Simulated, WEEK_S, WINDOW_S,
};

/// After an attack or a bug its entities count neither way for so long.
const AFTERWARDS_S: f64 = 48.0 * 3_600.0;
const WINDOWS_A_DAY: usize = 86_400 / WINDOW_S as usize;
/// The budgets that are asked for, in alerts a day.
pub(crate) const BUDGETS: [f64; 3] = [1.0, 3.0, 5.0];

/// What became of a tenant's test week.
#[derive(Debug)]
pub struct Tally {
    pub(crate) seed: u64,
    /// The windows of the test week, of both kinds.
    pub(crate) windows: usize,
    pub(crate) scorers: BTreeMap<ScorerName, Scores>,
    /// What scoring takes the model for a window that shows anything, in nanoseconds: the median, and what 99 % keep.
    pub(crate) times_ns: [u32; 2],
    pub(crate) largest_memory: usize,
    pub(crate) in_time: InTime,
    /// The model that was learned in week 1.
    pub(crate) model: Vec<u8>,
}

impl Tally {
    /// The entity-days without an attack or a bug that the model scores above a threshold, and how many of them in
    /// outages.
    #[must_use]
    pub fn false_alerts(&self, threshold: f64) -> (usize, usize) {
        let honest = self.scorers.get(&ScorerName::Model).into_iter().flat_map(|scores| scores.honest.values());
        honest
            .filter(|honest| honest.score > threshold)
            .fold((0, 0), |(all, in_outages), honest| (all + 1, in_outages + usize::from(honest.in_outage)))
    }

    /// The bytes of the largest memory.
    #[must_use]
    pub fn largest_memory(&self) -> usize {
        self.largest_memory
    }

    /// The seed of the tenant.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What was learned in week 1: the model, and the model's thresholds. The test week must not change it.
    #[must_use]
    pub fn learned(&self) -> (&[u8], Option<[f64; 3]>) {
        (&self.model, self.scorers.get(&ScorerName::Model).map(|scores| scores.thresholds))
    }
}

/// What a scorer said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scores {
    /// The largest score of each honest entity and day, and what the entity is.
    pub(crate) honest: HashMap<(Kind, u32, u32), Honest>,
    /// What the attacks and bugs of the test week reached.
    pub(crate) episodes: BTreeMap<usize, Reached>,
    /// The thresholds at the start of the test week, for each budget.
    pub(crate) thresholds: [f64; 3],
}

/// The scores that the windows of an attack or a bug reached.
#[derive(Clone, Debug)]
pub(crate) struct Reached {
    pub(crate) behind: Behind,
    /// Whose token it used first.
    pub(crate) caller: Option<Caller>,
    pub(crate) requests: usize,
    pub(crate) lasts_s: f64,
    /// For the model: by what the largest was found.
    pub(crate) found: Option<Finding>,
    /// When (seconds from its start to the end of a window) the score rose, and to what.
    pub(crate) rises: Vec<(f64, f64)>,
    /// The largest score of each day of the test week.
    pub(crate) by_day: [f64; 7],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Honest {
    pub(crate) score: f64,
    pub(crate) in_outage: bool,
    pub(crate) caller: Option<Caller>,
    /// For the model: by what.
    pub(crate) found: Option<Finding>,
}

/// Scores a simulated tenant.
///
/// # Errors
///
/// If the forest fails.
pub fn run(
    simulated: &Simulated,
    scorers: &[ScorerName],
    mutant: Option<Mutant>,
    progress: &mut dyn FnMut(&str),
) -> Result<Tally> {
    let mut run = Run::new(simulated, scorers, mutant);
    let mut rest = &simulated.requests[..];
    for window in 0..DAYS * WINDOWS_A_DAY {
        let end_s = (window + 1) as f64 * f64::from(WINDOW_S);
        let (now, later) = rest.split_at(rest.partition_point(|request| request.at_s < end_s));
        rest = later;
        run.window(window, now)?;
        if (window + 1) % WINDOWS_A_DAY == 0 {
            let day = (window + 1) / WINDOWS_A_DAY;
            run.end_of_day(day)?;
            progress(&format!("tenant {}: day {day} of {DAYS}", simulated.seed));
        }
    }
    Ok(run.tally)
}

struct Run<'s> {
    simulated: &'s Simulated,
    mutant: Option<Mutant>,
    scorers: &'s [ScorerName],
    /// Whether a scorer does.
    reads_rows: bool,
    tally: Tally,
    /// By kind and entity the episodes that it takes part in.
    involved: HashMap<(Kind, u32), Vec<usize>>,
    memories: HashMap<(Kind, u32), Memories>,
    gated: Learned,
    ungated: Learned,
    reservoir: Reservoir,
    rules: LearnedRules,
    z_score: ZScore,
    forest: Option<Forest>,
    calibrations: BTreeMap<ScorerName, Calibration>,
    /// What scoring took the model for each window that shows anything, in nanoseconds.
    times: Vec<u32>,
}

#[derive(Default)]
struct Memories {
    gated: Memory,
    ungated: Memory,
}

/// A model and the sample of the days from which it is learned.
#[derive(Default)]
struct Learned {
    model: Model,
    sample: Sample,
}

/// An entity in a window.
#[derive(Clone, Copy)]
struct Seen<'w> {
    start_s: f64,
    at: WindowTime,
    entity: u32,
    counts: &'w Counts,
    moment: &'w Moment,
    /// That of a model that learned nothing, which gates nothing.
    no_moment: &'w Moment,
}

/// What the scorers say of an entity in a window.
struct Scored {
    scores: Vec<(ScorerName, f64)>,
    /// For the model: by what.
    found: Option<Finding>,
}

impl<'s> Run<'s> {
    fn new(simulated: &'s Simulated, scorers: &'s [ScorerName], mutant: Option<Mutant>) -> Self {
        let mut involved: HashMap<_, Vec<_>> = HashMap::new();
        for (index, episode) in simulated.episodes.iter().enumerate() {
            for principal in &episode.principals {
                involved.entry((Kind::Principal, *principal)).or_default().push(index);
            }
            if let Some(account) = episode.account {
                involved.entry((Kind::Account, account)).or_default().push(index);
            }
        }
        let tallied = scorers.iter().map(|name| (*name, Scores::new(simulated)));
        Self {
            simulated,
            mutant,
            scorers,
            reads_rows: scorers.iter().any(|scorer| scorer.reads_rows()),
            tally: Tally {
                seed: simulated.seed,
                windows: 0,
                scorers: tallied.collect(),
                times_ns: [0; 2],
                largest_memory: 0,
                in_time: InTime::of(simulated),
                model: Vec::new(),
            },
            involved,
            memories: HashMap::new(),
            gated: Learned::default(),
            ungated: Learned::default(),
            reservoir: Reservoir::new(simulated.seed),
            rules: LearnedRules::default(),
            z_score: ZScore::default(),
            forest: None,
            calibrations: scorers.iter().map(|name| (*name, Calibration::default())).collect(),
            times: Vec::new(),
        }
    }

    fn window(&mut self, window: usize, requests: &[Request]) -> Result<()> {
        let at = WindowTime { start_s: FIRST_DAY * 86_400 + window as u64 * u64::from(WINDOW_S), length_s: WINDOW_S };
        let start_s = window as f64 * f64::from(WINDOW_S);
        for kind in Kind::ALL {
            let counts = self.counted(requests, kind);
            let all = counts.values();
            let moment = match self.mutant {
                Some(Mutant::GateOff) => Moment::of(kind, [], &Model::default()),
                _ => Moment::of(kind, all, &self.gated.model),
            };
            let no_moment = Moment::of(kind, [], &Model::default());
            for (entity, counts) in &counts {
                self.entity(&Seen { start_s, at, entity: *entity, counts, moment: &moment, no_moment: &no_moment })?;
            }
        }
        Ok(())
    }

    /// In the order of the entities, so that each run is the same.
    fn counted(&self, requests: &[Request], kind: Kind) -> BTreeMap<u32, Counts> {
        let mut counts: BTreeMap<_, Counts> = BTreeMap::new();
        for request in requests {
            let mut request = *request;
            if self.mutant == Some(Mutant::RetriesAsUnknownRuns) && request.answer == Answer::Unknown {
                request.ran = true;
            }
            request.count_into(kind, counts.entry(request.entity(kind)).or_default());
        }
        counts
    }

    fn entity(&mut self, seen: &Seen<'_>) -> Result<()> {
        let Seen { at, entity, counts, moment, .. } = *seen;
        let kind = moment.kind();
        let is_labelled = self.simulated.setting == Setting::Labelled && self.is_labelled(kind, entity, at);
        let mut memories = std::mem::take(self.memories.entry((kind, entity)).or_default());
        let first_of_day = memories.gated.is_first_of_day(at);
        if self.mutant == Some(Mutant::PastOff) {
            memories.gated.forget_past();
        }
        let row = self.reads_rows.then(|| Row::new(counts, &memories.gated, moment, at));
        let Scored { scores, found } = self.scores(seen, &memories, row.as_ref())?;
        if seen.start_s < WEEK_S {
            self.learn(seen, &memories, is_labelled);
            if let Some(row) = row {
                self.reservoir.put(row);
            }
        }
        memories.gated.absorb(counts, moment, at);
        if is_labelled {
            memories.gated.forget_past();
        }
        if self.scorers.contains(&ScorerName::NoGate) {
            memories.ungated.absorb(counts, seen.no_moment, at);
        }
        self.memories.insert((kind, entity), memories);
        let tag = u64::from(entity) << 1 | kind as u64;
        for &(name, score) in &scores {
            let calibration = self.calibrations.entry(name).or_default();
            calibration.observe(tag, score, first_of_day, at);
            if is_labelled {
                calibration.forget(tag, at.day());
            }
        }
        if seen.start_s >= WEEK_S {
            self.tally.windows += 1;
            for &(name, score) in &scores {
                let found = found.filter(|_| name == ScorerName::Model);
                self.judge(name, (score, found), kind, entity, seen.start_s);
            }
        }
        Ok(())
    }

    fn scores(&mut self, seen: &Seen<'_>, memories: &Memories, row: Option<&Row>) -> Result<Scored> {
        let Seen { at, counts, moment, no_moment, .. } = *seen;
        let shows = counts.pairs().iter().any(|pair| pair.k > 0.0);
        let with = |memory: &Memory| score(counts, memory, &self.gated.model, moment, at);
        let (mut found, mut findings) = (None, None);
        let mut scores = Vec::with_capacity(self.scorers.len());
        for name in self.scorers {
            let score = match name {
                ScorerName::Volume => f64::from(counts.requests),
                ScorerName::Model => {
                    let began = Instant::now();
                    let evidence = with(&memories.gated);
                    if shows && self.gated.model.is_learned() {
                        self.times.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                    }
                    found = evidence.strongest().copied();
                    evidence.score()
                }
                _ if !shows => 0.0,
                ScorerName::NoGate => score(counts, &memories.ungated, &self.ungated.model, no_moment, at).score(),
                ScorerName::NoPast => {
                    let mut memory = memories.gated.faded(at);
                    memory.forget_past();
                    with(&memory).score()
                }
                ScorerName::WindowOnly => {
                    let mut memory = memories.gated.faded(at);
                    memory.forget_recent();
                    with(&memory).score()
                }
                ScorerName::Without(detector) => {
                    let all = findings
                        .get_or_insert_with(|| Findings::of(counts, &memories.gated, &self.gated.model, moment, at));
                    all.without(*detector).evidence().score()
                }
                ScorerName::LearnedRules => row.map_or(0.0, |row| self.rules.score(row)),
                ScorerName::PublishedRules => row.map_or(0.0, published),
                ScorerName::ZScore => row.map_or(0.0, |row| self.z_score.score(row)),
                ScorerName::Forest => match (&self.forest, row) {
                    (Some(forest), Some(row)) => forest.score(row)?,
                    (None, _) | (_, None) => 0.0,
                },
            };
            scores.push((*name, score));
        }
        Ok(Scored { scores, found })
    }

    /// Adds a window of week 1 to the samples.
    fn learn(&mut self, seen: &Seen<'_>, memories: &Memories, is_labelled: bool) {
        let Seen { at, entity, counts, moment, no_moment, .. } = *seen;
        let is_involved = self.involved.contains_key(&(moment.kind(), entity));
        let labelled = self.mutant == Some(Mutant::PriorFromLabels) && is_involved;
        if !labelled && !is_labelled {
            self.gated.sample.observe(counts, &memories.gated, moment, at);
        }
        if self.scorers.contains(&ScorerName::NoGate) {
            self.ungated.sample.observe(counts, &memories.ungated, no_moment, at);
        }
    }

    /// Whether operators label this day of week 1 of an entity: an attack or a bug of its own was on it.
    fn is_labelled(&self, kind: Kind, entity: u32, at: WindowTime) -> bool {
        let day = f64::from(at.day()) - FIRST_DAY as f64;
        let of_day = |episode: &Episode| {
            episode.start_s < WEEK_S
                && (episode.start_s / DAY_S).floor() <= day
                && day <= (episode.end_s / DAY_S).floor()
        };
        let involved = self.involved.get(&(kind, entity)).into_iter().flatten();
        day < 7.0 && involved.into_iter().any(|index| of_day(&self.simulated.episodes[*index]))
    }

    /// Puts a score of the test week where it belongs.
    fn judge(
        &mut self,
        name: ScorerName,
        (score, found): (f64, Option<Finding>),
        kind: Kind,
        entity: u32,
        start_s: f64,
    ) {
        let end_s = start_s + f64::from(WINDOW_S);
        let Some(scores) = self.tally.scorers.get_mut(&name) else { return };
        let mut honest = true;
        for index in self.involved.get(&(kind, entity)).into_iter().flatten() {
            let episode = &self.simulated.episodes[*index];
            if start_s > episode.end_s + AFTERWARDS_S || end_s < episode.start_s {
                continue;
            }
            honest = false;
            if start_s <= episode.end_s
                && let Some(reached) = scores.episodes.get_mut(index)
            {
                reached.put(start_s, end_s - episode.start_s, score, found);
            }
        }
        if honest && score > 0.0 {
            let in_outage = || {
                let outages = &self.simulated.outages;
                outages.iter().any(|outage| start_s < outage.end_s + 300.0 && end_s > outage.start_s)
            };
            let caller = (kind == Kind::Principal).then(|| self.simulated.principals[entity as usize]);
            let day = (start_s / 86_400.0) as u32;
            let largest = scores.honest.entry((kind, entity, day)).or_insert(Honest {
                score: 0.0,
                in_outage: false,
                caller,
                found,
            });
            if score > largest.score {
                *largest = Honest { score, in_outage: in_outage(), caller, found };
            }
        }
    }

    fn end_of_day(&mut self, day: usize) -> Result<()> {
        if day <= 7 {
            for learned in [&mut self.gated, &mut self.ungated] {
                learned.model = Model::learn(&learned.sample);
            }
            if self.scorers.contains(&ScorerName::LearnedRules) {
                self.rules = LearnedRules::learn(&self.reservoir.rows);
            }
            if self.scorers.contains(&ScorerName::ZScore) {
                self.z_score = ZScore::learn(&self.reservoir.rows);
            }
            if self.scorers.contains(&ScorerName::Forest) && [1, 4, 7].contains(&day) {
                self.forest = Some(Forest::learn(&self.reservoir.rows, self.tally.seed)?);
            }
        }
        if day == 7 {
            let at = WindowTime { start_s: (FIRST_DAY + 7) * 86_400, length_s: WINDOW_S };
            for (name, calibration) in &self.calibrations {
                if let Some(scores) = self.tally.scorers.get_mut(name) {
                    scores.thresholds = BUDGETS.map(|budget| calibration.threshold(budget, at));
                }
            }
            self.tally.model = self.gated.model.to_bytes();
        }
        if day == DAYS {
            if self.mutant == Some(Mutant::ThresholdFromTest) {
                self.thresholds_from_the_test();
            }
            self.tally.largest_memory =
                self.memories.values().map(|memories| memories.gated.to_bytes().len()).max().unwrap_or(0);
            self.times.sort_unstable();
            let at = |share: f64| self.times.get((share * self.times.len() as f64) as usize).copied().unwrap_or(0);
            self.tally.times_ns = [at(0.5), at(0.99)];
        }
        Ok(())
    }
}

impl Run<'_> {
    fn thresholds_from_the_test(&mut self) {
        for scores in self.tally.scorers.values_mut() {
            let mut honest: Vec<_> = scores.honest.values().map(|honest| honest.score).collect();
            honest.sort_by(|one, other| other.total_cmp(one));
            scores.thresholds = BUDGETS.map(|budget| honest.get(7 * budget as usize).copied().unwrap_or(0.0));
        }
    }
}

impl Scores {
    fn new(simulated: &Simulated) -> Self {
        let mut scores = Self::default();
        for (index, episode) in simulated.episodes.iter().enumerate().filter(|(_, episode)| episode.start_s >= WEEK_S) {
            let caller = episode.principals.first().map(|first| simulated.principals[*first as usize]);
            scores.episodes.insert(index, Reached::new(episode, caller));
        }
        scores
    }
}

impl Reached {
    fn new(episode: &Episode, caller: Option<Caller>) -> Self {
        Self {
            behind: episode.behind,
            caller,
            requests: episode.requests,
            lasts_s: episode.end_s - episode.start_s,
            found: None,
            rises: Vec::new(),
            by_day: [0.0; 7],
        }
    }

    /// The largest score.
    pub(crate) fn largest(&self) -> f64 {
        self.rises.last().map_or(0.0, |(_, score)| *score)
    }

    fn put(&mut self, start_s: f64, after_s: f64, score: f64, found: Option<Finding>) {
        if score > self.largest() {
            self.rises.push((after_s, score));
            self.found = found;
        }
        let day = ((start_s - WEEK_S) / 86_400.0) as usize;
        if let Some(largest) = self.by_day.get_mut(day) {
            *largest = largest.max(score);
        }
    }
}
