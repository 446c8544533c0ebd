//! Counts of killed and frozen processes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::function::Function;
use super::kill_point::{Point, Step, points};

/// How long a process is frozen: longer than its time-out and its lease, and long enough for a client to repeat its
/// request.
pub(super) const FREEZE: Duration = Duration::from_secs(10);

/// The maximum number of frozen processes at a time, so that enough others can serve.
const FROZEN: usize = 48;

/// Counts shared by everything that kills; no process is killed twice.
#[derive(Clone)]
pub(super) struct KillTally(Arc<Mutex<Counts>>);

/// The counts of killed and frozen processes, by point.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Processes killed while they waited for an event or handled one.
    pub(super) kills: u64,
    /// The number of these that handled one.
    pub(super) at_work: u64,
    /// The named points at which processes were killed.
    pub(super) points: Vec<Point>,
    /// The steps at which processes must be killed.
    steps: &'static [Step],
    /// Processes that were frozen for longer than their lease and then continued.
    pub(super) freezes: u64,
    /// Whether the killing has ended.
    pub(super) is_over: bool,
    /// The sandboxes that the stack listed last, by their numbers.
    pub(super) sandboxes: HashMap<u16, Sandbox>,
    dead: HashSet<i32>,
    /// Frozen processes, and since when.
    frozen: HashMap<i32, Instant>,
}

/// A sandbox, as the stack lists it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sandbox {
    pub(super) process: i32,
    pub(super) function: Function,
    pub(super) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    Starting,
    Waiting,
    Serving,
}

/// The place of a process when it was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Waiting,
    Serving,
    At(Point),
}

impl KillTally {
    /// Counts kills at these steps.
    pub(super) fn of(steps: &'static [Step]) -> Self {
        Self(Arc::new(Mutex::new(Counts { steps, ..Counts::default() })))
    }

    /// Freezes a process, unless it is dead already or too many are frozen. Returns whether it did.
    pub(super) fn freeze(&self, process: i32) -> bool {
        let mut counts = self.counts();
        let may_freeze = !counts.is_over && counts.frozen.len() < FROZEN && counts.is_free(process);
        let is_frozen = may_freeze && send(process, Signal::SIGSTOP);
        if is_frozen {
            counts.frozen.insert(process, Instant::now());
        }
        is_frozen
    }

    /// Resumes the processes that were frozen for long enough, and counts them unless they were killed.
    pub(super) fn thaw(&self) {
        let mut counts = self.counts();
        let over = counts.frozen.extract_if(|_, since| since.elapsed() >= FREEZE);
        let over: Vec<i32> = over.map(|(process, _)| process).collect();
        for process in over {
            counts.freezes += u64::from(send(process, Signal::SIGCONT) && !counts.dead.contains(&process));
        }
    }

    /// Ends the killing.
    pub(super) fn end(&self) {
        self.counts().is_over = true;
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills a process, unless it is dead already.
    pub(super) fn kill(&self, process: i32, place: Place) {
        let mut counts = self.counts();
        if counts.is_over || !counts.dead.insert(process) || !send(process, Signal::SIGKILL) {
            return;
        }
        counts.kills += 1;
        match place {
            Place::Waiting => return,
            Place::Serving => {}
            Place::At(point) => counts.points.push(point),
        }
        counts.at_work += 1;
    }
}

impl Counts {
    /// The progress in one line.
    pub(super) fn progress(&self) -> String {
        let Self { kills, at_work, freezes, .. } = self;
        format!("{kills} kills, {at_work} of them at work, {freezes} freezes so far; at {:?}", self.by_point())
    }

    /// Whether each point has at least this many kills.
    pub(super) fn are_everywhere(&self, goal: u64) -> bool {
        points(self.steps).all(|point| self.at(point) >= goal)
    }

    /// The kills at each point.
    pub(super) fn by_point(&self) -> BTreeMap<String, u64> {
        points(self.steps).map(|point| (format!("{:?} {:?}", point.1, point.0), self.at(point))).collect()
    }

    /// Whether the process is neither dead nor frozen.
    pub(super) fn is_free(&self, process: i32) -> bool {
        !self.dead.contains(&process) && !self.frozen.contains_key(&process)
    }

    /// Whether a process is frozen.
    pub(super) fn has_frozen(&self) -> bool {
        !self.frozen.is_empty()
    }

    /// Processes that were frozen for long enough or are frozen.
    pub(super) fn all_freezes(&self) -> u64 {
        self.freezes + self.frozen.len() as u64
    }

    /// The kills at a point.
    pub(super) fn at(&self, point: Point) -> u64 {
        self.points.iter().filter(|other| **other == point).count() as u64
    }
}

/// Sends a signal. Returns whether the process was there.
fn send(process: i32, signal: Signal) -> bool {
    kill(Pid::from_raw(process), signal).is_ok()
}
