use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::engine::tests::{EFFECT, TIMEOUT, World};
use crate::protocol::{HistoryEvent, State, Subject, TransactionId};
use crate::store::memory::Effect;
use crate::{Answered, Attempt, Operation, Outcome, Verdict};

/// An external system: its evidence about a transaction id, and the ids it was asked about.
#[derive(Clone)]
pub(crate) struct OtherSide<T = u64> {
    evidence: Evidence<T>,
    asked: Arc<Mutex<Vec<TransactionId>>>,
}

impl<T: Clone + Send + Sync> Resolver<Effect, T> for OtherSide<T> {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<T> {
        assert!(matches!(record.state, State::Unknown(Some(_))), "held while it is asked about: {record:?}");
        self.asked.lock().unwrap().push(record.transaction);
        match self.evidence {
            Evidence::Happened(_) => attempt.add_effect(Effect::named(EFFECT)),
            Evidence::Prevented => attempt.add_effect(Effect::named(RELEASED)),
            Evidence::Refused(_) | Evidence::Unclear(_) => {}
        }
        self.evidence.clone()
    }
}

/// An effect that an application may want to write with a release.
const RELEASED: &str = "released";

impl<T> OtherSide<T> {
    pub(crate) fn says(evidence: Evidence<T>) -> Self {
        Self { evidence, asked: Arc::default() }
    }

    pub(crate) fn asked(&self) -> Vec<TransactionId> {
        self.asked.lock().unwrap().clone()
    }
}

pub(crate) async fn retry(world: &World, body: &str, other: &OtherSide) -> Result<Outcome<u64>, Error> {
    let run = |attempt: Attempt<Effect>| async move {
        attempt.add_effect(Effect::named(EFFECT));
        Verdict::Success(1000 + attempt.number())
    };
    let call = world.call(Uncertain::Reconcile, body);
    world.engine.run_or_reconcile(&call, run, other).await
}

/// Leaves an attempt with an unknown outcome, and returns its transaction id.
async fn left_unknown(world: &World) -> TransactionId {
    let call = world.call(Uncertain::Reconcile, "a");
    let outcome = world.ends_with(&call, Verdict::Unknown("no answer".into())).await;
    let Ok(Outcome::Unknown { transaction, .. }) = outcome else { panic!("{outcome:?}") };
    transaction
}

/// A world with one attempt, whose outcome is unknown, and its transaction id.
async fn unknown() -> (Arc<World>, TransactionId) {
    let world = World::new([]);
    let transaction = left_unknown(&world).await;
    (world, transaction)
}

/// Leaves an attempt whose process died.
async fn left_processing(world: &World) -> TransactionId {
    let call = world.call(Uncertain::Reconcile, "a");
    let claim = world.late_claim(&call).await;
    claim.record().transaction
}

pub(crate) async fn scheduled(world: &World, other: &OtherSide) -> Result<Reconciled, Error> {
    let record = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    reconcile(world, &record, other).await
}

async fn reconcile(world: &World, record: &Record, resolver: &impl Resolver<Effect, u64>) -> Result<Reconciled, Error> {
    let operations = Operations::new().with(Operation::new("test", "POST /payments"), |_| true);
    let deadline = world.engine.now().plus(TIMEOUT);
    world.engine.reconcile(record, &operations, deadline, InvocationId::parse(REQUEST), resolver).await
}

const REQUEST: &str = "01935b4a-7c00-7000-8000-000000000009";

#[tokio::test(start_paused = true)]
async fn what_happened_is_settled_and_replayed_and_does_not_run_again() {
    for died in [false, true] {
        let world = World::new([]);
        let transaction = if died { left_processing(&world).await } else { left_unknown(&world).await };
        let other = OtherSide::says(Evidence::Happened(7));
        let first = retry(&world, "a", &other).await;
        assert!(matches!(first, Ok(Outcome::Executed(Answered { answer: 7, attempt: 2, .. }))), "{first:?}");
        assert!(matches!(retry(&world, "a", &other).await, Ok(Outcome::Replayed(Answered { answer: 7, .. }))));
        assert_eq!((other.asked(), world.memory.applied(EFFECT)), (vec![transaction], 1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_refused_is_final() {
    let (world, _) = unknown().await;
    let other = OtherSide::says(Evidence::Refused(402));
    for _ in 0..2 {
        let outcome = retry(&world, "a", &other).await.unwrap();
        let (Outcome::Executed(answered) | Outcome::Replayed(answered)) = outcome else { panic!("{outcome:?}") };
        assert_eq!((answered.resolution, answered.answer), (Resolution::Failed, 402));
    }
    assert_eq!(world.memory.applied(EFFECT), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_prevented_runs_under_a_new_transaction_id() {
    let (world, prevented) = unknown().await;
    let other = OtherSide::says(Evidence::Prevented);
    let outcome = retry(&world, "a", &other).await;
    let Ok(Outcome::Executed(answered)) = outcome else { panic!("{outcome:?}") };
    assert_eq!((answered.answer, answered.attempt), (1003, 3));
    assert_ne!(answered.transaction, prevented);
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_unclear_stays_unknown_and_nothing_runs_however_long_it_takes() {
    let (world, _) = unknown().await;
    let other = OtherSide::says(Evidence::Unclear("not found".into()));
    for _ in 0..3 {
        assert!(matches!(retry(&world, "a", &other).await, Ok(Outcome::Unknown { .. })));
        tokio::time::advance(Duration::from_secs(1_000_000)).await;
    }
    assert_eq!((other.asked().len(), world.memory.applied(EFFECT)), (3, 0));
    assert_eq!(world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap().state, State::Unknown(None));
}

#[tokio::test(start_paused = true)]
async fn a_resolver_that_panics_or_never_ends_says_nothing() {
    struct Broken {
        panics: bool,
    }

    impl Resolver<Effect, u64> for Broken {
        async fn resolve(&self, _: &Record, _: Attempt<Effect>) -> Evidence<u64> {
            if self.panics { panic!("planned") } else { std::future::pending().await }
        }
    }

    for panics in [true, false] {
        let (world, _) = unknown().await;
        let run = |_| async { panic!("must not run") };
        let call = world.call(Uncertain::Reconcile, "a");
        let outcome = world.engine.run_or_reconcile(&call, run, &Broken { panics }).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{outcome:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_request_does_not_drive_the_reconciliation() {
    let (world, _) = unknown().await;
    let other = OtherSide::says(Evidence::Happened(7));
    assert_eq!(retry(&world, "b", &other).await.unwrap(), Outcome::Mismatch);
    assert!(other.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_schedule_settles_what_nobody_retries_and_the_late_retry_replays() {
    for died in [false, true] {
        let world = World::new([]);
        let transaction = if died { left_processing(&world).await } else { left_unknown(&world).await };
        let other = OtherSide::says(Evidence::Happened(7));
        assert_eq!(scheduled(&world, &other).await.unwrap(), Reconciled::Happened);
        assert_eq!(scheduled(&world, &other).await.unwrap(), Reconciled::NotOpen);
        assert_eq!((other.asked(), world.memory.applied(EFFECT)), (vec![transaction], 1));
        let late = retry(&world, "a", &OtherSide::says(Evidence::Prevented)).await;
        assert!(matches!(late, Ok(Outcome::Replayed(Answered { answer: 7, .. }))), "{late:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn effects_of_a_release_are_written_with_it_or_it_stays_unknown() {
    struct Releases(&'static str);

    impl Resolver<Effect, u64> for Releases {
        async fn resolve(&self, _: &Record, attempt: Attempt<Effect>) -> Evidence<u64> {
            attempt.add_effect(Effect::only_once(self.0));
            Evidence::Prevented
        }
    }

    let (world, _) = unknown().await;
    let record = async || world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    assert_eq!(reconcile(&world, &record().await, &Releases("token")).await.unwrap(), Reconciled::Prevented);
    assert_eq!(world.memory.applied("token"), 1);

    left_unknown(&world).await;
    assert_eq!(reconcile(&world, &record().await, &Releases("token")).await.unwrap(), Reconciled::Unclear);
    assert_eq!((record().await.state, world.memory.applied("token")), (State::Unknown(None), 1));
}

#[tokio::test(start_paused = true)]
async fn the_story_tells_who_did_what() {
    let world = World::new([]);
    left_processing(&world).await;
    let other = OtherSide::says(Evidence::Unclear("no".into()));
    for _ in 0..3 {
        assert_eq!(scheduled(&world, &other).await.unwrap(), Reconciled::Unclear);
    }
    assert_eq!(scheduled(&world, &OtherSide::says(Evidence::Happened(7))).await.unwrap(), Reconciled::Happened);
    let history = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap().history;
    let reconciler = InvocationId::parse(REQUEST);
    let told: Vec<_> = history.entries().iter().map(|step| (step.event, step.attempt, step.request)).collect();
    let expected = [
        (HistoryEvent::Claimed, 1, None),
        (HistoryEvent::Reconciling, 5, reconciler),
        (HistoryEvent::Succeeded, 5, reconciler),
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn what_the_schedule_finds_prevented_runs_at_the_next_call_under_a_new_transaction_id() {
    let (world, prevented) = unknown().await;
    assert_eq!(scheduled(&world, &OtherSide::says(Evidence::Prevented)).await.unwrap(), Reconciled::Prevented);
    let outcome = retry(&world, "a", &OtherSide::says(Evidence::Unclear("must not be asked".into()))).await;
    let Ok(Outcome::Executed(answered)) = outcome else { panic!("{outcome:?}") };
    assert_ne!(answered.transaction, prevented);
    assert_eq!(world.memory.applied(EFFECT), 1);
}

#[tokio::test(start_paused = true)]
async fn the_schedule_leaves_alone_what_is_held_or_settled() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let claim = world.claim(&call).await;
    let other = OtherSide::says(Evidence::Prevented);
    assert_eq!(scheduled(&world, &other).await.unwrap(), Reconciled::NotOpen, "running");
    claim.commit(Resolution::Success, 1_u64, vec![]).await.unwrap();
    assert_eq!(scheduled(&world, &other).await.unwrap(), Reconciled::NotOpen, "settled");
    assert!(other.asked().is_empty());
}

/// In another library, the recovery of an apparently abandoned record overwrote a result that was settled meanwhile.
#[tokio::test(start_paused = true)]
async fn a_takeover_of_what_was_settled_since_it_was_seen_changes_nothing() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let slow = world.claim(&call).await;
    let stale = world.record(&call).await.unwrap();
    tokio::time::advance(TIMEOUT + Duration::from_secs(1)).await;
    slow.commit(Resolution::Success, 1_u64, vec![Effect::named(EFFECT)]).await.unwrap();
    let settled = world.record(&call).await;
    let other = OtherSide::says(Evidence::Refused(402));
    assert_eq!(reconcile(&world, &stale, &other).await.unwrap(), Reconciled::NotOpen);
    assert_eq!((world.record(&call).await, other.asked().len()), (settled, 0));
}

#[tokio::test(start_paused = true)]
async fn of_two_reconcilers_that_saw_the_same_record_one_holds_it() {
    let (world, _) = unknown().await;
    let stale = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    let unclear = OtherSide::says(Evidence::Unclear("no".into()));
    assert_eq!(scheduled(&world, &unclear).await.unwrap(), Reconciled::Unclear);
    assert_eq!(reconcile(&world, &stale, &unclear).await.unwrap(), Reconciled::NotOpen);
    assert_eq!(unclear.asked().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_late_for_the_reconciliation_changes_nothing_and_is_reported() {
    let (world, call) = World::with_call(Uncertain::Reconcile, []);
    let late = world.late_claim(&call).await;
    assert_eq!(scheduled(&world, &OtherSide::says(Evidence::Refused(402))).await.unwrap(), Reconciled::Refused);
    let outcome = late.commit(Resolution::Success, 1_u64, vec![Effect::named(EFFECT)]).await.unwrap();
    assert!(matches!(outcome, Outcome::Replayed(Answered { answer: 402, .. })), "{outcome:?}");
    assert_eq!(world.memory.applied(EFFECT), 0);
    assert_eq!(world.fenced(), [(1, Some(2))], "attempt 1 was late, attempt 2 had settled it");
}

fn of_orders() -> Operations {
    Operations::new().with(Operation::new("test", "POST /orders"), |_| true)
}

fn of_payments_about(what: fn(&Subject) -> bool) -> Operations {
    Operations::new().with(Operation::new("test", "POST /payments"), what)
}

#[tokio::test(start_paused = true)]
async fn a_record_of_no_declared_operation_is_neither_asked_about_nor_written() {
    for died in [false, true] {
        let world = World::new([]);
        let _ = if died { left_processing(&world).await } else { left_unknown(&world).await };
        let before = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
        let without_subject = Record { subject: None, ..before.clone() };
        let other = OtherSide::<u64>::says(Evidence::Prevented);
        let deadline = world.engine.now().plus(TIMEOUT);
        for (record, operations) in [
            (&before, Operations::new()),
            (&before, of_orders()),
            (&before, of_payments_about(|subject| subject.as_str() == "an order")),
            (&without_subject, of_payments_about(|_| true)),
        ] {
            let reconciled = world.engine.reconcile(record, &operations, deadline, None, &other).await;
            assert!(matches!(reconciled, Ok(Reconciled::Foreign)), "{reconciled:?}");
        }
        assert_eq!(world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap(), before);
        assert!(other.asked().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn what_evidence_settles_is_kept_for_the_retention_of_its_operation() {
    let (world, _) = unknown().await;
    let record = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    let kept = Duration::from_secs(29 * 24 * 60 * 60);
    let operations = Operations::new()
        .with(Operation::new("test", "POST /orders"), |_| true)
        .with(Operation::new("test", "POST /payments").retention(kept), |subject| subject.as_str() == "a payment");
    let deadline = world.engine.now().plus(TIMEOUT);
    let other = OtherSide::says(Evidence::Happened(7));
    let reconciled = world.engine.reconcile(&record, &operations, deadline, None, &other).await;
    assert!(matches!(reconciled, Ok(Reconciled::Happened)), "{reconciled:?}");
    let settled = world.record(&world.call(Uncertain::Reconcile, "a")).await.unwrap();
    assert_eq!(settled.expiration(), Some(world.engine.now().seconds().plus(kept)));
}
