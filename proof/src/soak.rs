//! Larger proofs for a soak: larger models, and more schedules, divided into parts. The program `soak` of the package
//! `tests` runs them and records the results.

use std::collections::BTreeMap;
use std::time::Instant;

use stateright::report::{ReportData, ReportDiscovery, Reporter};
use stateright::{Checker, HasDiscoveries, Model as _};

use crate::exploration::{self, Scenario};
use crate::model::{Action, Model, Settings, World};
use crate::schedule::Summary;
use crate::simulation;

/// The number of schedules, one for each seed.
pub const SCHEDULES: u64 = 10_000_000;

/// The number of schedules in a part.
pub const PART: u64 = 100_000;

/// Checks all states of a model, and reports the number of states from time to time.
///
/// # Errors
/// The broken promises, each with the path to it.
pub fn model(settings: Settings, report: impl FnMut(&str) + Send) -> Result<String, String> {
    let started = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Model::new(settings, None).checker().threads(threads).finish_when(HasDiscoveries::All).spawn_bfs();
    let checker = checker.join_and_report(&mut Progress(report));
    let broken = checker.discoveries();
    if broken.is_empty() {
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        return Ok(format!("{states} states, {steps} steps, {:.0} s", started.elapsed().as_secs_f64()));
    }
    let ways = broken.into_iter().map(|(promise, path)| format!("{promise}: {:?}", path.into_actions()));
    Err(ways.collect::<Vec<_>>().join("; "))
}

/// Runs the schedules of a part.
///
/// # Errors
/// The first seed that broke a promise, and the promise.
pub fn schedules(first: u64) -> Result<String, String> {
    figures("simulation", || simulation::sweep(first..first + PART, None))
}

/// The number of parts of a scenario's exploration.
pub const EXPLORATIONS: u64 = 10;

/// Runs the randomly drawn schedules of one part of a scenario's exploration. All parts together run a hundred times
/// the schedules of a normal test run.
///
/// # Errors
/// The command that replays the first schedule that broke a promise, and the promise.
pub fn explorations(scenario: Scenario, part: u64) -> Result<String, String> {
    let size = 10 * scenario.drawn();
    figures("exploration", || exploration::sweep(scenario, part * size..(part + 1) * size, None))
}

fn figures(test: &str, run: impl FnOnce() -> Summary) -> Result<String, String> {
    let started = Instant::now();
    let Summary { schedules, .. } = run().unbroken(test)?;
    Ok(format!("{schedules} schedules, {:.0} per second", schedules as f64 / started.elapsed().as_secs_f64()))
}

struct Progress<T>(T);

impl<T: FnMut(&str)> Reporter<Model> for Progress<T> {
    fn report_checking(&mut self, data: ReportData) {
        if !data.done {
            self.0(&format!("{} states so far", data.unique_states));
        }
    }

    /// Reports nothing, because the part reports the discoveries at its end.
    fn report_discoveries(&mut self, _: &Model, _: BTreeMap<&'static str, ReportDiscovery<Model>>)
    where
        Action: std::fmt::Debug + PartialEq,
        World: std::fmt::Debug + std::hash::Hash + PartialEq,
    {
    }
}
