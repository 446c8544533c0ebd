//! Runs the real code in every order within bounds, and in random orders beyond them. A schedule that breaks a promise
//! is printed with the command that replays it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use proof::exploration::{Breakage, Scenario, explore, replay_script, replay_seed, sweep};
use proof::{Runner, Summary};

/// The minimum number of schedules, so that the bounds are not narrowed by accident.
const SCHEDULES: u64 = 300_000;

/// How many schedules of each scenario are run, in order, unless `SOAK_EXPLORATION` selects all of them.
const FIRST: u64 = 1_000;

/// The same for scenarios with the SDK, whose schedules take many times as long.
const FIRST_WITH_SDK: u64 = 60;

/// The events that must always occur; otherwise nothing is proved about them.
const EVENTS: [&str; 30] = [
    "Executed",
    "Replayed",
    "InProgress",
    "Takeover",
    "WaitMs",
    "Fenced",
    "OwnWriteRecognised",
    "UnknownEntered",
    "UnknownPrevented",
    "CommitFailed",
    "DuplicateSkipped",
    "GapHeld",
    "SequenceConflict",
    "MessageReturned",
    "RecordReturned",
    "WatermarkRegression",
    "a process died",
    "a record was given up",
    "a version had moved",
    "a watermark had moved",
    "delivered again",
    "left for the deadline",
    "of an earlier life",
    "an own store was in the way",
    "a reconciler was in time",
    "a reconciler was too late",
    "FollowedUp",
    "a follow-up came twice",
    "a follow-up was lost",
    "a shard was delivered again",
];

/// Events that a quarter of the schedules may miss.
const SELDOM_EVENTS: [&str; 1] = ["an answer expired while it was read"];

/// Events that are looked for only when few faults occur.
const NARROW_EVENTS: [&str; 1] = ["a call ran nothing"];

/// Events that need more than the narrow bounds.
const RARE_EVENTS: [&str; 4] =
    ["a message is dead", "contended", "a lost follow-up is listed as UNKNOWN", "the backstop settled a claim"];

/// Runs all orders with `SOAK_EXPLORATION=1`, as in the gate; otherwise the first ones of each scenario.
#[test]
fn in_every_order_within_bounds_nothing_is_broken() {
    let soaks = proof::soaks("SOAK_EXPLORATION");
    let at_most = |scenario: Scenario| match (soaks, scenario.is_of_any_store()) {
        (true, _) => u64::MAX,
        (false, true) => FIRST,
        (false, false) => FIRST_WITH_SDK,
    };
    let total = unbroken(|scenario| explore(scenario, None, at_most(scenario)));
    total.expect(&NARROW_EVENTS);
    if soaks {
        assert!(total.schedules >= SCHEDULES, "{} schedules", total.schedules);
        total.expect(&EVENTS);
        total.expect(&SELDOM_EVENTS);
    }
}

/// Runs a quarter of each scenario's schedules. `SOAK_TIMES` runs all of them, so many times.
#[test]
fn in_drawn_orders_nothing_is_broken() {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() << 24;
    let times: Option<u64> = std::env::var("SOAK_TIMES").ok().map(|times| times.parse().expect("a number"));
    let schedules = |scenario: Scenario| times.map_or(scenario.drawn() / 4, |times| times * scenario.drawn());
    println!("from seed {seed}");
    let total = unbroken(|scenario| sweep(scenario, seed..seed + schedules(scenario), None));
    total.expect(&EVENTS);
    if times.is_some() {
        total.expect(&SELDOM_EVENTS);
        total.expect(&RARE_EVENTS);
    }
}

/// The results of all scenarios.
fn unbroken(run: impl Fn(Scenario) -> Summary) -> Summary {
    let mut total = Summary::default();
    for &scenario in Scenario::ALL {
        let started = Instant::now();
        let summary = run(scenario).unbroken("exploration").unwrap_or_else(|broken| panic!("{broken}"));
        println!("{scenario:?}: {} schedules in {:.1} s", summary.schedules, started.elapsed().as_secs_f64());
        total.add(summary);
    }
    total
}

#[test]
fn every_breakage_is_noticed() {
    for (breakage, scenario) in Breakage::ALL {
        let Summary { schedules, broken, .. } = explore(scenario, Some(breakage), u64::MAX);
        let (_, broken) = broken.unwrap_or_else(|| panic!("{breakage:?} was not noticed in {schedules} schedules"));
        println!("{breakage:?} | {scenario:?} | {schedules} | {}", broken.lines().next().unwrap_or_default());
    }
}

#[test]
fn a_seed_always_gives_the_same_schedule() {
    let [first, second] = [(), ()].map(|()| Runner::in_memory());
    for &scenario in Scenario::ALL {
        for seed in 0..20 {
            let logs = [&first, &second].map(|runner| replay_seed(runner, scenario, seed));
            assert_eq!(logs[0], logs[1], "{scenario:?}, seed {seed}");
        }
    }
}

/// Replays one schedule, given by `PROOF_SCENARIO` and either `PROOF_SEED` or `PROOF_SCRIPT`.
#[test]
fn replay() {
    let Ok(name) = std::env::var("PROOF_SCENARIO") else { return };
    let scenario = Scenario::ALL.iter().copied().find(|scenario| format!("{scenario:?}") == name).expect("a scenario");
    let runner = Runner::in_memory();
    let replayed = match std::env::var("PROOF_SCRIPT") {
        Ok(script) => replay_script(&runner, scenario, &script.parse().expect("a script")),
        Err(_) => {
            replay_seed(&runner, scenario, std::env::var("PROOF_SEED").expect("a seed").parse().expect("a number"))
        }
    };
    match replayed {
        Ok(log) => println!("{}", log.join("\n")),
        Err(broken) => panic!("{broken}"),
    }
}
