pub(crate) mod altered;
mod counted;
mod faults;
mod given_up;
mod long;
mod older;
mod peers;
mod remembered;
mod waiting;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use self::altered::Altered;
use super::*;
use crate::protocol::{Fingerprinter, Key, Principal, State, Subject, Uncertain, Write};
use crate::store::StoreError;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::{Effect, MemoryStore};

pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);
pub(crate) const REPEAT: Uncertain = Uncertain::Repeat { within: Duration::from_secs(3600) };
pub(crate) const EFFECT: &str = "charge";

/// A clock that follows tokio's time, which a test pauses.
pub(crate) struct TokioClock(tokio::time::Instant);

impl TokioClock {
    pub(crate) fn start() -> Self {
        Self(tokio::time::Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> EpochMs {
        EpochMs(1_800_000_000_000).plus(self.0.elapsed())
    }
}

/// A clock that a test sets, in epoch milliseconds.
#[derive(Clone, Default)]
pub(crate) struct SetClock(pub(crate) Arc<AtomicU64>);

impl Clock for SetClock {
    fn now(&self) -> EpochMs {
        EpochMs(self.0.load(Ordering::SeqCst))
    }
}

/// Which late owners were fenced, and by what.
#[derive(Clone, Default)]
struct Late(Arc<Mutex<Vec<FencedBy>>>);

pub(crate) type FencedBy = (u64, Option<u64>);

impl Observer for Late {
    fn fenced<'a>(&'a self, fenced: Fenced<'a>) -> futures::future::BoxFuture<'a, ()> {
        self.0.lock().unwrap().push((fenced.late.attempt, fenced.found.map(|found| found.attempt)));
        std::future::ready(()).boxed()
    }
}

type TestStore = FaultyStore<MemoryStore>;

pub(crate) struct World {
    pub(crate) memory: MemoryStore,
    late: Late,
    pub(crate) engine: Engine<TestStore>,
    runs: Arc<AtomicU64>,
}

impl World {
    pub(crate) fn new(plan: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        let (memory, late) = (MemoryStore::new(), Late::default());
        let engine = engine(FaultyStore::new(memory.clone(), plan), TokioClock::start(), &late);
        Arc::new(Self { memory, late, engine, runs: Arc::default() })
    }

    /// A world, and a call in it.
    pub(crate) fn with_call(uncertain: Uncertain, plan: impl IntoIterator<Item = Fault>) -> (Arc<Self>, Call) {
        let world = Self::new(plan);
        let call = world.call(uncertain, "a");
        (world, call)
    }

    /// The same world in another process, with an empty cache.
    fn elsewhere(&self, plan: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        let store = FaultyStore::new(self.memory.clone(), plan);
        let (engine, late) = (engine(store, Arc::clone(&self.engine.parts.clock), &self.late), self.late.clone());
        Arc::new(Self { memory: self.memory.clone(), late, engine, runs: Arc::default() })
    }

    /// The same world in another process, with an empty cache, which continues the fault plan and the run numbers.
    fn restarted(&self) -> Arc<Self> {
        let store = self.engine.store().clone();
        let (engine, late) = (engine(store, Arc::clone(&self.engine.parts.clock), &self.late), self.late.clone());
        Arc::new(Self { memory: self.memory.clone(), late, engine, runs: Arc::clone(&self.runs) })
    }

    pub(crate) fn call(&self, uncertain: Uncertain, body: &str) -> Call {
        self.call_to(Operation::new("test", "POST /payments").uncertain(uncertain), body)
    }

    pub(crate) fn call_to(&self, operation: Operation, body: &str) -> Call {
        call_to(operation, body, self.engine.now().plus(TIMEOUT))
    }

    pub(crate) async fn claim(&self, call: &Call) -> Box<Claim<TestStore>> {
        let Ok(Claimed::Acquired(claim)) = self.engine.claim(call).await else { panic!("must acquire") };
        claim
    }

    /// A claim whose lease is over.
    pub(crate) async fn late_claim(&self, call: &Call) -> Box<Claim<TestStore>> {
        let claim = self.claim(call).await;
        tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
        claim
    }

    /// One payment: it has one transactional effect, and its answer is the number of its run.
    pub(crate) async fn pay(&self, call: &Call) -> Result<Outcome<u64>, Error> {
        let run = |attempt: Attempt<Effect>| async move {
            attempt.add_effect(Effect::named(EFFECT));
            Verdict::Success(self.runs.fetch_add(1, Ordering::SeqCst) + 1)
        };
        self.engine.run(call, run).await
    }

    pub(crate) async fn ends_with(&self, call: &Call, verdict: Verdict<u64>) -> Result<Outcome<u64>, Error> {
        let run = |_| async move {
            self.runs.fetch_add(1, Ordering::SeqCst);
            verdict
        };
        self.engine.run(call, run).await
    }

    async fn pay_in_single_write(&self, call: &Call) -> Result<Outcome<u64>, Error> {
        let run = |attempt: Attempt<Effect>| async move {
            attempt.add_effect(Effect::named(EFFECT));
            Verdict::Success(attempt.number())
        };
        self.engine.run_single_write(call, run).await
    }

    pub(crate) fn fenced(&self) -> Vec<FencedBy> {
        self.late.0.lock().unwrap().clone()
    }

    pub(crate) fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }

    pub(crate) async fn record(&self, call: &Call) -> Option<Record> {
        self.memory.read(&call.record_id()).await.unwrap()
    }
}

fn engine(store: TestStore, clock: impl Clock + 'static, late: &Late) -> Engine<TestStore> {
    Engine::builder(store).clock(clock).observer(late.clone()).build()
}

pub(crate) fn call_to(operation: Operation, body: &str, deadline: EpochMs) -> Call {
    let (principal, key) = (Principal::new("alice").unwrap(), Key::new("k-1").unwrap());
    let fingerprint = Fingerprinter::new().bytes(body.as_bytes()).finish();
    Call::new(operation, principal, key, fingerprint, deadline).about(Subject::new("a payment"))
}

fn answer(outcome: &Result<Outcome<u64>, Error>) -> Option<u64> {
    match outcome {
        Ok(Outcome::Executed(answered) | Outcome::Replayed(answered)) => Some(answered.answer),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_call_is_answered_from_the_record_and_does_not_run() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    assert!(matches!(world.pay(&call).await, Ok(Outcome::Executed(Answered { answer: 1, attempt: 1, .. }))));
    assert!(matches!(world.pay(&call).await, Ok(Outcome::Replayed(Answered { answer: 1, attempt: 1, .. }))));
    assert_eq!((world.runs(), world.memory.applied(EFFECT)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_final_and_replayed() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let failed = world.ends_with(&call, Verdict::Failed(402)).await;
    assert!(matches!(failed, Ok(Outcome::Executed(Answered { resolution: Resolution::Failed, answer: 402, .. }))));
    let replayed = world.pay(&call).await;
    assert!(matches!(replayed, Ok(Outcome::Replayed(Answered { resolution: Resolution::Failed, answer: 402, .. }))));
}

#[tokio::test(start_paused = true)]
async fn another_request_under_a_used_key_neither_runs_nor_alters_the_record() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.pay(&call).await.unwrap();
    let before = world.record(&call).await;
    assert_eq!(world.pay(&world.call(REPEAT, "b")).await.unwrap(), Outcome::Mismatch);
    assert_eq!(world.record(&call).await, before);
    assert!(matches!(world.pay(&call).await, Ok(Outcome::Replayed(_))));
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_of_a_running_call_is_told_the_rest_of_the_lease() {
    let (world, call) = World::with_call(REPEAT, []);
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let first = tokio::spawn({
        let (world, call, started, go_on) = (world.clone(), call.clone(), started.clone(), go_on.clone());
        async move {
            let run = |_| async move {
                started.notify_one();
                go_on.notified().await;
                Verdict::Success(1)
            };
            world.engine.run(&call, run).await
        }
    });
    started.notified().await;
    let lease = TIMEOUT + Duration::from_secs(1);
    assert_eq!(world.pay(&call).await.unwrap(), Outcome::InProgress { retry_after: lease });
    assert_eq!(world.pay(&world.call(REPEAT, "b")).await.unwrap(), Outcome::Mismatch, "not in progress");
    go_on.notify_one();
    assert!(matches!(first.await.unwrap(), Ok(Outcome::Executed(_))));
    assert!(matches!(world.pay(&call).await, Ok(Outcome::Replayed(_))));
    assert_eq!(world.runs(), 0, "only the first call ran");
}

#[tokio::test(start_paused = true)]
async fn what_was_not_executed_runs_again_even_with_a_corrected_request() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    assert_eq!(world.ends_with(&call, Verdict::NotExecuted(400)).await.unwrap(), Outcome::NotExecuted(400));
    let first = world.record(&call).await.unwrap();
    let paid = world.pay(&world.call(Uncertain::Reconcile, "corrected")).await;
    let Ok(Outcome::Executed(answered)) = paid else { panic!("{paid:?}") };
    assert_eq!((answered.attempt, answered.transaction), (2, first.transaction));
}

#[tokio::test(start_paused = true)]
async fn an_expired_record_counts_as_absent_and_is_not_remembered() {
    let world = World::new([]);
    world.pay(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    tokio::time::advance(Duration::from_secs(24 * 60 * 60 - 1)).await;
    assert!(matches!(world.pay(&world.call(Uncertain::Reconcile, "a")).await, Ok(Outcome::Replayed(_))));
    tokio::time::advance(Duration::from_secs(1)).await;
    let paid = world.pay(&world.call(Uncertain::Reconcile, "b")).await;
    assert!(matches!(paid, Ok(Outcome::Executed(Answered { answer: 2, attempt: 1, .. }))), "{paid:?}");
    assert_eq!(answer(&world.pay(&world.call(Uncertain::Reconcile, "b")).await), Some(2), "the later answer");
}

#[tokio::test(start_paused = true)]
async fn a_panic_leaves_the_outcome_unknown_and_nothing_runs_again_without_evidence() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let run = |_| async { panic!("planned") };
    let outcome = world.engine.run::<u64, _, _>(&call, run).await;
    assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{outcome:?}");
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    let later = world.call(Uncertain::Reconcile, "a");
    assert!(matches!(world.pay(&later).await, Ok(Outcome::Unknown { .. })));
    assert_eq!(world.record(&call).await.unwrap().state, State::Unknown(None));
    assert_eq!((world.runs(), world.memory.applied(EFFECT)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_operation_declared_repeatable_runs_again_under_the_same_transaction_id() {
    let (world, call) = World::with_call(REPEAT, []);
    let unknown = world.ends_with(&call, Verdict::Unknown("no answer".into())).await;
    let Ok(Outcome::Unknown { transaction, .. }) = unknown else { panic!("{unknown:?}") };
    let paid = world.pay(&call).await;
    let Ok(Outcome::Executed(answered)) = paid else { panic!("{paid:?}") };
    assert_eq!((answered.attempt, answered.transaction), (2, transaction));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_executed_nothing_does_not_release_what_an_earlier_one_left_uncertain() {
    let (world, call) = World::with_call(REPEAT, []);
    world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
    let refused = world.ends_with(&call, Verdict::NotExecuted(503)).await;
    assert!(matches!(refused, Ok(Outcome::Unknown { .. })), "{refused:?}");
    assert_eq!(world.record(&call).await.unwrap().state, State::Unknown(None));
    assert_eq!(world.pay(&world.call(REPEAT, "another request")).await.unwrap(), Outcome::Mismatch);
    assert!(matches!(world.pay(&call).await, Ok(Outcome::Executed(Answered { attempt: 3, .. }))));
}

#[tokio::test(start_paused = true)]
async fn what_is_repeatable_is_left_unknown_when_its_time_is_over() {
    let (world, call) = World::with_call(REPEAT, []);
    world.ends_with(&call, Verdict::Unknown("no answer".into())).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(matches!(world.pay(&world.call(REPEAT, "a")).await, Ok(Outcome::Unknown { .. })));
    assert_eq!((world.runs(), world.memory.applied(EFFECT)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_would_outlive_its_deadline_is_stopped_in_time_and_abandoned() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let started = world.engine.now();
    let outcome = world.engine.run::<u64, _, _>(&call, |_| std::future::pending()).await;
    assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{outcome:?}");
    assert_eq!(world.engine.now().since(started), TIMEOUT - Duration::from_secs(2));
    assert_eq!(world.record(&call).await.unwrap().state, State::Unknown(None));
}

#[tokio::test(start_paused = true)]
async fn with_the_deadline_at_hand_nothing_is_claimed() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    assert!(world.engine.has_time(call.deadline), "so the engine has seen the function's time-out");
    tokio::time::advance(TIMEOUT - Duration::from_secs(2)).await;
    assert!(matches!(world.pay(&call).await, Err(Error::DeadlineAtHand { .. })));
    tokio::time::advance(TIMEOUT).await;
    assert!(matches!(world.pay(&call).await, Err(Error::DeadlineAtHand { .. })), "a deadline in the past is one, too");
    assert_eq!(world.record(&call).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_is_answered_from_the_record_and_changes_nothing() {
    let (world, call) = World::with_call(REPEAT, []);
    let late = world.late_claim(&call).await;
    let second = world.pay(&world.call(REPEAT, "a")).await;
    assert_eq!(answer(&second), Some(1));
    let settled = world.record(&call).await;

    let fenced = late.commit(Resolution::Success, 99_u64, vec![Effect::named(EFFECT)]).await;
    assert!(matches!(fenced, Ok(Outcome::Replayed(Answered { answer: 1, attempt: 2, .. }))), "{fenced:?}");
    assert_eq!(world.record(&call).await, settled);
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_owner_that_abandons_or_releases_leaves_the_settled_record_alone() {
    for end in ["abandon", "release"] {
        let world = World::new([]);
        let call = world.call(REPEAT, end);
        let late = world.late_claim(&call).await;
        world.pay(&world.call(REPEAT, end)).await.unwrap();
        let settled = world.record(&call).await;
        if end == "abandon" {
            let outcome = late.abandon("late".into()).await.unwrap();
            assert!(matches!(outcome, Outcome::Replayed(_)));
        } else {
            late.release().await.unwrap();
        }
        assert_eq!(world.record(&call).await, settled, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_the_store_unreachable_nothing_runs() {
    for fault in [Fault::Refuse, Fault::LoseRequest, Fault::LoseReply] {
        let world = World::new([fault]);
        let paid = world.pay(&world.call(Uncertain::Reconcile, "a")).await;
        assert!(matches!(paid, Err(Error::StoreUnavailable(_))), "{fault:?}: {paid:?}");
        assert_eq!((world.runs(), world.memory.applied(EFFECT)), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_commit_whose_reply_was_lost_is_found_out_to_have_happened() {
    for lost in [Fault::LoseReply, Fault::Repeat] {
        let (world, call) = World::with_call(Uncertain::Reconcile, [Fault::None, lost]);
        assert!(matches!(world.pay(&call).await, Ok(Outcome::Executed(Answered { answer: 1, .. }))), "{lost:?}");
        assert!(matches!(world.pay(&call).await, Ok(Outcome::Replayed(Answered { answer: 1, .. }))));
        assert_eq!(world.memory.applied(EFFECT), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn an_effect_whose_own_condition_fails_leaves_the_outcome_unknown() {
    let world = World::new([]);
    let run = |attempt: Attempt<Effect>| async move {
        attempt.add_effect(Effect::only_once(EFFECT));
        attempt.add_effect(Effect::only_once("second"));
        Verdict::Success(1_u64)
    };
    let call = world.call(Uncertain::Reconcile, "a");
    world.engine.run(&call, run).await.unwrap();
    world.memory.sweep(EpochMs(u64::MAX));
    let again = world.elsewhere([]).engine.run(&call, run).await;
    assert!(matches!(again, Ok(Outcome::Unknown { .. })), "{again:?}");
    assert_eq!((world.memory.applied(EFFECT), world.memory.applied("second")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn an_operation_may_call_another_on_the_same_engine() {
    let world = World::new([]);
    let outer = world.call(Uncertain::Reconcile, "outer");
    let inner = Operation::new("test", "inner").retention(Duration::from_secs(1));
    let inner = world.call_to(inner, "inner").with_key("k-2");
    let run = |_| async {
        let inner = world.pay(&inner).await;
        Verdict::Success(answer(&inner).unwrap() + 10)
    };
    assert_eq!(answer(&world.engine.run(&outer, run).await), Some(11));
    tokio::time::advance(Duration::from_secs(2)).await;
    let replayed = world.pay(&world.call(Uncertain::Reconcile, "outer")).await;
    assert_eq!(answer(&replayed), Some(11), "the shorter retention of the inner one does not touch the outer");
}

#[tokio::test(start_paused = true)]
async fn in_single_write_the_effect_is_applied_once_whatever_is_lost() {
    for fault in [Fault::None, Fault::Refuse, Fault::Reject, Fault::LoseRequest, Fault::LoseReply, Fault::Repeat] {
        let (world, call) = World::with_call(Uncertain::Reconcile, [fault]);
        let first = world.pay_in_single_write(&call).await;
        match fault {
            Fault::None | Fault::Repeat => assert!(matches!(first, Ok(Outcome::Executed(_)))),
            Fault::Refuse | Fault::Reject | Fault::LoseRequest | Fault::LoseReply => {
                assert!(matches!(first, Err(Error::NotRecorded { .. })), "{first:?}");
            }
        }
        assert_eq!(answer(&world.pay_in_single_write(&call).await), Some(1));
        assert_eq!(world.memory.applied(EFFECT), 1, "{fault:?}");
        let other = world.pay_in_single_write(&world.call(Uncertain::Reconcile, "b")).await;
        assert!(matches!(other, Ok(Outcome::Mismatch)));
    }
}

#[tokio::test(start_paused = true)]
async fn single_write_goes_on_where_a_claim_was_released() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.ends_with(&call, Verdict::NotExecuted(0)).await.unwrap();
    let released = world.record(&call).await.unwrap();
    let outcome = world.pay_in_single_write(&call).await;
    let Ok(Outcome::Executed(answered)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((answered.answer, answered.transaction), (2, released.transaction));
}

/// Found by the model. Both continue under the released record's transaction id, with the same attempt number.
#[tokio::test(start_paused = true)]
async fn single_write_over_a_release_does_not_take_the_answer_of_another_for_its_own() {
    for (body, expected) in [("a", "Replayed 7"), ("b", "Mismatch")] {
        let world = World::new([]);
        world.ends_with(&world.call(Uncertain::Reconcile, "a"), Verdict::NotExecuted(0)).await.unwrap();
        let faster = |_| async { Verdict::Success(7) };
        let run = |attempt: Attempt<Effect>| {
            let world = &world;
            async move {
                if attempt.number() == 2 {
                    let faster = world.engine.run_single_write(&world.call(Uncertain::Reconcile, "a"), faster).await;
                    assert_eq!(answer(&faster), Some(7));
                }
                attempt.add_effect(Effect::named(EFFECT));
                Verdict::Success(8)
            }
        };
        let slower = world.engine.run_single_write(&world.call(Uncertain::Reconcile, body), run).await;
        let shown = match slower {
            Ok(Outcome::Replayed(answered)) => format!("Replayed {}", answered.answer),
            other => format!("{:?}", other.unwrap()),
        };
        assert_eq!((shown.as_str(), world.memory.applied(EFFECT)), (expected, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn single_write_does_not_run_over_a_claim() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let _running = world.claim(&call).await;
    assert!(matches!(world.pay_in_single_write(&call).await, Ok(Outcome::InProgress { .. })));
    tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
    let later = world.call(Uncertain::Reconcile, "a");
    assert!(matches!(world.pay_in_single_write(&later).await, Ok(Outcome::Unknown { .. })));
    assert_eq!(world.memory.applied(EFFECT), 0);
}

#[tokio::test(start_paused = true)]
async fn in_single_write_a_panic_means_that_nothing_happened() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let outcome = world.engine.run_single_write::<u64, _, _>(&call, |_| async { panic!("planned") }).await;
    assert!(matches!(outcome, Err(Error::NothingHappened(_))), "{outcome:?}");
    assert_eq!(world.record(&call).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_as_long_as_records_are_kept_writes_nothing_over_what_may_be_forgotten() {
    // Shorter than the function's time-out, which would end the call as well.
    let retention = TIMEOUT / 5;
    let world = World::new([]);
    let call = || world.call_to(Operation::new("test", "POST /payments").retention(retention), "a");
    for ends_after in [retention - Duration::from_millis(1), retention] {
        let run = async |attempt: Attempt<Effect>| {
            // Another call settles meanwhile; after the retention its record is gone.
            let other = world.elsewhere([]);
            assert!(matches!(other.pay_in_single_write(&call()).await, Ok(Outcome::Executed(_))));
            tokio::time::advance(ends_after).await;
            world.memory.sweep(world.engine.now());
            attempt.add_effect(Effect::named(EFFECT));
            Verdict::Success(9_u64)
        };
        let applied = world.memory.applied(EFFECT);
        let outcome = world.elsewhere([]).engine.run_single_write(&call(), run).await;
        match ends_after < retention {
            true => assert!(matches!(outcome, Ok(Outcome::Replayed(_))), "{outcome:?}"),
            false => assert!(matches!(outcome, Err(Error::NothingHappened(_))), "{outcome:?}"),
        }
        assert_eq!(world.memory.applied(EFFECT), applied + 1, "only that of the other call");
        world.memory.sweep(EpochMs(u64::MAX));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_cannot_be_read_never_runs_again() {
    let unreadable =
        |_: &Write, _| Err(StoreError::Unreadable { digest: String::new(), problem: "of a later version".into() });
    let store = Altered::new(MemoryStore::new(), unreadable);
    let engine = Engine::builder(store).clock(TokioClock::start()).build();
    let call = World::new([]).call(REPEAT, "a");
    let outcome = engine.run::<u64, _, _>(&call, |_| async { panic!("must not run") }).await;
    assert!(matches!(outcome, Err(Error::StoreUnavailable(StoreError::Unreadable { .. }))));

    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    world.ends_with(&call, Verdict::Success(1)).await.unwrap();
    let outcome = world.engine.run::<String, _, _>(&call, |_| async { panic!("must not run") }).await;
    assert!(matches!(outcome, Err(Error::UnreadableAnswer { .. })), "{outcome:?}");
}
