//! Answers from older versions of a record: from an eventually consistent read, and from this process's memory.

use super::*;
use crate::protocol::{EpochS, Fingerprint, Holder, OwnerToken, Record, Settled};

/// Every write is refused: a call can be answered only without one.
fn unwritable() -> [Fault; 64] {
    [Fault::Refuse; 64]
}

fn redelivery(world: &World) -> Call {
    world.call(Uncertain::Reconcile, "a").redelivered(true)
}

/// The outcome of a redelivery whose look-up returns this version, and the number of writes that it needs.
async fn with_version(world: &World, version: Option<Option<Record>>) -> (Result<Outcome<u64>, Error>, u64) {
    let writes = Arc::<AtomicU64>::default();
    let counted = Arc::clone(&writes);
    let store = Altered::new(world.memory.clone(), move |_, written| {
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(written)
    });
    let engine = Engine::builder(store.looked_up(version.ok_or("planned"))).clock(TokioClock::start()).build();
    let outcome = engine.run(&redelivery(world), |_| async { Verdict::Success(99) }).await;
    (outcome, writes.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_is_settled_writes_nothing() {
    let world = World::new([]);
    world.pay(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    assert_eq!(answer(&world.elsewhere(unwritable()).pay(&redelivery(&world)).await), Some(1));
    let runs = world.elsewhere(unwritable());
    assert_eq!(answer(&runs.pay_in_single_write(&redelivery(&world)).await), Some(1), "in single-write mode, too");
    let other = world.call(Uncertain::Reconcile, "b").redelivered(true);
    assert_eq!(world.elsewhere(unwritable()).pay(&other).await.unwrap(), Outcome::Mismatch);
    assert_eq!(world.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_runs_elsewhere_writes_nothing() {
    let world = World::new([]);
    let _held = world.claim(&world.call(Uncertain::Reconcile, "a")).await;
    let outcome = world.elsewhere(unwritable()).pay(&redelivery(&world)).await;
    assert!(matches!(outcome, Ok(Outcome::InProgress { .. })), "{outcome:?}");
    let outcome = world.elsewhere(unwritable()).pay_in_single_write(&redelivery(&world)).await;
    assert!(matches!(outcome, Ok(Outcome::InProgress { .. })), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_redelivery_of_what_did_not_run_runs() {
    let world = World::new([]);
    assert!(matches!(world.pay(&redelivery(&world)).await, Ok(Outcome::Executed(_))));
    assert_eq!(world.memory.applied(EFFECT), 1);
}

/// Every version that a read may return after the record has been settled.
#[tokio::test(start_paused = true)]
async fn a_stale_read_costs_only_the_write_that_it_was_meant_to_save() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.pay(&call).await.unwrap();
    let settled = world.memory.read(&call.record_id()).await.unwrap().expect("settled");
    let now = world.engine.now();
    let over = Holder { owner: OwnerToken([7; 16]), lease: now };
    let other = Fingerprint::from_bytes([7; Fingerprint::BYTES]);
    let expired = Settled { response: vec![1].into(), expiration: EpochS(1) };
    for (name, version) in [
        ("no answer", None),
        ("nothing", Some(None)),
        ("a lease that is over", Some(Some(Record { state: State::Processing(over.clone()), ..settled.clone() }))),
        ("unknown", Some(Some(Record { state: State::Unknown(None), ..settled.clone() }))),
        ("unknown, held", Some(Some(Record { state: State::Unknown(Some(over.clone())), ..settled.clone() }))),
        ("released", Some(Some(Record { state: State::Released { expiration: EpochS(u64::MAX) }, ..settled.clone() }))),
        (
            "another request, whose claim was released since",
            Some(Some(Record {
                fingerprint: other,
                state: State::Processing(Holder { lease: EpochMs(u64::MAX), ..over }),
                ..settled.clone()
            })),
        ),
        ("an earlier life", Some(Some(Record { state: State::Failed(expired), ..settled.clone() }))),
    ] {
        let (outcome, writes) = with_version(&world, version).await;
        assert_eq!((answer(&outcome), writes), (Some(1), 1), "{name}: {outcome:?}");
    }
    let (outcome, writes) = with_version(&world, Some(Some(settled))).await;
    assert_eq!((answer(&outcome), writes), (Some(1), 0), "the latest version: {outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_in_progress_is_in_progress_for_a_second_without_a_write() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let _held = world.claim(&call).await;
    let other = world.elsewhere([Fault::None, Fault::Refuse]);
    for _ in 0..100 {
        assert!(matches!(other.pay(&call).await, Ok(Outcome::InProgress { .. })));
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let outcome = other.pay(&call).await;
    assert!(matches!(outcome, Err(Error::StoreUnavailable(_))), "a second later it writes again: {outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_seen_in_progress_decides_nothing_about_another_request() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let held = world.claim(&call).await;
    let other = world.elsewhere([]);
    assert!(matches!(other.pay(&call).await, Ok(Outcome::InProgress { .. })));
    held.release().await.unwrap();
    // The released key is free for another request, whatever this process remembers.
    let another = other.pay(&world.call(Uncertain::Reconcile, "b")).await;
    assert!(matches!(another, Ok(Outcome::Executed(_))), "{another:?}");
    assert_eq!(other.pay(&call).await.unwrap(), Outcome::Mismatch, "and what this process knows now counts");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_reads_and_is_not_told_what_was_seen() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let held = world.claim(&call).await;
    let other = world.elsewhere([Fault::None].into_iter().chain(unwritable()));
    assert!(matches!(other.pay(&call).await, Ok(Outcome::InProgress { .. })));
    let settled = held.run(|_| async { Verdict::Success(5) }).await;
    assert!(matches!(settled, Ok(Outcome::Executed(_))), "{settled:?}");
    let waits = call.clone().wait(Duration::from_secs(5));
    assert_eq!(answer(&other.pay(&waits).await), Some(5), "within the second, by a read");
}
