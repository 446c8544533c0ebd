//! The exploration: runs the real code in every order within bounds, and in random orders beyond them.
//!
//! Calls, follow-ups, streams, FIFO queues, the sequence gate and versioned items run unchanged, including their
//! control flow between two requests, against a table behind a simulated network. When several requests wait, a
//! decision picks the next one and its fault: a lost request or reply, a repetition, a late arrival, a death before or
//! after it, time that passes all leases and deadlines, or another delivery. [`explore`] tries all such decisions, with
//! few processes and few faults; [`sweep`] draws them from seeds, with more processes and faults.

mod breakage;
mod calls;
mod choice;
mod condition;
mod follow_ups;
mod items;
mod messages;
mod network;
mod numbered;
mod partition;
mod receipt;
mod sandbox;
mod scenario;
mod table;
mod wire;

use std::ops::Range;

use idempotency::Engine;
use idempotency::sequence::Gap;

pub use breakage::Breakage;
pub use choice::Script;
pub use scenario::Scenario;

use choice::Choices;
use network::{Network, Process};
use sandbox::{Random, Remote};
use scenario::{Begin, Runs};
use table::Table;

use crate::oracle::Oracle;
use crate::schedule::{self, Runner, Summary};

/// The environment of one schedule.
struct World {
    scenario: Scenario,
    is_large: bool,
    network: Network,
    table: Table,
    oracle: Oracle,
    random: Random,
    breakage: Option<Breakage>,
}

impl World {
    /// Of a seed's schedule.
    fn of_seed(runner: &Runner, scenario: Scenario, seed: u64, breakage: Option<Breakage>) -> Self {
        // The SDK and the backoff draw from the thread's own random source.
        fastrand::seed(seed);
        Self::new(runner, scenario, Choices::seeded(seed), true, breakage)
    }

    /// Of a script's schedule.
    fn of_script(runner: &Runner, scenario: Scenario, script: &Script, breakage: Option<Breakage>) -> Self {
        fastrand::seed(0);
        Self::new(runner, scenario, Choices::listed(script, scenario.spec().1), false, breakage)
    }

    fn new(runner: &Runner, scenario: Scenario, choices: Choices, is_large: bool, breakage: Option<Breakage>) -> Self {
        let oracle = Oracle::default();
        let table = Table::new(runner.backend(), oracle.clone(), breakage);
        Self { scenario, is_large, network: Network::new(choices), table, oracle, random: Random::default(), breakage }
    }

    /// Runs the schedule.
    fn run_on(self, runner: &Runner) -> Self {
        runner.run(tokio::task::unconstrained(self.run()));
        self
    }

    /// Runs the schedule. Returns the log, including every write.
    fn replay_on(&self, runner: &Runner) -> Result<Vec<String>, String> {
        self.oracle.be_verbose();
        runner.run(tokio::task::unconstrained(self.run()));
        self.oracle.verdict()
    }

    /// The decisions that were made.
    fn script(&self) -> Script {
        self.network.choices(|choices| choices.script())
    }

    async fn run(&self) {
        match self.scenario.spec().0 {
            Runs::Calls => calls::run(self).await,
            Runs::FollowUps => follow_ups::run(self).await,
            Runs::Partition => partition::run(self).await,
            Runs::Messages => messages::run(self).await,
            Runs::Items => items::run(self).await,
        }
        self.oracle.expect(!self.network.is_endless(), "the schedule does not end");
    }

    /// Chooses a value by the size of the schedule.
    const fn size<T: Copy>(&self, small: T, large: T) -> T {
        if self.is_large { large } else { small }
    }

    /// Begins a process. If all orders are run and the scenario has very many, all processes begin at once.
    async fn begin(&self) -> Process {
        let process = self.network.process();
        if self.is_large || self.scenario.spec().2 == Begin::InTurn {
            process.turn().await;
        }
        process
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }

    fn gap(&self, gap: Gap) -> Gap {
        if self.is(Breakage::GapsAccepted) { Gap::Accept } else { gap }
    }

    fn engine(&self, process: &Process) -> Engine<Remote> {
        let store = Remote::new(&self.table, process, self.breakage);
        sandbox::engine(store, process, &self.oracle, &self.random)
    }
}

/// Runs the schedules of a scenario within its bounds in order, up to the first that breaks a promise.
pub fn explore(scenario: Scenario, breakage: Option<Breakage>, at_most: u64) -> Summary {
    let (runner, mut summary) = (Runner::in_memory(), Summary::default());
    let mut next = Some(Script::default());
    while let (Some(script), None) = (&next, &summary.broken) {
        if summary.schedules == at_most {
            break;
        }
        let world = World::of_script(&runner, scenario, script, breakage).run_on(&runner);
        let made = world.script();
        summary.add(Summary::of(&world.oracle, || format!("PROOF_SCENARIO={scenario:?} PROOF_SCRIPT={made}")));
        next = made.next();
    }
    summary
}

/// Runs the schedules of many seeds on all processors, up to the first that breaks a promise.
pub fn sweep(scenario: Scenario, seeds: Range<u64>, breakage: Option<Breakage>) -> Summary {
    schedule::sweep(seeds, |runner, seed| {
        let world = World::of_seed(runner, scenario, seed, breakage).run_on(runner);
        Summary::of(&world.oracle, || format!("PROOF_SCENARIO={scenario:?} PROOF_SEED={seed}"))
    })
}

/// Replays a seed. Returns the log, including every write.
///
/// # Errors
/// What was broken, and the log until then.
pub fn replay_seed(runner: &Runner, scenario: Scenario, seed: u64) -> Result<Vec<String>, String> {
    World::of_seed(runner, scenario, seed, None).replay_on(runner)
}

/// Replays a script. Returns the log, including every write.
///
/// # Errors
/// What was broken, and the log until then.
pub fn replay_script(runner: &Runner, scenario: Scenario, script: &Script) -> Result<Vec<String>, String> {
    World::of_script(runner, scenario, script, None).replay_on(runner)
}

/// Replays every schedule of a scenario within its bounds, in order, and passes on its script, and the log or what was
/// broken, until `goes_on` returns that this is enough.
pub fn replay_all(scenario: Scenario, mut goes_on: impl FnMut(&Script, Result<Vec<String>, String>) -> bool) {
    let (runner, mut next) = (Runner::in_memory(), Some(Script::default()));
    while let Some(script) = next {
        let world = World::of_script(&runner, scenario, &script, None);
        let log = world.replay_on(&runner);
        let made = world.script();
        if !goes_on(&made, log) {
            return;
        }
        next = made.next();
    }
}
