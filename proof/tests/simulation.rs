//! The real engine in a simulated environment. To replay one schedule, run `PROOF_SEED=N cargo test -p proof --test
//! simulation replay -- --nocapture`.

use std::sync::Arc;

use proof::simulation::{Breakage, Coverage, EVENTS, Simulation, sweep};

/// The default number of schedules; `SOAK_SCHEDULES` sets another.
const SCHEDULES: u64 = 20_000;

#[test]
fn no_schedule_breaks_a_promise() {
    let coverage = Arc::new(Coverage::default());
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs() << 24;
    let schedules = std::env::var("SOAK_SCHEDULES").map_or(SCHEDULES, |number| number.parse().expect("a number"));
    println!("{schedules} schedules from seed {seed}");
    let started = std::time::Instant::now();
    let broken = sweep(seed..seed + schedules, &coverage, None);
    println!("{:.0} schedules per second", schedules as f64 / started.elapsed().as_secs_f64());
    if let Some((seed, broken)) = broken {
        panic!("replay with: PROOF_SEED={seed} cargo test -p proof --test simulation replay -- --nocapture\n{broken}");
    }
    for event in EVENTS {
        let count = coverage.count(event);
        println!("{event:?} occurred {count} times");
        assert!(count > 0, "{event:?} never occurred, so nothing is proved about it");
    }
}

#[test]
fn every_breakage_is_noticed() {
    for &breakage in Breakage::ALL {
        let coverage = Arc::new(Coverage::default());
        let (seed, broken) = sweep(0..20_000, &coverage, Some(breakage)).unwrap_or_else(|| panic!("{breakage:?}"));
        println!("{breakage:?} | seed {seed} | {}", broken.lines().next().unwrap_or_default());
    }
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let (first, second) = [(), ()].map(|()| Simulation::new(Arc::default(), None)).into();
    for seed in 0..200 {
        let _ = first.run(seed + 1000);
        assert_eq!(first.run(seed), second.run(seed), "seed {seed}");
    }
}

#[test]
fn replay() {
    let Some(seed) = std::env::var("PROOF_SEED").ok().and_then(|seed| seed.parse().ok()) else { return };
    let told = Simulation::new(Arc::default(), None).replay(seed);
    match told {
        Ok(told) => println!("{}", told.join("\n")),
        Err(broken) => panic!("{broken}"),
    }
}
