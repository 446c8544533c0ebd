//! Streams with their watermarks on an embedded DynamoDB, over real sockets and the real SDK.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use idempotency::protocol::watermark::{RecordDigest, Watermark};
use idempotency::store::watermarks::{Advanced, Watermarks};
use idempotency::streams::{Kafka, KafkaBatch, Position, Record, Stream};
use idempotency::{Attempt, DynamoDbStore, Engine, Operation, Verdict};
use serde_json::{Value, json};
use tests::dynamodb::{Database, RECORDS, effect, key};
use tests::proxy::{Loss, Refusal};

/// Written as often as it is asked for: what a second application would show in.
fn count(name: &str) -> TransactWriteItem {
    let update = Update::builder()
        .table_name(RECORDS)
        .set_key(Some(key(format!("count:{name}"))))
        .update_expression("SET #count = if_not_exists(#count, :zero) + :one")
        .expression_attribute_names("#count", "count")
        .expression_attribute_values(":zero", AttributeValue::N("0".into()))
        .expression_attribute_values(":one", AttributeValue::N("1".into()));
    TransactWriteItem::builder().update(update.build().expect("complete")).build()
}

struct World {
    database: Database,
    client: aws_sdk_dynamodb::Client,
    store: DynamoDbStore,
    stream: Stream<DynamoDbStore>,
}

impl World {
    async fn start() -> Self {
        let database = Database::start().await;
        let client = database.client().await;
        let store = DynamoDbStore::new(client.clone(), RECORDS);
        let engine = Engine::builder(store.clone()).build();
        let stream = Stream::new(engine, Operation::new("sales", "post"), "cluster");
        Self { database, client, store, stream }
    }

    async fn deliver(&self, records: Vec<Value>) -> Vec<i64> {
        let event: KafkaBatch = serde_json::from_value(json!({ "records": { "sales-0": records } })).expect("an event");
        let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
        let deadline = idempotency::protocol::EpochMs(now_ms + 20_000);
        let response = Kafka::new(self.stream.clone()).handle(event, deadline, handle).await.expect("a response");
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier.offset).collect()
    }

    async fn counted(&self, name: &str) -> u64 {
        let request = self.client.get_item().table_name(RECORDS).set_key(Some(key(format!("count:{name}"))));
        let item = request.consistent_read(true).send().await.expect("readable").item.unwrap_or_default();
        item.get("count").map_or(0, |value| value.as_n().expect("a number").parse().expect("a number"))
    }

    async fn version(&self) -> u64 {
        self.stream.partition("sales-0").watermark().await.expect("readable").map_or(0, |watermark| watermark.version)
    }
}

fn record(offset: u64, value: &str) -> Value {
    use base64::Engine as _;
    let value = base64::engine::general_purpose::STANDARD.encode(value);
    json!({ "topic": "sales", "partition": 0, "offset": offset, "timestamp": 1_000 + offset, "value": value, "headers": [] })
}

/// A record counts its offset, and what its value names.
async fn handle(attempt: Attempt<TransactWriteItem>, record: Record) -> Verdict<()> {
    attempt.add_effect(count(&record.position.to_string()));
    match String::from_utf8(record.value.unwrap_or_default()).expect("text").split_once(' ') {
        Some(("count", name)) => attempt.add_effect(count(name)),
        Some(("entry", name)) => attempt.add_effect(effect(name)),
        Some(("same", value)) => {
            let mut item = key("same");
            item.insert("x".to_owned(), AttributeValue::S(value.to_owned()));
            let put = Put::builder().table_name(RECORDS).set_item(Some(item)).build().expect("complete");
            attempt.add_effect(TransactWriteItem::builder().put(put).build());
        }
        Some(("large", bytes)) => {
            let mut item = key(format!("large:{}", record.position));
            item.insert("x".to_owned(), AttributeValue::S("x".repeat(bytes.parse().expect("a number"))));
            let put = Put::builder().table_name(RECORDS).set_item(Some(item)).build().expect("complete");
            attempt.add_effect(TransactWriteItem::builder().put(put).build());
        }
        _ => {}
    }
    Verdict::Success(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_costs_a_read_and_a_transaction_however_many_records_it_has() {
    let world = World::start().await;
    let before = world.database.proxy.requests();
    assert_eq!(world.deliver((0..99).map(|offset| record(offset, "")).collect()).await, [0_i64; 0]);
    assert_eq!(world.database.proxy.requests() - before, 2);
    let before = world.database.proxy.requests();
    assert_eq!(world.deliver((0..99).map(|offset| record(offset, "")).collect()).await, [0_i64; 0]);
    assert_eq!(world.database.proxy.requests() - before, 1, "a repetition is a read");
    assert_eq!((world.counted("0").await, world.counted("98").await, world.version().await), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_refusals_apply_each_record_once() {
    let world = World::start().await;
    let mut next = 0;
    for losses in [
        vec![Loss::None, Loss::Reply],
        vec![Loss::Reply, Loss::Reply, Loss::Reply],
        vec![Loss::None, Loss::Request, Loss::Reply],
        vec![Loss::None, Loss::Refused(Refusal::Cancelled), Loss::Reply],
        vec![Loss::None, Loss::Reply, Loss::Refused(Refusal::Throttled), Loss::Refused(Refusal::InProgress)],
        [Loss::None].into_iter().chain([Loss::Reply; 12]).collect(),
    ] {
        let shown = format!("{losses:?}");
        world.database.proxy.plan(losses);
        let records: Vec<_> = (next..next + 5).map(|offset| record(offset, "count all")).collect();
        // Some of these never hear a reply; Lambda then delivers again.
        let mut tries = 0;
        while !world.deliver(records.clone()).await.is_empty() {
            tries += 1;
            assert!(tries < 5, "{shown}");
        }
        next += 5;
        assert_eq!(world.counted("all").await, next, "{shown}");
        world.database.proxy.plan([]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_a_transaction_does_not_take_together_are_committed_apart() {
    let world = World::start().await;
    let values = ["count all", "count all", "", "count all"];
    let records = values.iter().zip(0..).map(|(value, offset)| record(offset, value)).collect();
    assert_eq!(world.deliver(records).await, [0_i64; 0]);
    assert_eq!((world.counted("all").await, world.version().await), (3, 3), "seen before the service sees it");

    // A put does not tell its key, so that only the service sees that two are of one item: it refuses them together.
    let version = world.version().await;
    assert_eq!(world.deliver(vec![record(4, "same 1"), record(5, "same 2")]).await, [0_i64; 0]);
    assert_eq!((world.counted("4").await, world.counted("5").await, world.version().await), (1, 1, version + 2));

    // Together more than 4 MB.
    let records = (10..24).map(|offset| record(offset, "large 350000")).collect();
    assert_eq!(world.deliver(records).await, [0_i64; 0]);
    for offset in 10..24 {
        assert_eq!(world.counted(&offset.to_string()).await, 1, "{offset}");
    }
    // One that no item can hold stops the partition at its place; what is before it is done, what is behind it is not.
    let records = vec![record(30, ""), record(31, "large 500000"), record(32, "")];
    assert_eq!(world.deliver(records).await, [31]);
    assert_eq!([world.counted("30").await, world.counted("31").await, world.counted("32").await], [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_effect_stops_the_partition_at_its_record() {
    let world = World::start().await;
    assert_eq!(world.deliver(vec![record(0, "entry a"), record(1, "")]).await, [0_i64; 0]);
    assert_eq!(world.deliver(vec![record(2, ""), record(3, "entry a"), record(4, "")]).await, [3]);
    assert_eq!([world.counted("2").await, world.counted("3").await, world.counted("4").await], [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_pollers_at_once_each_record_is_applied_once() {
    let world = World::start().await;
    world.database.proxy.contend(Duration::from_millis(5));
    let records: Vec<_> =
        (0..20).map(|offset| record(offset, if offset % 4 == 0 { "count all" } else { "" })).collect();
    let pollers = (0..4).map(|_| world.deliver(records.clone()));
    for stopped in futures::future::join_all(pollers).await {
        assert_eq!(stopped, [0_i64; 0]);
    }
    assert_eq!(world.counted("all").await, 5);
    for offset in 0..20 {
        assert_eq!(world.counted(&offset.to_string()).await, 1, "{offset}");
    }
}

/// A watermark moves only from the version that was seen, whoever moves it.
#[tokio::test(flavor = "multi_thread")]
async fn a_watermark_moves_only_from_the_version_that_was_seen() {
    let World { store, .. } = World::start().await;
    let seen = |place: u64| RecordDigest { position: Position::from(place), timestamp_ms: 1, digest: [1; 16] };
    let now = idempotency::protocol::EpochMs(1_800_000_000_000);
    let advance = async |watermark: &Watermark| {
        store.advance("watermark#test", watermark, Vec::new(), Duration::from_secs(1)).await.expect("answered")
    };
    assert_eq!(store.watermark("watermark#test").await.expect("readable"), None);
    let first = Watermark::after(None, &[seen(7)], now);
    assert!(matches!(advance(&first).await, Advanced::Applied));
    assert_eq!(store.watermark("watermark#test").await.expect("readable").as_ref(), Some(&first));
    let rival = Watermark::after(None, &[seen(9)], now);
    assert!(matches!(advance(&rival).await, Advanced::Refused(Some(found)) if found == first));
    let second = Watermark::after(Some(&first), &[seen(9)], now);
    let late = Watermark::after(Some(&first), &[seen(8)], now);
    assert!(matches!(advance(&second).await, Advanced::Applied));
    assert!(matches!(advance(&late).await, Advanced::Refused(Some(found)) if found == second));
    let skipping = Watermark { version: 9, ..late };
    assert!(matches!(advance(&skipping).await, Advanced::Refused(Some(_))));
}
