//! The real engine in a simulated environment: a store that fails, delays and repeats, an external system that does the
//! same, clocks that differ by up to ten minutes, and processes that die or freeze wherever they wait.
//!
//! Everything follows from a seed: time is tokio's paused time, the random source is seeded, and everything runs on one
//! thread. The counts are independent of the records: how often an effect was applied, what was charged, and what each
//! caller received.

mod breakage;
mod network;
mod process;
mod provider;
mod random_source;
mod scenario;
mod store;

use std::ops::Range;

use crate::oracle::Oracle;
use crate::schedule::{self, Runner, Summary};

pub use breakage::Breakage;
pub use scenario::Scenario;

/// Runs the schedules of many seeds on all processors, up to the first that breaks a promise.
pub fn sweep(seeds: Range<u64>, breakage: Option<Breakage>) -> Summary {
    schedule::sweep(seeds, |runner, seed| {
        let oracle = Oracle::default();
        runner.run(scenario::run(seed, runner.backend(), oracle.clone(), breakage));
        Summary::of(&oracle, || format!("PROOF_SEED={seed}"))
    })
}

/// Replays a seed. Returns what every caller received, and every write.
///
/// # Errors
/// What was broken, and the log until then.
pub fn replay(runner: &Runner, seed: u64) -> Result<Vec<String>, String> {
    let oracle = Oracle::default();
    oracle.be_verbose();
    runner.run(scenario::run(seed, runner.backend(), oracle.clone(), None));
    oracle.verdict()
}
