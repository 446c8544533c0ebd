//! Tests on an embedded DynamoDB: a run that fails does not block later runs.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::TransactWriteItem;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};
use idempotency::engine::{Claimed, Clock, SystemClock, SystemEntropy};
use idempotency::protocol::{Fingerprinter, Key, Principal, RecordId, Subject};
use idempotency::telemetry::metrics::{Metrics, NoMetrics};
use idempotency::{Attempt, Call, DynamoDbStore, Outcome, Verdict};
use payments::{ApiKey, Invocation, Provider, Table};
use serde_json::{Value, json};

use super::*;

const RECORDS: &str = "Records";
const PAYMENTS: &str = "Payments";

/// Whether the records table has its index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Index {
    There,
    /// Every query for UNKNOWN records fails.
    Missing,
}

/// A reconciler with its own DynamoDB.
struct World {
    client: Client,
    engine: Engine<DynamoDbStore>,
    handler: Handler<DynamoDbStore>,
}

impl World {
    async fn start(index: Index, metrics: impl Metrics + 'static) -> Self {
        let client = database().await;
        create(&client, PAYMENTS, &["pk", "sk"], None).await;
        create(&client, RECORDS, &["id"], (index == Index::There).then_some("unresolved")).await;
        let store = DynamoDbStore::new(client.clone(), RECORDS);
        let engine = Engine::builder(store.clone()).metrics(metrics).build();
        // Nothing listens there, because no lookup is expected.
        let provider =
            Provider::new("http://127.0.0.1:9", ApiKey::fixed("sk_test_1").unwrap(), Duration::from_millis(100))
                .unwrap();
        let resolver = ProviderResolver::new(provider, Table::new(client.clone(), PAYMENTS));
        let checkpoints = Checkpoints::new(client.clone(), PAYMENTS.to_owned());
        let handler = Handler::new(engine.clone(), store, resolver, checkpoints, Duration::ZERO);
        Self { client, engine, handler }
    }

    async fn run(&self) -> Result<Report, Error> {
        self.run_for(Scope::All).await
    }

    async fn run_for(&self, scope: Scope) -> Result<Report, Error> {
        let id = InvocationId::parse("018f0000-0000-7000-8000-000000000001");
        let deadline = self.engine.now().plus(Duration::from_secs(60));
        self.handler.handle(Invocation { id, deadline }, scope).await
    }

    /// Leaves a payment with an unknown outcome, by a clock that is late; returns its record's id.
    async fn left_unknown(&self, key: &str, late: Duration) -> RecordId {
        let store = DynamoDbStore::new(self.client.clone(), RECORDS);
        let engine = Engine::builder_with(store, Late(late), SystemEntropy).build();
        let call = self.call(key, engine.now());
        let unknown = async |_: Attempt<TransactWriteItem>| Verdict::<u64>::Unknown("no answer".into());
        let outcome = engine.run(&call, unknown).await;
        assert!(matches!(outcome, Ok(Outcome::Unknown { .. })), "{outcome:?}");
        call.record_id()
    }

    /// Leaves a claim whose owner died, by a clock that is late.
    async fn left_processing(&self, key: &str, late: Duration) {
        let store = DynamoDbStore::new(self.client.clone(), RECORDS);
        let engine = Engine::builder_with(store, Late(late), SystemEntropy).build();
        let claimed = engine.claim(&self.call(key, engine.now())).await;
        assert!(matches!(claimed, Ok(Claimed::Acquired(_))));
    }

    fn call(&self, key: &str, now: EpochMs) -> Call {
        Call::new(
            operations().iter().next().expect("one").clone(),
            Principal::new("ann").unwrap(),
            Key::new(key).unwrap(),
            Fingerprinter::new().finish(),
            now.plus(Duration::from_secs(10)),
        )
        .about(Subject::new(r#"{"valid":false}"#))
    }

    /// Whether the lock can be acquired now.
    async fn is_free(&self) -> bool {
        let lock = RecordLock::new(self.engine.clone(), "reconciler", Duration::from_secs(60));
        lock.acquire(None).await.unwrap().is_some()
    }

    /// When the last whole run ended, as the console reads it.
    async fn ran(&self) -> Option<EpochMs> {
        payments::Table::new(self.client.clone(), PAYMENTS).reconciler_ran().await.unwrap()
    }

    async fn put_checkpoint(&self, attributes: &[(&str, AttributeValue)]) {
        let put =
            self.client.put_item().table_name(PAYMENTS).item("pk", text("reconciler")).item("sk", text("reconciler"));
        attributes.iter().fold(put, |put, (name, value)| put.item(*name, value.clone())).send().await.unwrap();
    }

    /// The stored checkpoint.
    async fn checkpoint(&self) -> Value {
        let get =
            self.client.get_item().table_name(PAYMENTS).key("pk", text("reconciler")).key("sk", text("reconciler"));
        let item = get.send().await.unwrap().item.expect("it was kept");
        serde_json::from_str(item["state"].as_s().expect("a text")).expect("JSON")
    }
}

async fn database() -> Client {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(dynoxide::server::serve_on(listener, dynoxide::Database::memory().unwrap()));
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(url)
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .build();
    Client::from_conf(config)
}

async fn create(client: &Client, table: &str, keys: &[&str], index: Option<&str>) {
    let key = |name: &str, role| KeySchemaElement::builder().attribute_name(name).key_type(role).build().unwrap();
    let attribute =
        |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap();
    let mut create = client.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
    for (name, role) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
        create = create.attribute_definitions(attribute(name, ScalarAttributeType::S)).key_schema(key(name, role));
    }
    if let Some(name) = index {
        let index = GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(name, KeyType::Hash))
            .key_schema(key("created", KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build());
        create = create
            .attribute_definitions(attribute(name, ScalarAttributeType::S))
            .attribute_definitions(attribute("created", ScalarAttributeType::N))
            .global_secondary_indexes(index.build().unwrap());
    }
    create.send().await.unwrap();
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// A clock that is late by so much.
struct Late(Duration);

impl Clock for Late {
    fn now(&self) -> EpochMs {
        SystemClock.now().minus(self.0)
    }
}

/// Panics in the middle of the run.
struct Panics;

impl Metrics for Panics {
    fn count(&self, _: Metric, _: &str) {}
    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn gauge(&self, _: Metric, _: f64) {
        panic!("on purpose");
    }
    fn flush(&self) {}
}

#[tokio::test]
async fn a_run_that_fails_frees_the_lock() {
    let world = World::start(Index::Missing, NoMetrics).await;
    for _ in 0..2 {
        let failed = world.run().await;
        assert!(failed.is_err(), "it says that it failed, and was not kept out: {failed:?}");
    }
    assert!(world.is_free().await);
}

#[tokio::test]
async fn a_run_that_panics_frees_the_lock() {
    let world = World::start(Index::There, Panics).await;
    let failed = world.run().await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(world.is_free().await);
}

#[tokio::test]
async fn a_run_that_cannot_read_where_to_go_on_frees_the_lock_and_fails() {
    let world = World::start(Index::There, NoMetrics).await;
    world.client.delete_table().table_name(PAYMENTS).send().await.unwrap();
    let failed = world.run().await;
    assert!(failed.is_err(), "{failed:?}");
    assert!(world.is_free().await);
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_is_begun_anew() {
    for broken in [
        vec![("state", text("no JSON"))],
        vec![("state", text(r#"{"after":[1]}"#))],
        vec![("state", text(r#"{"pass":{"segment":-1}}"#)), ("fence", AttributeValue::N("1".to_owned()))],
        vec![("state", AttributeValue::N("7".to_owned()))],
        vec![("state", AttributeValue::Null(true)), ("fence", text("7"))],
        vec![],
    ] {
        let world = World::start(Index::There, NoMetrics).await;
        world.put_checkpoint(&broken).await;
        let report = world.run().await.unwrap();
        assert!(!report.held_elsewhere, "{broken:?}");
        assert!(world.checkpoint().await["passed_ms"].is_u64(), "the next run goes on from here: {broken:?}");
    }
}

#[tokio::test]
async fn a_place_that_the_table_does_not_accept_is_begun_anew() {
    let world = World::start(Index::There, NoMetrics).await;
    let pass = json!({
        "begun_ms": 1, "segment": 0, "segments": 4, "after": "", "abandoned": 0, "expired_present": 0,
    });
    world.put_checkpoint(&[("state", text(&json!({ "pass": pass }).to_string()))]).await;
    for _ in 0..2 {
        world.run().await.unwrap();
    }
    assert!(world.ran().await.is_some(), "people can see that it runs");
    let checkpoint = world.checkpoint().await;
    assert_eq!(checkpoint["pass"], Value::Null, "{checkpoint}");
    assert!(checkpoint["passed_ms"].as_u64().is_some_and(|at| at > 1), "a whole pass began since: {checkpoint}");
}

#[tokio::test]
async fn what_one_half_of_a_run_has_come_to_is_kept_though_the_other_failed() {
    let world = World::start(Index::Missing, NoMetrics).await;
    assert!(world.run().await.is_err());
    assert_eq!(world.ran().await, None, "that was no whole run");
    assert!(world.checkpoint().await["passed_ms"].is_u64(), "the table was searched all the same");
}

/// Counts what follow-ups have missed.
#[derive(Clone, Default)]
struct Missed(std::sync::Arc<std::sync::atomic::AtomicUsize>);

impl Missed {
    fn count(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Metrics for Missed {
    fn count(&self, metric: Metric, _: &str) {
        if metric == Metric::FollowUpMissed {
            self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
    }
    fn duration(&self, _: Metric, _: &str, _: Duration) {}
    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}

#[tokio::test]
async fn the_schedule_asks_only_about_what_its_follow_up_has_missed_and_counts_that() {
    let missed = Missed::default();
    let world = World::start(Index::There, missed.clone()).await;
    world.left_unknown("in time", Duration::from_secs(60)).await;
    world.left_unknown("missed", Duration::from_secs(3600)).await;
    world.left_processing("abandoned in time", Duration::from_secs(60)).await;
    world.left_processing("abandoned and missed", Duration::from_secs(3600)).await;
    let report = world.run_for(Scope::Missed).await.unwrap();
    assert_eq!((report.missed, missed.count()), (2, 2), "one in the index, one in the table: {report:?}");
    assert_eq!((report.unknown_open, report.unclear), (2, 3), "the search asks about all that it finds: {report:?}");

    // An invocation by hand covers all records.
    let report = world.run().await.unwrap();
    assert_eq!((report.unclear, missed.count()), (4, 2), "{report:?}");
}
