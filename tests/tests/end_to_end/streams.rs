//! Streams with their watermarks on an embedded DynamoDB, over real sockets and the real SDK.

use std::ops::Deref;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use fault_proxy::{Fault, Refusal};
use idempotency::protocol::watermark::{RecordDigest, Watermark};
use idempotency::store::watermarks::{Advanced, Watermarks};
use idempotency::streams::{Kafka, KafkaBatch, Position, Record, Stream};
use idempotency::{Attempt, DynamoDbStore, Operation, Verdict};
use serde_json::{Value, json};
use tests::dynamodb::{RECORDS, effect, key};
use tests::world::World;

/// An effect that counts its applications, so that a second one is visible.
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

/// A stream in a world.
struct Sales {
    world: World,
    stream: Stream<DynamoDbStore>,
}

impl Deref for Sales {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Sales {
    async fn start() -> Self {
        let world = World::start().await;
        let stream = Stream::new(world.engine.clone(), Operation::new("sales", "post"), "cluster");
        Self { world, stream }
    }

    async fn deliver(&self, records: Vec<Value>) -> Vec<i64> {
        let event: KafkaBatch = serde_json::from_value(json!({ "records": { "sales-0": records } })).expect("an event");
        let now_ms = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
        let deadline = idempotency::protocol::EpochMs(now_ms + 20_000);
        let response = Kafka::new(self.stream.clone()).handle(event, deadline, handle).await.expect("a response");
        response.batch_item_failures.into_iter().map(|failure| failure.item_identifier.offset).collect()
    }

    async fn counted(&self, name: &str) -> u64 {
        self.number(&format!("count:{name}"), "count").await
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

/// Counts the record's offset, and the name in its value.
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
    let sales = Sales::start().await;
    let before = sales.database.proxy.requests();
    assert_eq!(sales.deliver((0..99).map(|offset| record(offset, "")).collect()).await, [0_i64; 0]);
    assert_eq!(sales.database.proxy.requests() - before, 2);
    let before = sales.database.proxy.requests();
    assert_eq!(sales.deliver((0..99).map(|offset| record(offset, "")).collect()).await, [0_i64; 0]);
    assert_eq!(sales.database.proxy.requests() - before, 1, "a repetition is a read");
    assert_eq!((sales.counted("0").await, sales.counted("98").await, sales.version().await), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replies_and_refusals_apply_each_record_once() {
    let sales = Sales::start().await;
    let mut next = 0;
    for losses in [
        vec![Fault::None, Fault::LoseReply],
        vec![Fault::LoseReply, Fault::LoseReply, Fault::LoseReply],
        vec![Fault::None, Fault::LoseRequest, Fault::LoseReply],
        vec![Fault::None, Fault::Refuse(Refusal::Cancelled), Fault::LoseReply],
        vec![Fault::None, Fault::LoseReply, Fault::Refuse(Refusal::Throttled), Fault::Refuse(Refusal::InProgress)],
        [Fault::None].into_iter().chain([Fault::LoseReply; 12]).collect(),
    ] {
        let shown = format!("{losses:?}");
        sales.database.proxy.plan(losses);
        let records: Vec<_> = (next..next + 5).map(|offset| record(offset, "count all")).collect();
        // Some of these get no reply; Lambda then delivers again.
        let mut tries = 0;
        while !sales.deliver(records.clone()).await.is_empty() {
            tries += 1;
            assert!(tries < 5, "{shown}");
        }
        next += 5;
        assert_eq!(sales.counted("all").await, next, "{shown}");
        sales.database.proxy.plan([]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn effects_that_a_transaction_does_not_take_together_are_committed_apart() {
    let sales = Sales::start().await;
    let values = ["count all", "count all", "", "count all"];
    let records = values.iter().zip(0..).map(|(value, offset)| record(offset, value)).collect();
    assert_eq!(sales.deliver(records).await, [0_i64; 0]);
    assert_eq!((sales.counted("all").await, sales.version().await), (3, 3), "seen before the service sees it");

    // A put does not show its key, so only the service notices that two are for one item: it refuses them together.
    let version = sales.version().await;
    assert_eq!(sales.deliver(vec![record(4, "same 1"), record(5, "same 2")]).await, [0_i64; 0]);
    assert_eq!((sales.counted("4").await, sales.counted("5").await, sales.version().await), (1, 1, version + 2));

    // Together more than 4 MB.
    let records = (10..24).map(|offset| record(offset, "large 350000")).collect();
    assert_eq!(sales.deliver(records).await, [0_i64; 0]);
    for offset in 10..24 {
        assert_eq!(sales.counted(&offset.to_string()).await, 1, "{offset}");
    }
    // A record that no item can hold stops the partition there; the ones before it are done, the ones after it are not.
    let records = vec![record(30, ""), record(31, "large 500000"), record(32, "")];
    assert_eq!(sales.deliver(records).await, [31]);
    assert_eq!([sales.counted("30").await, sales.counted("31").await, sales.counted("32").await], [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_effect_stops_the_partition_at_its_record() {
    let sales = Sales::start().await;
    assert_eq!(sales.deliver(vec![record(0, "entry a"), record(1, "")]).await, [0_i64; 0]);
    assert_eq!(sales.deliver(vec![record(2, ""), record(3, "entry a"), record(4, "")]).await, [3]);
    assert_eq!([sales.counted("2").await, sales.counted("3").await, sales.counted("4").await], [1, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_pollers_at_once_each_record_is_applied_once() {
    let sales = Sales::start().await;
    sales.database.proxy.contend(Duration::from_millis(5));
    let records: Vec<_> =
        (0..20).map(|offset| record(offset, if offset % 4 == 0 { "count all" } else { "" })).collect();
    let pollers = (0..4).map(|_| sales.deliver(records.clone()));
    for stopped in futures::future::join_all(pollers).await {
        assert_eq!(stopped, [0_i64; 0]);
    }
    assert_eq!(sales.counted("all").await, 5);
    for offset in 0..20 {
        assert_eq!(sales.counted(&offset.to_string()).await, 1, "{offset}");
    }
}

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
