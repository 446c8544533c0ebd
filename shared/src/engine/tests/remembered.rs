use super::*;
use crate::telemetry::metrics::Counts;

/// Every write of this process is refused: it can answer only from its cache.
fn unreachable() -> [Fault; 64] {
    [Fault::Refuse; 64]
}

#[tokio::test(start_paused = true)]
async fn what_this_process_settled_is_replayed_without_the_store() {
    let first = [Fault::None, Fault::None];
    let (world, call) = World::with_call(Uncertain::Reconcile, first.into_iter().chain(unreachable()));
    world.pay(&call).await.unwrap();
    assert_eq!(answer(&world.pay(&call).await), Some(1));
    let mismatch = world.pay(&world.call(Uncertain::Reconcile, "b")).await;
    assert_eq!(mismatch.unwrap(), Outcome::Mismatch, "the fingerprint is still compared");
    assert_eq!(answer(&world.pay_in_single_write(&call).await), Some(1), "in single-write mode, too");
}

#[tokio::test(start_paused = true)]
async fn what_this_process_replayed_is_replayed_without_the_store() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.pay(&call).await.unwrap();
    let other = world.elsewhere([Fault::None].into_iter().chain(unreachable()));
    for _ in 0..3 {
        assert_eq!(answer(&other.pay(&call).await), Some(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_settled_is_not_remembered() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.ends_with(&call, Verdict::NotExecuted(1)).await.unwrap();
    assert!(matches!(world.elsewhere([]).pay(&call).await, Ok(Outcome::Executed(_))));
    assert_eq!(answer(&world.pay(&call).await), Some(1), "as it was settled elsewhere");
}

#[tokio::test(start_paused = true)]
async fn with_no_bytes_nothing_is_remembered() {
    let memory = MemoryStore::new();
    let world = World::new([]);
    let store = FaultyStore::new(memory, [Fault::None, Fault::None, Fault::Refuse]);
    let engine = Engine::builder(store).clock(TokioClock(tokio::time::Instant::now())).cache_bytes(0).build();
    let call = world.call(Uncertain::Reconcile, "a");
    engine.run(&call, |_| async { Verdict::Success(1) }).await.unwrap();
    let again = engine.run::<u64, _, _>(&call, |_| async { panic!("must not run") }).await;
    assert!(matches!(again, Err(Error::StoreUnavailable(_))), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_replay_without_the_store_is_counted_as_a_replay_and_as_a_local_one() {
    let counts = Counts::default();
    let engine = Engine::builder(MemoryStore::new()).clock(TokioClock::start()).metrics(counts.clone()).build();
    let call = World::new([]).call(Uncertain::Reconcile, "a");
    for _ in 0..2 {
        engine.run(&call, |_| async { Verdict::Success(1) }).await.unwrap();
    }
    assert_eq!(counts.counted(), [Metric::Executed, Metric::Replayed, Metric::ReplayedLocal]);
}
