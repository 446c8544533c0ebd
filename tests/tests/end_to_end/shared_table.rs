//! Two applications on one table: records of the other application are shown and never changed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use idempotency::engine::{Claimed, Clock, SystemClock};
use idempotency::protocol::{
    ClaimRequest, Decision, EpochMs, Fingerprinter, Key, LeaseLimit, OwnerToken, Principal, Record, Subject,
    TransactionId, Uncertain, decide,
};
use idempotency::store::{Store, Written};
use idempotency::{Call, DynamoDbStore, Engine, Operation, Verdict};
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::dynamodb::RECORDS;
use tests::local_stack::{Setup, Stack, payment};

/// The operation and the subject of a record, which distinguish another application's records from ours.
#[derive(Clone, Copy, Debug)]
struct Foreign {
    operation: &'static str,
    subject: Option<&'static str>,
}

/// The first is made by the README's quick start. The others have an operation or a subject like ours, never both.
const FOREIGN: [Foreign; 4] = [
    Foreign { operation: "POST /orders", subject: None },
    Foreign { operation: "POST /payments", subject: None },
    Foreign { operation: "POST /payments", subject: Some(r#"{"order":"17","amount":1999,"currency":"EUR"}"#) },
    Foreign { operation: "POST /orders", subject: Some(r#"{"account":"acct-1","amount":1999,"currency":"EUR"}"#) },
];

/// The other application, whose function writes into the same table.
struct Other {
    store: DynamoDbStore,
    foreign: Foreign,
}

/// A clock that is a minute slow: its leases are over by every other clock.
struct MinuteAgo;

impl Clock for MinuteAgo {
    fn now(&self) -> EpochMs {
        EpochMs(SystemClock.now().0 - 60_000)
    }
}

impl Other {
    fn call(&self, now: EpochMs, key: &str) -> Call {
        let Foreign { operation, subject } = self.foreign;
        let key = Key::new(format!("{key} {operation} {}", subject.unwrap_or_default())).expect("a key");
        let principal = Principal::new("bob").expect("a principal");
        let deadline = now.plus(Duration::from_secs(10));
        let fingerprint = Fingerprinter::new().bytes(key.as_str().as_bytes()).finish();
        Call::new(Operation::new("orders", operation), principal, key, fingerprint, deadline)
            .about(subject.and_then(Subject::new))
    }

    async fn claimed(&self, clock: impl Clock + 'static, key: &str) {
        let engine = Engine::builder(self.store.clone()).clock(clock).build();
        let claimed = engine.claim(&self.call(engine.now(), key)).await.expect("the store answers");
        let Claimed::Acquired(_dies) = claimed else { panic!("nobody has the key") };
    }

    async fn ended(&self, key: &str, verdict: Verdict<Value>) {
        let engine = Engine::builder(self.store.clone()).build();
        engine.run(&self.call(engine.now(), key), |_| async { verdict }).await.expect("an outcome");
    }

    /// Leaves a record that the other application's own reconciler holds.
    async fn held_as_unknown(&self, key: &str, until: EpochMs) {
        self.ended(key, Verdict::Unknown("no answer".into())).await;
        let record = self.record(key).await;
        let request = ClaimRequest {
            id: record.id.clone(),
            operation: record.operation.clone(),
            principal: record.principal,
            subject: record.subject.clone(),
            invocation: None,
            trace: None,
            fingerprint: record.fingerprint,
            owner: OwnerToken([7; 16]),
            transaction: TransactionId::new(SystemClock.now(), [7; 10]),
            lease: LeaseLimit { at_most: Duration::MAX, by: until },
            uncertain: Uncertain::Reconcile,
        };
        let Decision::Reconcile(write) = decide(Some(&record), &request, SystemClock.now()) else {
            panic!("it is UNKNOWN")
        };
        assert!(matches!(self.store.write(&write, Vec::new()).await, Ok(Written::Applied)));
    }

    async fn record(&self, key: &str) -> Record {
        let id = self.call(SystemClock.now(), key).record_id();
        self.store.read(&id).await.expect("readable").expect("there")
    }

    /// Leaves a record in each state.
    async fn in_every_state(&self) {
        self.claimed(Ahead(Duration::from_secs(600)), "processing").await;
        self.claimed(MinuteAgo, "lease over").await;
        self.ended("released", Verdict::NotExecuted(json!(1))).await;
        self.ended("success", Verdict::Success(json!(1))).await;
        self.ended("failed", Verdict::Failed(json!(1))).await;
        self.ended("unknown", Verdict::Unknown("no answer".into())).await;
        self.held_as_unknown("unknown held", SystemClock.now().plus(Duration::from_secs(600))).await;
        self.held_as_unknown("unknown, hold over", EpochMs(SystemClock.now().0 - 1)).await;
    }
}

/// A clock that is ahead: its leases last longer than the test.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> EpochMs {
        SystemClock.now().plus(self.0)
    }
}

type Items = BTreeMap<String, HashMap<String, AttributeValue>>;

/// All of a table's records, byte for byte, without locks.
async fn items(tables: &Tables) -> Items {
    let scanned = tables.client.scan().table_name(RECORDS).consistent_read(true).send().await.expect("scans");
    let items = scanned.items.unwrap_or_default().into_iter();
    let items = items.map(|item| (item["id"].as_s().expect("a text").clone(), item));
    items.filter(|(id, _)| id.starts_with("idempotency:")).collect()
}

async fn with_foreign_records(stack: &Stack) -> (Tables, Items) {
    let tables = Tables::of(stack).await;
    for foreign in FOREIGN {
        let store = DynamoDbStore::new(tables.client.clone(), RECORDS);
        Other { store, foreign }.in_every_state().await;
    }
    let items = items(&tables).await;
    assert_eq!(items.len(), 8 * FOREIGN.len(), "each in each state");
    (tables, items)
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_another_application_are_left_as_they_are_in_every_state() {
    let stack = Setup::impatient().reconciled_on_demand().start().await;
    let (tables, before) = with_foreign_records(&stack).await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_timeout_after_charge");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown");

    let mut settled = 0;
    for _ in 0..3 {
        let report = stack.reconcile().await;
        settled += report["happened"].as_u64().expect("a number");
        assert_eq!((&report["prevented"], &report["unclear"], &report["errors"]), (&json!(0), &json!(0), &json!(0)));
        assert_eq!(report["unknown_open"], 0, "what others do not know is no outcome of ours: {report}");
        assert_eq!(report["abandoned_found"], 0, "{report}");
        assert_eq!(report["foreign"], 4 * FOREIGN.len(), "abandoned, and three times UNKNOWN: {report}");
    }
    assert_eq!(settled, 1, "ours is settled beside them");
    let mut after = items(&tables).await;
    after.retain(|id, _| before.contains_key(id));
    assert_eq!(after, before);
    assert_eq!(stack.charges().await.len(), 1);
    assert_eq!(stack.count("tombstone"), 0, "{}", stack.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_shows_records_of_another_application_and_settles_none() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, before) = with_foreign_records(&stack).await;
    let ours = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    let visitor = Visitor::of(&stack, "olga", "operator").await;
    let listing = olga.get("unresolved").await;
    assert_eq!(listing["count"], 3 * FOREIGN.len() + 1, "they are shown");

    for record in olga.unresolved().await.into_iter().filter(|record| *record != ours) {
        let details = olga.get(&format!("records/{record}")).await;
        assert_eq!((&details["ours"], &details["provider"]), (&json!(false), &Value::Null), "{details}");
        let page = visitor.open(&format!("/console/records/{record}")).await.text();
        assert!(page.contains("another application") && !page.contains("Settle it"), "{page}");
        let wish = json!({
            "reference": "pi_1", "evidence": "Nothing was charged at all.", "understood": "yes",
            "reason": "Seen in the provider's dashboard.",
        });
        for verb in ["ask", "succeed", "fail", "release"] {
            let refused = olga.call(Method::POST, &format!("records/{record}/{verb}"), Some(&wish)).await;
            assert_eq!(refused.problem(), "409 not-ours", "{verb}");
        }
    }
    assert_eq!(olga.get(&format!("records/{ours}")).await["ours"], true);
    let mut after = items(&tables).await;
    after.retain(|id, _| before.contains_key(id));
    assert_eq!(after, before);
}
