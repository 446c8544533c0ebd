use super::*;

impl World {
    /// Holds the call's claim for `busy`, then ends it.
    fn run_for(self: &Arc<Self>, call: &Call, busy: Duration) -> tokio::task::JoinHandle<Result<Outcome<u64>, Error>> {
        let (world, call) = (Arc::clone(self), call.clone());
        let run = move |_| async move {
            tokio::time::sleep(busy).await;
            Verdict::Success(7)
        };
        tokio::spawn(async move { world.engine.run(&call, run).await })
    }

    /// A call with a time limit for its runs.
    fn call_within(&self, uncertain: Uncertain, run_within: Duration) -> Call {
        self.call_to(Operation::new("test", "POST /payments").uncertain(uncertain).run_within(run_within), "a")
    }
}

const WAIT: Duration = Duration::from_secs(5);
const RUN: Duration = Duration::from_secs(2);
/// The engine's default.
const MARGIN: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_gets_the_answer_of_the_running_call() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let first = world.run_for(&call, Duration::from_secs(3));
    tokio::task::yield_now().await;
    let started = world.engine.now();
    let waited = world.elsewhere([]).pay(&call.clone().wait(WAIT)).await;
    assert!(matches!(waited, Ok(Outcome::Replayed(Answered { answer: 7, .. }))), "{waited:?}");
    let ms = world.engine.now().since(started).as_millis();
    assert!((3000..4001).contains(&ms), "no later than one pause after the answer: {ms} ms");
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_no_longer_than_it_was_asked_to() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let first = world.run_for(&call, Duration::from_secs(7));
    tokio::task::yield_now().await;
    let started = world.engine.now();
    let waited = world.pay(&call.clone().wait(WAIT)).await.unwrap();
    assert_eq!(world.engine.now().since(started), WAIT);
    let rest = TIMEOUT + Duration::from_secs(1) - WAIT;
    assert_eq!(waited, Outcome::InProgress { retry_after: rest }, "the rest of the lease");
    first.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_run_is_stopped_when_its_own_time_is_over() {
    let world = World::new([]);
    let call = world.call_within(Uncertain::Reconcile, RUN);
    let first = world.run_for(&call, TIMEOUT);
    tokio::task::yield_now().await;
    let started = world.engine.now();
    let told = world.elsewhere([]).pay(&call).await.unwrap();
    assert_eq!(told, Outcome::InProgress { retry_after: RUN + MARGIN }, "the lease leaves time to record the outcome");
    let stopped = first.await.unwrap().unwrap();
    assert!(matches!(stopped, Outcome::Unknown { .. }), "{stopped:?}");
    assert_eq!(world.engine.now().since(started), RUN);
}

#[tokio::test(start_paused = true)]
async fn a_function_with_less_time_than_the_run_may_take_has_the_last_word() {
    let world = World::new([]);
    let call = world.call_within(Uncertain::Reconcile, TIMEOUT);
    let first = world.run_for(&call, TIMEOUT);
    let started = world.engine.now();
    assert!(matches!(first.await.unwrap().unwrap(), Outcome::Unknown { .. }));
    assert_eq!(world.engine.now().since(started), TIMEOUT - MARGIN);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_for_the_lease_of_a_dead_owner_and_runs_in_the_same_call() {
    let world = World::new([]);
    let call = world.call_within(REPEAT, RUN);
    let _dead = world.claim(&call).await;
    let started = world.engine.now();
    let retry = world.call_within(REPEAT, RUN).wait_for_lease(WAIT);
    let lease = Arc::new(Mutex::new(None));
    let run = |attempt: Attempt<Effect>| {
        let lease = Arc::clone(&lease);
        async move {
            *lease.lock().unwrap() = Some(attempt.remaining());
            Verdict::Success(attempt.number())
        }
    };
    let paid = world.elsewhere([]).engine.run(&retry, run).await;
    assert!(matches!(paid, Ok(Outcome::Executed(Answered { answer: 2, .. }))), "{paid:?}");
    assert_eq!(world.engine.now().since(started), RUN + MARGIN, "it looks again the moment the lease is over");
    assert_eq!(*lease.lock().unwrap(), Some(RUN), "a run after a wait has its whole time");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_does_not_begin_a_wait_that_may_be_in_vain() {
    let world = World::new([]);
    let running = world.call_within(Uncertain::Reconcile, RUN);
    let _running = world.claim(&running).await;
    let started = world.engine.now();
    let lease = RUN + MARGIN;
    // Longer than the longest wait, or too long to run afterwards before the deadline.
    for call in [
        world.call_within(Uncertain::Reconcile, RUN).wait_for_lease(lease - Duration::from_millis(1)),
        world
            .call_within(Uncertain::Reconcile, TIMEOUT - MARGIN - lease + Duration::from_millis(1))
            .wait_for_lease(lease),
    ] {
        let told = world.elsewhere([]).pay(&call).await.unwrap();
        assert_eq!(told, Outcome::InProgress { retry_after: lease });
    }
    assert_eq!(world.engine.now(), started);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_for_the_lease_waits_on_if_another_takes_over_first() {
    let world = World::new([]);
    let call = world.call_within(REPEAT, RUN);
    let _dead = world.claim(&call).await;
    tokio::time::advance(RUN + MARGIN).await;
    let second = world.run_for(&world.call_within(REPEAT, RUN), Duration::from_secs(1));
    tokio::task::yield_now().await;
    let waited = world.elsewhere([]).pay(&world.call_within(REPEAT, RUN).wait_for_lease(WAIT)).await;
    assert!(matches!(waited, Ok(Outcome::Replayed(Answered { answer: 7, .. }))), "{waited:?}");
    second.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_no_longer_than_it_could_run() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let _held = world.claim(&call).await;
    let started = world.engine.now();
    let waited = world.pay(&call.clone().wait(Duration::from_secs(3600))).await.unwrap();
    assert!(matches!(waited, Outcome::InProgress { .. }), "{waited:?}");
    assert_eq!(world.engine.now().since(started), TIMEOUT - Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_for_a_dead_owner_runs_when_the_lease_is_over() {
    let world = World::new([]);
    let dead = world.call(REPEAT, "a");
    let _dead = world.claim(&dead).await;
    tokio::time::advance(TIMEOUT - Duration::from_secs(1)).await;
    let paid = world.pay(&world.call(REPEAT, "a").wait(WAIT)).await;
    assert!(matches!(paid, Ok(Outcome::Executed(Answered { attempt: 2, .. }))), "{paid:?}");
}

#[tokio::test(start_paused = true)]
async fn another_request_does_not_wait() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let _held = world.claim(&call).await;
    let started = world.engine.now();
    assert_eq!(world.pay(&world.call(Uncertain::Reconcile, "b").wait(WAIT)).await.unwrap(), Outcome::Mismatch);
    assert_eq!(world.engine.now(), started);
}
