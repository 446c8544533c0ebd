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
}

const WAIT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_gets_the_answer_of_the_running_call() {
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
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
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
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
async fn a_duplicate_waits_no_longer_than_it_could_run() {
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
    let Ok(Claimed::Acquired(_held)) = world.engine.claim(&call).await else { panic!("must acquire") };
    let started = world.engine.now();
    let waited = world.pay(&call.clone().wait(Duration::from_secs(3600))).await.unwrap();
    assert!(matches!(waited, Outcome::InProgress { .. }), "{waited:?}");
    assert_eq!(world.engine.now().since(started), TIMEOUT - Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_that_waits_for_a_dead_owner_runs_when_the_lease_is_over() {
    let world = World::new([]);
    let dead = world.call(REPEAT, "a");
    let Ok(Claimed::Acquired(_dead)) = world.engine.claim(&dead).await else { panic!("must acquire") };
    tokio::time::advance(TIMEOUT - Duration::from_secs(1)).await;
    let paid = world.pay(&world.call(REPEAT, "a").wait(WAIT)).await;
    assert!(matches!(paid, Ok(Outcome::Executed(Answered { attempt: 2, .. }))), "{paid:?}");
}

#[tokio::test(start_paused = true)]
async fn another_request_does_not_wait() {
    let world = World::new([]);
    let call = world.call(Uncertain::Reconcile, "a");
    let Ok(Claimed::Acquired(_held)) = world.engine.claim(&call).await else { panic!("must acquire") };
    let started = world.engine.now();
    assert_eq!(world.pay(&world.call(Uncertain::Reconcile, "b").wait(WAIT)).await.unwrap(), Outcome::Mismatch);
    assert_eq!(world.engine.now(), started);
}
