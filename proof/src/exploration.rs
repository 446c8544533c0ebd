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
mod oracle;
mod partition;
mod receipt;
mod sandbox;
mod scenario;
mod table;
mod wire;

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use idempotency::Engine;
use idempotency::sequence::Gap;
use parking_lot::Mutex;

pub use breakage::Breakage;
pub use choice::Script;
pub use oracle::Occurred;
pub use scenario::Scenario;

use choice::Choices;
use network::{Network, Process};
use oracle::Oracle;
use sandbox::{Random, Remote};
use table::Table;

use crate::backend::{Schedules, backend};

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
    fn new(
        scenario: Scenario,
        on: Option<&Schedules>,
        choices: Choices,
        is_large: bool,
        breakage: Option<Breakage>,
    ) -> Self {
        let oracle = Oracle::default();
        let table = Table::new(backend(on), oracle.clone(), breakage);
        Self { scenario, is_large, network: Network::new(choices), table, oracle, random: Random::default(), breakage }
    }

    async fn run(&self) {
        match self.scenario {
            Scenario::Repeated
            | Scenario::Reconciled
            | Scenario::Waiting
            | Scenario::SingleWrite
            | Scenario::SingleWriteBesideClaims
            | Scenario::ThreeCallers
            | Scenario::TwoCallersBesideAReconciler
            | Scenario::LongAnswers
            | Scenario::LongAnswersExpire
            | Scenario::LongAnswersInSingleWrite => {
                calls::run(self).await;
            }
            Scenario::Stream
            | Scenario::StreamCreatedAnew
            | Scenario::StreamThroughTheGate
            | Scenario::StreamAtAGap
            | Scenario::StreamMeetsOtherContent
            | Scenario::StreamOfAClockAhead
            | Scenario::TableStream
            | Scenario::TableStreamInSingleWrite => {
                partition::run(self).await;
            }
            Scenario::Fifo
            | Scenario::FifoInSingleWrite
            | Scenario::GateHolds
            | Scenario::GateAccepts
            | Scenario::GateMeetsOtherContent => {
                messages::run(self).await;
            }
            Scenario::GivenUp | Scenario::GivenUpAfterADeath => follow_ups::run(self).await,
            Scenario::Versioned => items::run(self).await,
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
        if self.is_large || self.scenario.begins_in_turn() {
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

/// Runs one schedule.
fn run(world: &World, runtime: &tokio::runtime::Runtime) {
    runtime.block_on(tokio::task::unconstrained(world.run()));
}

/// The world for a seed's schedule.
fn of_seed(scenario: Scenario, on: Option<&Schedules>, seed: u64, breakage: Option<Breakage>) -> World {
    // The SDK and the backoff draw from the thread's own random source.
    fastrand::seed(seed);
    World::new(scenario, on, Choices::seeded(seed), true, breakage)
}

/// The world for a script's schedule.
fn of_script(scenario: Scenario, on: Option<&Schedules>, script: &Script, breakage: Option<Breakage>) -> World {
    fastrand::seed(0);
    World::new(scenario, on, Choices::listed(script, scenario.bounds()), false, breakage)
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime")
}

/// The result of running schedules.
#[derive(Debug, Default)]
pub struct Explored {
    /// The number of schedules.
    pub schedules: u64,
    /// How often each event occurred.
    pub occurred: Occurred,
    /// The first schedule that broke a promise: the script or seed that replays it, and the broken promise.
    pub broken: Option<(String, String)>,
}

impl Explored {
    fn run(&mut self, world: &World, runtime: &tokio::runtime::Runtime, replay: impl FnOnce() -> String) {
        run(world, runtime);
        self.schedules += 1;
        self.occur(world.oracle.occurred());
        self.broken = world.oracle.verdict().err().map(|broken| (replay(), broken));
    }

    fn occur(&mut self, occurred: Occurred) {
        occurred.into_iter().for_each(|(what, count)| *self.occurred.entry(what).or_default() += count);
    }
}

/// Runs the schedules of a scenario within its bounds in order, up to the first that breaks a promise.
pub fn explore(scenario: Scenario, breakage: Option<Breakage>, at_most: u64) -> Explored {
    let (runtime, mut explored) = (runtime(), Explored::default());
    let mut next = Some(Script::default());
    while let (Some(script), None) = (&next, &explored.broken) {
        if explored.schedules == at_most {
            break;
        }
        let world = of_script(scenario, None, script, breakage);
        let made = || world.network.choices(|choices| choices.script());
        explored.run(&world, &runtime, || format!("PROOF_SCENARIO={scenario:?} PROOF_SCRIPT={}", made()));
        next = made().next();
    }
    explored
}

/// Runs the schedules of many seeds on all processors, up to the first that breaks a promise.
pub fn sweep(scenario: Scenario, seeds: Range<u64>, breakage: Option<Breakage>) -> Explored {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Explored::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (runtime, mut own) = (runtime(), Explored::default());
                while own.broken.is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let world = of_seed(scenario, None, seed, breakage);
                    own.run(&world, &runtime, || format!("PROOF_SCENARIO={scenario:?} PROOF_SEED={seed}"));
                }
                if own.broken.is_some() {
                    next.store(seeds.end, Ordering::Relaxed);
                }
                let mut total = total.lock();
                total.schedules += own.schedules;
                total.occur(own.occurred);
                total.broken = total.broken.take().or(own.broken);
            });
        }
    });
    total.into_inner()
}

/// Replays a seed. Returns the log, including every write.
///
/// # Errors
/// The broken promise, and the log until then.
pub fn replay_seed(scenario: Scenario, seed: u64) -> Result<Vec<String>, String> {
    replay_seed_on(None, scenario, seed)
}

/// The same, with records and watermarks on a server.
///
/// # Errors
/// The same as for [`replay_seed`].
pub fn replay_seed_on(server: Option<&Schedules>, scenario: Scenario, seed: u64) -> Result<Vec<String>, String> {
    replay(&of_seed(scenario, server, seed, None), &runtime())
}

/// Replays a script. Returns the log, including every write.
///
/// # Errors
/// The broken promise, and the log until then.
pub fn replay_script(scenario: Scenario, script: &Script) -> Result<Vec<String>, String> {
    replay_script_on(None, scenario, script)
}

/// The same, with records and watermarks on a server.
///
/// # Errors
/// The same as for [`replay_script`].
pub fn replay_script_on(
    server: Option<&Schedules>,
    scenario: Scenario,
    script: &Script,
) -> Result<Vec<String>, String> {
    replay(&of_script(scenario, server, script, None), &runtime())
}

/// Replays every schedule of a scenario within its bounds, in order, and passes its script, with the log or the broken
/// promise, to `hear`, until `hear` returns false.
pub fn replay_all(scenario: Scenario, mut hear: impl FnMut(&Script, Result<Vec<String>, String>) -> bool) {
    let (runtime, mut next) = (runtime(), Some(Script::default()));
    while let Some(script) = next {
        let world = of_script(scenario, None, &script, None);
        let told = replay(&world, &runtime);
        let made = world.network.choices(|choices| choices.script());
        if !hear(&made, told) {
            return;
        }
        next = made.next();
    }
}

fn replay(world: &World, runtime: &tokio::runtime::Runtime) -> Result<Vec<String>, String> {
    world.oracle.be_verbose();
    run(world, runtime);
    world.oracle.verdict()
}
