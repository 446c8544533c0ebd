//! The real engine in a simulated environment. To replay one schedule, run `PROOF_SEED=N cargo test -p proof --test
//! simulation replay -- --nocapture`.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proof::Runner;
use proof::simulation::{self, Breakage, sweep};
use strum::VariantArray;

/// The default number of schedules; `SOAK_SCHEDULES` sets another.
const SCHEDULES: u64 = 20_000;

/// The events that must occur, or the simulation proves nothing.
const EVENTS: [&str; 13] = [
    "Executed",
    "Replayed",
    "InProgress",
    "Mismatch",
    "Takeover",
    "WaitMs",
    "Fenced",
    "OwnWriteRecognised",
    "UnknownEntered",
    "UnknownHappened",
    "UnknownRefused",
    "UnknownPrevented",
    "CommitFailed",
];

#[test]
fn no_schedule_breaks_a_promise() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() << 24;
    let schedules = std::env::var("SOAK_SCHEDULES").map_or(SCHEDULES, |number| number.parse().expect("a number"));
    println!("{schedules} schedules from seed {seed}");
    let started = Instant::now();
    let summary =
        sweep(seed..seed + schedules, None).unbroken("simulation").unwrap_or_else(|broken| panic!("{broken}"));
    println!("{:.0} schedules per second", schedules as f64 / started.elapsed().as_secs_f64());
    summary.expect(&EVENTS);
}

#[test]
fn every_breakage_is_noticed() {
    for &breakage in Breakage::VARIANTS {
        let summary = sweep(0..20_000, Some(breakage));
        let (seed, broken) = summary.broken.unwrap_or_else(|| panic!("{breakage:?}"));
        println!("{breakage:?} | {seed} | {}", broken.lines().next().unwrap_or_default());
    }
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let [first, second] = [(), ()].map(|()| Runner::in_memory());
    for seed in 0..200 {
        let _ = simulation::replay(&first, seed + 1000);
        assert_eq!(simulation::replay(&first, seed), simulation::replay(&second, seed), "seed {seed}");
    }
}

#[test]
fn replay() {
    let Some(seed) = std::env::var("PROOF_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    match simulation::replay(&Runner::in_memory(), seed) {
        Ok(log) => println!("{}", log.join("\n")),
        Err(broken) => panic!("{broken}"),
    }
}
