//! The chaos tests, with real processes on real sockets. The gate makes them larger with `SOAK_KILLS` and other
//! variables; `cargo run --release -p tests --bin soak` runs many more.

use tests::chaos::{Plan, run, silent};
use tests::sizes::number;
use tests::soak::now_and_then;
use tests::valkey;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_each_payment_is_charged_and_posted_once_and_has_one_answer() {
    let plan = Plan {
        valkey: false,
        kills: number("SOAK_KILLS", 40),
        at_each_point: number("SOAK_KILLS_AT_EACH_POINT", 1),
        freezes: number("SOAK_FREEZES", 5),
        restarts: number("SOAK_RESTARTS", 1),
        seed: number("SOAK_SEED", std::process::id().into()),
    };
    println!("{plan:?}");
    let tally = run(plan, now_and_then()).await;
    println!("{tally}: {:.1} kills per second", tally.kills as f64 / tally.seconds as f64);
    assert!(tally.kills >= plan.kills && tally.freezes >= plan.freezes);
    assert!(tally.points.values().all(|kills| *kills >= plan.at_each_point), "a named point was missed");
    assert!(tally.at_work > tally.kills / 2, "most of the dead were only waiting");
    assert!(tally.fenced > 0, "no late owner came back");
    assert!(tally.losses > 0, "nothing was lost on the way to the store");
}

/// Records are on a Valkey server, whose files survive a kill of the whole stack, and effects are written to DynamoDB
/// before them: a process may die between the two. `SOAK_VALKEY_KILLS` is the number of killed processes.
#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn with_records_on_valkey_whatever_dies_each_payment_is_charged_and_posted_once_and_has_one_answer() {
    if !valkey::is_installed(
        "with_records_on_valkey_whatever_dies_each_payment_is_charged_and_posted_once_and_has_one_answer",
    ) {
        return;
    }
    let kills = number("SOAK_VALKEY_KILLS", 20);
    let seed = number("SOAK_SEED", std::process::id().into());
    let plan = Plan { valkey: true, kills, at_each_point: kills / 20, freezes: kills / 10, restarts: 1, seed };
    println!("{plan:?}");
    let tally = run(plan, now_and_then()).await;
    println!("{tally}");
    assert!(tally.kills >= plan.kills && tally.freezes >= plan.freezes);
    assert!(tally.points.values().all(|kills| *kills >= plan.at_each_point), "a named point was missed");
    assert!(tally.fenced > 0, "no late owner came back");
}

/// `SOAK_SILENT_KILLS` is the number of killed processes.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_and_nobody_retries_each_charge_is_posted_once() {
    let (kills, seed) = (number("SOAK_SILENT_KILLS", 20), number("SOAK_SEED", u64::from(std::process::id())));
    println!("{kills} kills, seed {seed}");
    let silence = silent::run(kills, seed).await;
    println!("{silence}");
    assert!(silence.kills >= kills && silence.charges > 0);
    assert!(silence.payments as usize > silence.charges, "some were killed before the charge");
}
