//! Counts of killed and frozen processes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use super::function::Function;
use super::kill_point::{Point, Step, points};

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

    /// Counts a process that continues after a freeze, unless it was killed.
    pub(super) fn thawed(&self, process: i32) {
        let mut counts = self.counts();
        counts.freezes += u64::from(!counts.is_dead(process));
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
        if counts.is_over || !counts.dead.insert(process) || kill(Pid::from_raw(process), Signal::SIGKILL).is_err() {
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

    pub(super) fn is_dead(&self, process: i32) -> bool {
        self.dead.contains(&process)
    }

    /// The kills at a point.
    pub(super) fn at(&self, point: Point) -> u64 {
        self.points.iter().filter(|other| **other == point).count() as u64
    }
}
