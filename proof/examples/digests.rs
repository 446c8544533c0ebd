//! Prints digests of the outcomes and writes of all schedules of the exploration and the simulation, in groups, to
//! compare two versions of the library: versions with the same behaviour print the same digests.
//!
//! `cargo run -p proof --example digests [SIMULATION SEEDS] > FILE`

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread;

use proof::exploration::{Scenario, replay_all, replay_seed};
use proof::{Runner, simulation};

const GROUP: u64 = 1000;

fn main() {
    let seeds = std::env::args().nth(1).map_or(10_000, |seeds| seeds.parse().expect("a number of seeds"));
    thread::scope(|scope| {
        scope.spawn(explored);
        scope.spawn(|| simulated(seeds));
    });
}

fn explored() {
    let runner = Runner::in_memory();
    for &scenario in Scenario::ALL {
        let (mut all, mut schedules) = (DefaultHasher::new(), 0_u64);
        replay_all(scenario, |_, log| {
            schedules += 1;
            log.hash(&mut all);
            true
        });
        println!("{scenario:?}: {schedules} schedules within bounds {:016x}", all.finish());
        let mut drawn = DefaultHasher::new();
        (0..GROUP).for_each(|seed| replay_seed(&runner, scenario, seed).hash(&mut drawn));
        println!("{scenario:?}: {GROUP} drawn schedules {:016x}", drawn.finish());
    }
}

fn simulated(seeds: u64) {
    let runner = Runner::in_memory();
    for group in 0..seeds / GROUP {
        let mut hasher = DefaultHasher::new();
        (group * GROUP..(group + 1) * GROUP).for_each(|seed| simulation::replay(&runner, seed).hash(&mut hasher));
        println!("simulation, seeds from {}: {:016x}", group * GROUP, hasher.finish());
    }
}
