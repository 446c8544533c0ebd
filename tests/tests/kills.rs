//! Processes that are killed and frozen, a store that loses replies, stacks that die: on real sockets, with the real
//! binaries. `PROOF_KILLS=100000 PROOF_FREEZES=10000 cargo test -p tests --test kills -- --nocapture` does more of it.

use tests::chaos::{Plan, run};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_each_payment_is_charged_and_posted_once_and_has_one_answer() {
    let plan = Plan {
        kills: number("PROOF_KILLS", 500),
        freezes: number("PROOF_FREEZES", 32),
        restarts: number("PROOF_RESTARTS", 2),
        seed: number("PROOF_SEED", std::process::id().into()),
    };
    println!("{plan:?}");
    let tally = run(plan).await;
    println!("{tally:?}: {:.1} kills per second", tally.kills as f64 / tally.seconds as f64);
    assert!(tally.kills >= plan.kills && tally.freezes >= plan.freezes);
    assert!(tally.fenced > 0, "no late owner came back");
    assert!(tally.losses > 0, "nothing was lost on the way to the store");
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}
