//! Faults of other libraries, each tested here. More are tested elsewhere: a late failure after a settled record and a
//! deadline in the past in `engine`, `[null,null]` as a key in `sqs`, and a takeover of a record that was settled
//! meanwhile in `reconcile`.

use serde_json::{Value, json};

use super::*;
use crate::protocol::EpochS;

/// There, the error of a duplicate deleted the record, and the next call ran concurrently with the first.
#[tokio::test(start_paused = true)]
async fn a_refused_duplicate_leaves_the_record_of_the_owner_alone() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let owner = world.claim(&call).await;
    let before = world.record(&call).await;
    for _ in 0..3 {
        assert!(matches!(world.pay(&call).await, Ok(Outcome::InProgress { .. })));
        assert!(matches!(world.pay(&world.call(Uncertain::Reconcile, "b")).await, Ok(Outcome::Mismatch)));
    }
    assert_eq!(world.record(&call).await, before);
    assert!(matches!(owner.commit(Resolution::Success, 1_u64, vec![]).await, Ok(Outcome::Executed(_))));
    assert_eq!(world.runs(), 0);
}

/// There, a lease in milliseconds was compared with a time in seconds, and the key was blocked permanently.
#[tokio::test(start_paused = true)]
async fn a_lease_counts_milliseconds_and_an_expiration_seconds() {
    let (world, call) = World::with_call(REPEAT, []);
    let _dead = world.claim(&call).await;
    let lease = TIMEOUT + Duration::from_secs(1);
    tokio::time::advance(lease - Duration::from_millis(1)).await;
    assert!(matches!(world.pay(&world.call(REPEAT, "a")).await, Ok(Outcome::InProgress { .. })));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(matches!(world.pay(&world.call(REPEAT, "a")).await, Ok(Outcome::Executed(_))));
    let expiration = world.record(&call).await.unwrap().expiration();
    assert_eq!(expiration, Some(EpochS(world.engine.now().0 / 1000 + 24 * 60 * 60)));
}

/// There, the settings of an operation were those of the store, and the last one created changed all others.
#[tokio::test(start_paused = true)]
async fn operations_with_other_settings_on_one_store_do_not_touch_each_other() {
    let world = World::new([]);
    let long = world.call(Uncertain::Reconcile, "a");
    let short = Operation::new("other", "POST /others").retention(Duration::from_secs(1)).uncertain(REPEAT);
    let short = world.call_to(short, "b");
    assert_eq!(answer(&world.pay(&long).await), Some(1));
    assert_eq!(answer(&world.pay(&short).await), Some(2), "the same key, another operation");
    tokio::time::advance(Duration::from_secs(3)).await;
    assert_eq!(answer(&world.pay(&short).await), Some(3), "a second is over");
    assert_eq!(answer(&world.pay(&long).await), Some(1), "a day is not");
}

/// There, a result that looked empty counted as missing, and the operation ran again.
#[tokio::test(start_paused = true)]
async fn results_that_look_empty_are_replayed_unchanged() {
    for result in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({}), json!([null, null])] {
        let (world, call) = World::with_call(Uncertain::Reconcile, []);
        let run = |_| async { Verdict::Success(result.clone()) };
        let first = world.engine.run(&call, run).await.unwrap();
        assert!(matches!(first, Outcome::Executed(ref answered) if answered.answer == result), "{first:?}");
        let elsewhere = world.elsewhere([]);
        let again = elsewhere.engine.run::<Value, _, _>(&call, |_| async { panic!("must not run") }).await.unwrap();
        assert!(matches!(again, Outcome::Replayed(ref answered) if answered.answer == result), "{again:?}");
    }
}

/// There, the store's error replaced the handler's result, and the caller repeated an operation that had happened.
#[tokio::test(start_paused = true)]
async fn an_error_of_the_store_after_the_run_does_not_say_that_nothing_ran() {
    for verdict in [Verdict::Success(1), Verdict::Failed(1), Verdict::Unknown("no answer".into())] {
        let shown = format!("{verdict:?}");
        let (world, call) = World::with_call(Uncertain::Reconcile, [Fault::None].into_iter().chain([Fault::Refuse; 4]));
        let outcome = world.ends_with(&call, verdict).await;
        assert!(matches!(outcome, Err(Error::NotRecorded { .. })), "{shown}: {outcome:?}");
        assert_eq!(world.runs(), 1);
        assert!(matches!(world.record(&call).await.unwrap().state, State::Processing(_)), "{shown}: not forgotten");
    }
}
