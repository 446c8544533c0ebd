//! What runs over a store, on a real server: the lock, reconciliation, and follow-ups.

use std::sync::Mutex;
use std::time::Duration;

use idempotency::engine::{Claimed, Clock, SystemClock};
use idempotency::lock::conformance;
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Principal, Record, State, TransactionId, Uncertain};
use idempotency::reconcile::{Evidence, Operations, Reconciled, Resolver};
use idempotency::store::Store;
use idempotency::store::unsettled::{ScanPlace, Unsettled};
use idempotency::store::valkey::{Effect, ValkeyStore};
use idempotency::{Attempt, Call, Engine, Operation, Outcome, RecordLock, Verdict};

use super::server::{Kind, Running};

/// A clock that is ahead, as if that time had passed.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> EpochMs {
        SystemClock.now().plus(self.0)
    }
}

const LATER: Duration = Duration::from_secs(60);

fn process(server: &Running, ahead: Duration) -> Engine<ValkeyStore> {
    Engine::builder(server.store()).clock(Ahead(ahead)).build()
}

fn call(engine: &Engine<ValkeyStore>, key: &str) -> Call {
    Call::new(
        Operation::new("orders", "place order").uncertain(Uncertain::Reconcile),
        Principal::new("alice").expect("valid"),
        Key::new(key).expect("valid"),
        Fingerprinter::new().finish(),
        engine.now().plus(Duration::from_secs(10)),
    )
    .about(idempotency::protocol::Subject::new("an order"))
}

fn operations() -> Operations {
    Operations::new().with(Operation::new("orders", "place order"), |_| true)
}

const SHIPPED: &str = "{test}shipped";

/// The external system, which was asked about these transactions. What happened is counted with the record.
struct OtherSide {
    evidence: Evidence<u64>,
    asked: Mutex<Vec<TransactionId>>,
}

impl OtherSide {
    fn says(evidence: Evidence<u64>) -> Self {
        Self { evidence, asked: Mutex::default() }
    }
}

impl Resolver<Effect, u64> for OtherSide {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<u64> {
        self.asked.lock().expect("no panic").push(record.transaction);
        if matches!(self.evidence, Evidence::Happened(_)) {
            attempt.add_effect(Effect::increment(SHIPPED, 1));
        }
        self.evidence.clone()
    }
}

/// Leaves an attempt whose process died.
async fn died(server: &Running, key: &str) -> TransactionId {
    let engine = process(server, Duration::ZERO);
    let Ok(Claimed::Acquired(claim)) = engine.claim(&call(&engine, key)).await else { panic!("must acquire") };
    claim.record().transaction
}

/// The abandoned claims and the UNKNOWN records, as a reconciler finds them.
async fn found(store: &ValkeyStore, now: EpochMs) -> Vec<Record> {
    let place = ScanPlace { segment: 0, segments: 1, after: None };
    let mut found = store.scan(&place, now, 100).await.expect("readable").abandoned;
    found.extend(store.unknown(100, None).await.expect("readable").records);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lock_in_a_record_conforms_on_a_server_and_its_fences_grow() {
    for kind in Kind::all("the_lock_in_a_record_conforms_on_a_server_and_its_fences_grow") {
        let server = Running::start(kind, &[]);
        let lock =
            async |name: String| RecordLock::new(process(&server, Duration::ZERO), name, Duration::from_secs(30));
        conformance::all(lock).await;
        conformance::fences_grow(lock).await;
    }
}

/// By a reconciler in another process, which finds in the server's indexes what nobody retries.
#[tokio::test(flavor = "multi_thread")]
async fn a_reconciler_settles_by_evidence_what_it_finds_on_a_server() {
    for kind in Kind::all("a_reconciler_settles_by_evidence_what_it_finds_on_a_server") {
        let server = Running::start(kind, &[]);
        for (key, evidence, expected) in [
            ("happened", Evidence::Happened(7), Reconciled::Happened),
            ("refused", Evidence::Refused(402), Reconciled::Refused),
            ("prevented", Evidence::Prevented, Reconciled::Prevented),
            ("unclear", Evidence::Unclear("not found".into()), Reconciled::Unclear),
        ] {
            let transaction = died(&server, key).await;
            let (engine, other) = (process(&server, LATER), OtherSide::says(evidence));
            assert_eq!(found(&server.store(), SystemClock.now()).await, [], "{key}: its lease is not over");
            let records = found(&server.store(), engine.now()).await;
            let [record] = records.as_slice() else { panic!("{key}: {records:?}") };
            let deadline = engine.now().plus(Duration::from_secs(10));
            let reconciled = engine.reconcile(record, &operations(), deadline, None, &other).await.expect("answered");
            assert_eq!(reconciled, expected, "{key}");
            let again = engine.reconcile(record, &operations(), deadline, None, &other).await.expect("answered");
            assert_eq!(again, Reconciled::NotOpen, "{key}: what was seen is no longer so");
            assert_eq!(*other.asked.lock().expect("no panic"), [transaction], "{key}");
            let retry = process(&server, LATER);
            let run = async |attempt: Attempt<Effect>| Verdict::Success(1000 + attempt.number());
            let unclear = OtherSide::says(Evidence::Unclear("still".into()));
            let outcome = retry.run_or_reconcile(&call(&retry, key), run, &unclear).await.expect("an outcome");
            let (answer, is_unknown) = match &outcome {
                Outcome::Executed(answered) | Outcome::Replayed(answered) => (Some(answered.answer), false),
                other => (None, matches!(other, Outcome::Unknown { .. })),
            };
            match key {
                "happened" => assert_eq!(answer, Some(7), "{outcome:?}"),
                "refused" => assert_eq!(answer, Some(402), "{outcome:?}"),
                "prevented" => assert!(answer.is_some_and(|answer| answer > 1000), "it ran: {outcome:?}"),
                _ => assert!(is_unknown, "{outcome:?}"),
            }
        }
        assert_eq!(server.text(&["GET", SHIPPED]), "1", "written with the record that it settled");
    }
}

/// What reconciles may die as well.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_record_stays_listed_on_a_server_until_it_is_settled() {
    for kind in Kind::all("an_unknown_record_stays_listed_on_a_server_until_it_is_settled") {
        let server = Running::start(kind, &[]);
        died(&server, "k-1").await;
        for (minutes, evidence) in [(1, None), (2, None), (3, Some(Evidence::Happened(7)))] {
            let engine = process(&server, LATER * minutes);
            let records = found(&server.store(), engine.now()).await;
            let [record] = records.as_slice() else { panic!("{records:?}") };
            let deadline = engine.now().plus(Duration::from_secs(10));
            let other = OtherSide::says(evidence.unwrap_or_else(|| Evidence::Unclear("no".into())));
            engine.reconcile(record, &operations(), deadline, None, &other).await.expect("answered");
        }
        assert_eq!(found(&server.store(), SystemClock.now().plus(LATER * 4)).await, []);
        let engine = process(&server, Duration::ZERO);
        let record = server.store().read(&call(&engine, "k-1").record_id()).await.expect("readable").expect("stored");
        assert!(matches!(record.state, State::Success(_)), "{record:?}");
    }
}

mod follow_up {
    use idempotency::follow_up::{FollowUpEvent, FollowUpResponse, FollowUps, Sender};
    use idempotency::protocol::FollowUp;
    use idempotency::store::BoxError;

    use super::*;

    /// Nothing is to be sent on.
    struct Nobody;

    impl Sender for Nobody {
        async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
            Err(format!("{follow_ups:?}").into())
        }
    }

    /// Only a table has a stream that makes follow-ups; whoever has one for a record on a server can have it looked at.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_follow_up_settles_a_record_on_a_server_once() {
        for kind in Kind::all("a_follow_up_settles_a_record_on_a_server_once") {
            let server = Running::start(kind, &[]);
            died(&server, "k-1").await;
            let engine = process(&server, LATER);
            let claim = server.store().read(&call(&engine, "k-1").record_id()).await.expect("readable");
            let follow_up = FollowUp::of(&claim.expect("stored")).expect("held");
            let other = OtherSide::says(Evidence::Happened(7));
            let follow_ups = FollowUps::new(engine.clone(), operations(), Nobody);
            let mut reports = Vec::new();
            for _ in 0..2 {
                let event = FollowUpEvent::FollowUps(vec![follow_up.clone()]);
                let deadline = engine.now().plus(LATER);
                match follow_ups.handle(event, deadline, None, &other).await {
                    Ok(FollowUpResponse::FollowUps(report)) => reports.push((report.happened, report.over)),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(reports, [(1, 0), (0, 1)]);
            assert_eq!(server.text(&["GET", SHIPPED]), "1");
        }
    }
}
