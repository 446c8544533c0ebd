//! The check of a model, and its result.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use stateright::{Checker, HasDiscoveries, Model as _};

use super::{Action, Event, Model, Mutant, Settings};

/// The result of checking a model.
pub struct Checked {
    /// The model's settings.
    pub settings: Settings,
    /// The number of different states.
    pub states: usize,
    /// The number of steps between states.
    pub steps: usize,
    /// How long it took.
    pub took: Duration,
    /// The broken promises, each with the shortest path that was found.
    pub broken: Vec<(&'static str, Vec<Action>)>,
    /// How often each event occurred, in the order of [`Event::ALL`].
    pub occurred: [u64; Event::ALL.len()],
}

/// Checks all states.
pub fn check(settings: Settings) -> Checked {
    explore(Model::new(settings, None), HasDiscoveries::All, None)
}

/// Checks the states of a model with a breakage, up to the first broken promise, and at most about as many as the limit.
pub fn check_mutant(settings: Settings, mutant: Mutant, limit: Option<usize>) -> Checked {
    explore(Model::new(settings, Some(mutant)), HasDiscoveries::AnyFailures, limit)
}

fn explore(model: Model, until: HasDiscoveries, limit: Option<usize>) -> Checked {
    let started = Instant::now();
    let settings = model.settings.clone();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = model.clone().checker().threads(threads).finish_when(until);
    let checker = match limit {
        Some(limit) => checker.target_state_count(limit),
        None => checker,
    };
    let checker = checker.spawn_bfs().join();
    let mut broken: Vec<_> =
        checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).collect();
    broken.sort_by_key(|(name, actions)| (actions.len(), *name));
    Checked {
        settings,
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        took: started.elapsed(),
        broken,
        occurred: std::array::from_fn(|event| model.occurred[event].load(Ordering::Relaxed)),
    }
}

impl Checked {
    /// How often an event occurred.
    pub fn count(&self, event: Event) -> u64 {
        self.occurred[event as usize]
    }

    /// The result in one line.
    pub fn summary(&self) -> String {
        let (name, seconds) = (self.settings.name, self.took.as_secs_f64());
        format!("{name:34} {:>10} states {:>11} steps {seconds:>6.1} s", self.states, self.steps)
    }
}
