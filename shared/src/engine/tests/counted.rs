//! The counters of calls. Metrics that only a fault can cause are tested here, because no end-to-end test covers them.

use std::collections::BTreeMap;

use super::*;
use crate::engine::timings::timed;
use crate::protocol::machine::{End, Input, Proof, Terms, Wait};
use crate::telemetry::metrics::Counts;

/// What was counted since the previous call, by name.
fn counted(counts: &Counts) -> String {
    let mut by_name = BTreeMap::<_, u64>::new();
    for (metric, operation) in counts.take() {
        assert_eq!(operation, "POST /payments");
        *by_name.entry(metric.name()).or_default() += 1;
    }
    let counters = by_name.iter().filter(|(name, _)| !name.ends_with("Ms"));
    counters.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
}

fn counting(plan: impl IntoIterator<Item = Fault>) -> (Arc<World>, Counts) {
    let (world, counts) = (Arc::into_inner(World::new([])).unwrap(), Counts::default());
    let engine = Engine::builder(FaultyStore::new(world.memory.clone(), plan))
        .clock(TokioClock::start())
        .metrics(counts.clone())
        .build();
    (Arc::new(World { engine, ..world }), counts)
}

#[tokio::test(start_paused = true)]
async fn each_call_is_counted_by_what_became_of_it() {
    let (world, counts) = counting([]);
    let call = world.call(Uncertain::Reconcile, "a");
    world.pay(&call).await.unwrap();
    assert_eq!(counted(&counts), "Executed 1");
    assert_eq!(world.pay(&world.call(Uncertain::Reconcile, "another")).await.unwrap(), Outcome::Mismatch);
    assert_eq!(counted(&counts), "Mismatch 1");
    let (running, counts) = counting([]);
    let _held = running.claim(&running.call(Uncertain::Reconcile, "a")).await;
    assert!(matches!(running.pay(&running.call(Uncertain::Reconcile, "a")).await, Ok(Outcome::InProgress { .. })));
    assert_eq!(counted(&counts), "InProgress 1");
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_a_success_or_a_failure_and_a_first_attempt_is_neither() {
    let (world, counts) = counting([]);
    let call = world.call(REPEAT, "a");
    world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
    assert_eq!(counted(&counts), "UnknownEntered 1");
    world.ends_with(&call, Verdict::NotExecuted(503)).await.unwrap();
    assert_eq!(counted(&counts), "RetryFailed 1, Takeover 1, UnknownEntered 1");
    world.pay(&call).await.unwrap();
    assert_eq!(counted(&counts), "Executed 1, RetrySucceeded 1, Takeover 1");

    let (world, counts) = counting([]);
    let call = world.call(Uncertain::Reconcile, "a");
    world.ends_with(&call, Verdict::NotExecuted(400)).await.unwrap();
    world.ends_with(&call, Verdict::Failed(402)).await.unwrap();
    assert_eq!(counted(&counts), "Executed 1, RetryFailed 1");
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_and_a_lost_race_are_counted() {
    let (world, counts) = counting([]);
    let call = world.call(REPEAT, "a");
    let late = world.late_claim(&call).await;
    let abandoned = world.record(&call).await.unwrap();
    world.pay(&world.call(REPEAT, "a")).await.unwrap();
    assert_eq!(counted(&counts), "Executed 1, RetrySucceeded 1, Takeover 1");
    late.commit(Resolution::Success, 99_u64, Vec::new()).await.unwrap();
    assert_eq!(counted(&counts), "Fenced 1");

    // A takeover of a record that has changed since it was read.
    let call = world.call(Uncertain::Reconcile, "a");
    let held = reconciler(&world, &call, &abandoned).await;
    assert!(matches!(held.machine().poll(), Action::Done(End::NotOpen)));
    assert_eq!(counted(&counts), "Conflict 1");
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_is_counted_however_its_claim_ends() {
    let (world, counts) = counting([]);
    let call = world.call(Uncertain::Reconcile, "a");
    let releases = world.claim(&call).await;
    // Each call finds that the lease before it is over, and takes over to reconcile.
    let mut late = Vec::new();
    for _ in 0..3 {
        tokio::time::advance(TIMEOUT + Duration::from_secs(2)).await;
        late.push(reconciler(&world, &call, &world.record(&call).await.unwrap()).await);
    }
    let [abandons, reopens, _holds] = late.try_into().ok().expect("all took over");
    let transaction = world.engine.transaction().unwrap();
    counted(&counts);
    releases.release().await.unwrap();
    assert_eq!(counted(&counts), "Fenced 1");
    for (mut reconciler, proof) in [(abandons, Proof::Unclear), (reopens, Proof::Prevented(transaction))] {
        reconciler.handle(Input::Evidence(proof)).await;
        reconciler.advance().await.unwrap();
        assert_eq!(counted(&counts), "Fenced 1, UnknownLeft 1");
    }
}

/// A reconciler that takes over the version of the record that it read, or is too late to do so.
async fn reconciler(world: &World, call: &Call, seen: &Record) -> Driver<FaultyStore<MemoryStore>> {
    let (engine, now) = (&world.engine, world.engine.now());
    let request = engine.request(call).unwrap();
    let never = EpochMs(u64::MAX);
    let terms = Terms { retention: call.operation().kept_for(), start_by: never, write_by: never, wait: Wait::No };
    let machine = Machine::reconciliation(request, terms, seen, now);
    let mut driver = Driver::new(engine, machine, call.operation().clone(), now.plus(TIMEOUT));
    driver.advance().await.unwrap();
    driver
}

#[tokio::test(start_paused = true)]
async fn what_the_store_does_not_say_is_counted() {
    for (fault, expected) in [
        (Fault::Repeat, "Executed 1, OwnWriteRecognised 1"),
        (Fault::LoseReply, "CommitFailed 1, Executed 1, StoreError 1"),
        (Fault::LoseRequest, "CommitFailed 1, StoreError 1, UnknownEntered 1"),
    ] {
        let (world, counts) = counting([Fault::None, fault]);
        world.pay(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
        assert_eq!(counted(&counts), expected, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_call_is_its_own() {
    let (world, _) = counting([]);
    let call = world.call(Uncertain::Reconcile, "a");
    let slow = async {
        timings::add(Metric::ClaimMs, Duration::from_millis(3));
        world.pay(&call).await.unwrap();
        tokio::task::yield_now().await;
        timings::add(Metric::ClaimMs, Duration::from_millis(4));
    };
    let quick = async { timings::add(Metric::CommitMs, Duration::from_millis(9)) };
    let (((), slow), ((), quick)) = tokio::join!(timed(slow), timed(quick));
    assert_eq!((slow.claim, slow.commit), (Duration::from_millis(7), Duration::ZERO));
    assert_eq!((quick.claim, quick.commit), (Duration::ZERO, Duration::from_millis(9)));
}
