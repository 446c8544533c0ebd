use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::*;
use crate::engine::tests::SetClock;
use crate::engine::{Evidence, Verdict};
use crate::protocol::Principal;
use crate::reconcile::tests::OtherSide;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::{Effect, MemoryStore};
use crate::telemetry::metrics::{Counts, Metric};

type TestStore = FaultyStore<MemoryStore>;

fn world(plan: impl IntoIterator<Item = Fault>) -> (Stream<TestStore>, MemoryStore) {
    let memory = MemoryStore::new();
    let engine = Engine::builder(FaultyStore::new(memory.clone(), plan)).build();
    (Stream::new(engine, Operation::new("sales", "post"), "cluster"), memory)
}

fn soon(stream: &Stream<TestStore>) -> EpochMs {
    stream.engine.now().plus(Duration::from_secs(10))
}

/// A Kafka record; its value determines what the handler does.
fn record(offset: u64, value: &str) -> Value {
    json!({
        "topic": "sales", "partition": 0, "offset": offset, "timestamp": 1_000 + offset,
        "timestampType": "CREATE_TIME", "key": "a2V5", "value": STANDARD.encode(value), "headers": [],
    })
}

fn kafka(partitions: &[(&str, Vec<Value>)]) -> KafkaBatch {
    let records: serde_json::Map<_, _> =
        partitions.iter().map(|(name, records)| ((*name).to_owned(), json!(records))).collect();
    serde_json::from_value(json!({ "eventSource": "aws:kafka", "records": records })).unwrap()
}

/// Each record has one effect, named after its position or as its value requests.
async fn handle(attempt: Attempt<Effect>, record: Record) -> Verdict<()> {
    let value = String::from_utf8(record.value.unwrap_or_default()).unwrap();
    let own = format!("{} {}", record.partition, record.position);
    match value.split_once(' ') {
        Some(("on", name)) => attempt.add_effect(Effect::named(name)),
        Some(("once", name)) => attempt.add_effect(Effect::only_once(name)),
        Some(("many", count)) => {
            (0..count.parse().unwrap())
                .for_each(|number: u32| attempt.add_effect(Effect::named(format!("{own} {number}"))));
        }
        _ => {}
    }
    attempt.add_effect(Effect::named(own));
    match value.as_str() {
        "panic" => panic!("planned"),
        "fail" => Verdict::Failed(()),
        "not execute" => Verdict::NotExecuted(()),
        _ => Verdict::Success(()),
    }
}

/// Delivers records. Returns from where each partition must be redelivered.
async fn deliver(stream: &Stream<TestStore>, partitions: &[(&str, Vec<Value>)]) -> Vec<(String, i64)> {
    stopped(Kafka::new(stream.clone()).handle(kafka(partitions), soon(stream), handle).await.unwrap())
}

fn stopped(response: KafkaBatchResponse) -> Vec<(String, i64)> {
    let positions = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier);
    positions.map(|position| (position.partition, position.offset)).collect()
}

fn applied(memory: &MemoryStore, partition: &str, offsets: std::ops::Range<u64>) -> Vec<u64> {
    offsets.map(|offset| memory.applied(&format!("{partition} {offset}"))).collect()
}

#[tokio::test]
async fn a_run_of_records_is_one_transaction_and_what_is_delivered_again_is_skipped() {
    let (stream, memory) = world([]);
    let records: Vec<_> = (0..250).map(|offset| record(offset, "")).collect();
    for _ in 0..2 {
        assert_eq!(deliver(&stream, &[("sales-0", records.clone())]).await, []);
    }
    assert_eq!(applied(&memory, "sales-0", 0..250), [1; 250]);
    let watermark = stream.partition("sales-0").watermark().await.unwrap().unwrap();
    assert_eq!((watermark.version, watermark.position), (3, Some(Position::from(249))), "99 effects at a time");
}

#[tokio::test]
async fn a_failed_record_stops_its_partition_and_no_other_and_is_reported_as_kafka_wants_it() {
    for poison in ["panic", "fail", "not execute"] {
        let (stream, memory) = world([]);
        let records =
            |poison| Vec::from_iter(["", "", poison, "", ""].iter().zip(40..).map(|(value, at)| record(at, value)));
        let partitions = [("sales-0", records(poison)), ("sales-1", records(""))];
        let response = Kafka::new(stream.clone()).handle(kafka(&partitions), soon(&stream), handle).await.unwrap();
        assert_eq!(
            serde_json::to_value(response).unwrap(),
            json!({"batchItemFailures":[{"itemIdentifier":{"partition":"sales-0","offset":42}}]})
        );
        assert_eq!(applied(&memory, "sales-0", 40..45), [1, 1, 0, 0, 0], "{poison}");
        assert_eq!(applied(&memory, "sales-1", 40..45), [1; 5]);
        // The mapping gave up the poison record, which leaves a gap like any other.
        assert_eq!(deliver(&stream, &[("sales-0", vec![record(43, ""), record(44, "")])]).await, []);
        assert_eq!(applied(&memory, "sales-0", 40..45), [1, 1, 0, 1, 1]);
    }
    let (stream, memory) = world([]);
    assert_eq!(
        deliver(&stream.on_failure(OnFailure::Discard), &[("sales-0", vec![record(0, "fail"), record(1, "")])]).await,
        []
    );
    assert_eq!(applied(&memory, "sales-0", 0..2), [1, 1]);
}

#[tokio::test]
async fn records_that_write_one_item_go_into_transactions_of_their_own() {
    let (stream, memory) = world([]);
    let records = (0..6).map(|offset| record(offset, if offset % 2 == 0 { "on account" } else { "" })).collect();
    assert_eq!(deliver(&stream, &[("sales-0", records)]).await, []);
    assert_eq!((memory.applied("account"), applied(&memory, "sales-0", 0..6)), (3, vec![1; 6]));
    assert_eq!(stream.partition("sales-0").watermark().await.unwrap().unwrap().version, 3);
}

#[tokio::test]
async fn a_record_with_more_effects_than_a_transaction_takes_stops_its_partition_and_nothing_else_is_lost() {
    let (stream, memory) = world([]);
    let records = vec![record(0, ""), record(1, "many 98"), record(2, "many 99"), record(3, "")];
    assert_eq!(deliver(&stream, &[("sales-0", records)]).await, [("sales-0".to_owned(), 2)]);
    assert_eq!(applied(&memory, "sales-0", 0..4), [1, 1, 0, 0]);
}

#[tokio::test]
async fn a_run_goes_up_to_the_record_whose_effect_is_refused() {
    let (stream, memory) = world([]);
    let records: Vec<_> =
        (0..5).map(|offset| record(offset, ["", "once a", "", "once b", ""][offset as usize])).collect();
    deliver(&stream, &[("sales-1", vec![record(0, "once b")])]).await;
    assert_eq!(deliver(&stream, &[("sales-0", records)]).await, [("sales-0".to_owned(), 3)]);
    assert_eq!(
        (applied(&memory, "sales-0", 0..5), memory.applied("a"), memory.applied("b")),
        (vec![1, 1, 1, 0, 0], 1, 1)
    );
}

#[tokio::test]
async fn what_the_refusal_of_a_guarded_effect_means_decides_about_its_record_alone() {
    use crate::engine::EffectRefusal;
    for (meaning, expected_stop, expected) in [
        (EffectRefusal::AppliedBefore, vec![], [1, 0, 1]),
        (EffectRefusal::NotYet, vec![("sales-0".to_owned(), 1)], [1, 0, 0]),
        (EffectRefusal::Unexpected, vec![("sales-0".to_owned(), 1)], [1, 0, 0]),
    ] {
        let (stream, memory) = world([]);
        deliver(&stream, &[("other-0", vec![record(0, "once a")])]).await;
        let handler = |attempt: Attempt<Effect>, record: Record| async move {
            if record.position == Position::from(1) {
                attempt.add_guarded_effect(Effect::only_once("a"), move |_found| meaning);
            }
            handle(attempt, record).await
        };
        let event = kafka(&[("sales-0", (0..3).map(|offset| record(offset, "")).collect())]);
        let response = Kafka::new(stream.clone()).handle(event, soon(&stream), handler).await.unwrap();
        let found = (stopped(response), applied(&memory, "sales-0", 0..3));
        assert_eq!(found, (expected_stop, expected.to_vec()), "{meaning:?}");
    }
}

#[tokio::test]
async fn a_partition_created_anew_stands_still_until_it_gets_a_new_generation_or_is_rewound_by_name() {
    let (stream, memory) = world([]);
    let old = (0..10).map(|offset| record(offset, "old")).collect::<Vec<_>>();
    assert_eq!(deliver(&stream, &[("sales-0", old.clone())]).await, []);
    let new = (0..3).map(|offset| record(offset, "on new")).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(deliver(&stream, &[("sales-0", new.clone())]).await, [("sales-0".to_owned(), 0)]);
    }
    assert_eq!(memory.applied("new"), 0, "reported, not run");
    assert_eq!(deliver(&stream, &[("sales-0", old)]).await, [], "and what is a repetition is still one");

    let partition = stream.partition("sales-0");
    assert!(matches!(partition.rewind(None, " ").await, Err(RewindError::Nameless)));
    let next = stream.clone().generation("2");
    assert_eq!(deliver(&next, &[("sales-0", new.clone())]).await, []);
    assert_eq!(memory.applied("new"), 3);
    partition.rewind(None, "INC-17").await.unwrap();
    assert_eq!(deliver(&stream, &[("sales-0", new)]).await, []);
    assert_eq!(memory.applied("new"), 6);
}

#[tokio::test]
async fn the_digest_of_a_record_is_pinned_for_witnesses_that_are_stored() {
    let (stream, _) = world([]);
    let mut sold = record(0, "sold");
    // A timestamp that a floating-point number lowers by a millisecond.
    sold["timestamp"] = json!(1_795_514_400_001_i64);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let handler = |_: Attempt<Effect>, record: Record| {
        seen.lock().unwrap().push(record.timestamp_ms);
        async { Verdict::Success(()) }
    };
    let response = Kafka::new(stream.clone()).handle(kafka(&[("sales-0", vec![sold])]), soon(&stream), handler).await;
    assert_eq!(response.unwrap(), KafkaBatchResponse::default());
    assert_eq!(*seen.lock().unwrap(), [1_795_514_400_001], "the handler gets it as it was sent");
    let watermark = stream.partition("sales-0").watermark().await.unwrap().unwrap();
    let hex: String = watermark.witnesses[0].digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "92bdbdf249fde25e3b177a465b2510cc");
}

#[tokio::test]
async fn a_record_that_was_given_up_raises_no_alarm_though_its_producers_clock_is_ahead() {
    let (stream, memory) = world([]);
    let mut given_up = record(1, "not execute");
    // From a producer whose clock is an hour ahead.
    given_up["timestamp"] = json!(stream.engine.now().0 + 60 * 60 * 1000);
    let first = deliver(&stream, &[("sales-0", vec![record(0, ""), given_up.clone(), record(2, "")])]).await;
    assert_eq!(first, [("sales-0".to_owned(), 1)]);
    assert_eq!(deliver(&stream, &[("sales-0", vec![record(2, "")])]).await, [], "the mapping gave it up");
    let again = deliver(&stream, &[("sales-0", vec![record(0, ""), given_up, record(2, ""), record(3, "")])]).await;
    assert_eq!((again, applied(&memory, "sales-0", 0..4)), (vec![], vec![1, 0, 1, 1]));
}

/// A Kafka batch with one unusual record among healthy ones.
async fn deliver_beside_healthy(stream: &Stream<TestStore>, unusual: Value) -> Vec<(String, i64)> {
    deliver(stream, &[("sales-0", vec![record(0, ""), unusual, record(2, "")]), ("sales-1", vec![record(0, "")])]).await
}

#[tokio::test]
async fn a_kafka_record_of_unusual_shape_is_a_record_like_any_other() {
    let shapes = [
        ("headers", json!(null)),
        ("headers", json!([{"a": null}])),
        ("headers", json!([{"a": [0, 127, 128, 255]}, {"b": [-128, -1]}])),
        ("headers", json!({"a": "b"})),
        ("timestamp", json!(-1)),
        ("timestamp", json!(1_795_514_400_000_000_000_i64)),
        ("timestamp", json!(i64::MIN)),
        ("key", json!(null)),
        ("value", json!(null)),
        ("topic", json!(7)),
        ("timestampType", json!(["CREATE_TIME"])),
    ];
    for (member, value) in shapes {
        let (stream, memory) = world([]);
        let mut unusual = record(1, "");
        unusual[member] = value.clone();
        assert_eq!(deliver_beside_healthy(&stream, unusual).await, [], "{member}: {value}");
        assert_eq!(applied(&memory, "sales-0", 0..3), [1, 1, 1], "{member}: {value}");
    }
    for member in ["headers", "key", "value", "topic", "timestampType"] {
        let (stream, memory) = world([]);
        let mut unusual = record(1, "");
        unusual.as_object_mut().unwrap().remove(member);
        assert_eq!(deliver_beside_healthy(&stream, unusual).await, [], "no {member}");
        assert_eq!(applied(&memory, "sales-0", 0..3), [1, 1, 1], "no {member}");
    }
}

#[tokio::test]
async fn a_kafka_record_that_cannot_be_read_stops_its_partition_and_no_other() {
    for (member, value) in [
        ("timestamp", json!(null)),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!(1e30)),
        ("key", json!(5)),
        ("value", json!({"a": 1})),
    ] {
        let (stream, memory) = world([]);
        let mut unusual = record(1, "");
        unusual[member] = value.clone();
        for _ in 0..2 {
            let stopped = deliver_beside_healthy(&stream, unusual.clone()).await;
            assert_eq!(stopped, [("sales-0".to_owned(), 1)], "{member}: {value}");
        }
        assert_eq!((applied(&memory, "sales-0", 0..3), memory.applied("sales-1 0")), (vec![1, 0, 0], 1));
        assert_eq!(deliver(&stream, &[("sales-0", vec![record(2, "")])]).await, [], "the mapping gave it up");
        assert_eq!(deliver_beside_healthy(&stream, unusual).await, [], "and delivers it again: behind the watermark");
        assert_eq!(applied(&memory, "sales-0", 0..3), [1, 0, 1], "{member}: {value}");
    }
}

/// No end-to-end test covers this.
#[tokio::test]
async fn a_store_that_does_not_answer_is_counted_and_the_run_comes_again() {
    for fault in [Fault::LoseRequest, Fault::LoseReply] {
        let counts = Counts::default();
        let engine = Engine::builder(FaultyStore::new(MemoryStore::new(), [fault])).metrics(counts.clone()).build();
        let stream = Stream::new(engine, Operation::new("sales", "post"), "cluster");
        assert_eq!(deliver(&stream, &[("sales-0", vec![record(0, "")])]).await, [("sales-0".to_owned(), 0)]);
        assert_eq!(counts.counted(), [Metric::StoreError, Metric::RecordReturned], "{fault:?}");
    }
}

#[tokio::test]
async fn two_pollers_of_one_partition_at_once_apply_each_record_once() {
    let (stream, memory) = world([]);
    let records: Vec<_> = (0..20).map(|offset| record(offset, "on account")).collect();
    let handler = |attempt, record| async move {
        tokio::task::yield_now().await;
        handle(attempt, record).await
    };
    let kafka_stream = Kafka::new(stream.clone());
    let event = kafka(&[("sales-0", records)]);
    let pollers = (0..4).map(|_| kafka_stream.handle(event.clone(), soon(&stream), handler));
    for response in futures::future::join_all(pollers).await {
        assert_eq!(response.unwrap(), KafkaBatchResponse::default());
    }
    assert_eq!((memory.applied("account"), applied(&memory, "sales-0", 0..20)), (20, vec![1; 20]));
}

#[tokio::test]
async fn records_without_time_are_returned_unrun() {
    let (stream, memory) = world([]);
    let deadline = stream.engine.now();
    let event = kafka(&[("sales-0", vec![record(7, "")])]);
    let response = Kafka::new(stream).handle(event, deadline, handle).await.unwrap();
    assert_eq!(response.batch_item_failures[0].item_identifier.offset, 7);
    assert_eq!(memory.applied("sales-0 7"), 0);
}

/// How Lambda and the network deliver one batch.
#[derive(Clone, Debug)]
struct Delivery {
    /// How far before the checkpoint the delivery begins.
    back: u64,
    length: u64,
    faults: Vec<Fault>,
}

fn any_delivery() -> impl Strategy<Value = Delivery> {
    let delivery = (0_u64..20, 1_u64..30, prop::collection::vec(Fault::any(2), 0..4));
    delivery.prop_map(|(back, length, faults)| Delivery { back, length, faults })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_is_lost_and_from_wherever_it_comes_again_each_record_is_applied_once_and_in_order(
        deliveries in prop::collection::vec(any_delivery(), 1..30),
        colliding in 1_u64..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            const RECORDS: u64 = 60;
            let memory = MemoryStore::new();
            // Offsets have gaps; some records share an item, so that runs are split.
            let records: Vec<_> = (0..RECORDS).map(|number| {
                record(number * 3, if number % colliding == 0 { "on account" } else { "" })
            }).collect();
            let mut checkpoint = 0;
            let patient = std::iter::repeat_n(Delivery { back: 3, length: RECORDS, faults: Vec::new() }, 1);
            for Delivery { back, length, faults } in deliveries.into_iter().chain(patient) {
                let engine = Engine::builder(FaultyStore::new(memory.clone(), faults)).build();
                let stream = Stream::new(engine, Operation::new("sales", "post"), "cluster");
                let first = u64::saturating_sub(checkpoint, back);
                let end = (first + length).min(RECORDS);
                let batch = records[first as usize..end as usize].to_vec();
                let stopped = deliver(&stream, &[("sales-0", batch)]).await;
                checkpoint = stopped.first().map_or(end, |(_, offset)| *offset as u64 / 3).max(first);
            }
            assert_eq!(checkpoint, RECORDS);
            let once: Vec<u64> = (0..RECORDS).map(|number| memory.applied(&format!("sales-0 {}", number * 3))).collect();
            assert_eq!(once, [1; RECORDS as usize]);
            assert_eq!(memory.applied("account"), RECORDS.div_ceil(colliding));
        });
    }
}

/// A record of a shard; its value determines what the handler does.
fn of_shard(shard: u8, number: &str, value: &str) -> Value {
    json!({
        "kinesis": {
            "partitionKey": "k", "sequenceNumber": number, "data": STANDARD.encode(value), "encryptionType": "NONE",
            "approximateArrivalTimestamp": 1_545_084_650.987,
        },
        "eventID": format!("shardId-{shard:012}:{number}"), "eventSource": "aws:kinesis",
    })
}

fn kinesis(records: impl IntoIterator<Item = Value>) -> KinesisBatch {
    serde_json::from_value(json!({ "Records": Vec::from_iter(records) })).unwrap()
}

#[tokio::test]
async fn kinesis_numbers_of_56_digits_are_in_order_and_the_reply_names_the_first_that_failed() {
    const FIRST: &str = "9590338271490256608559692538361571095921575989136588898";
    const SECOND: &str = "49590338271490256608559692538361571095921575989136588898";
    const THIRD: &str = "49590338271490256608559692538361571095921575989136588899";
    let (stream, memory) = world([]);
    let handler = Kinesis::new(stream.clone(), 1).ok().unwrap();
    for _ in 0..2 {
        let event =
            kinesis([(FIRST, ""), (SECOND, ""), (THIRD, "panic")].map(|(number, value)| of_shard(6, number, value)));
        let response = handler.handle(event, soon(&stream), handle).await.unwrap();
        let failed: Vec<_> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_deref()).collect();
        assert_eq!(failed, [Some(THIRD)]);
    }
    let applied = [FIRST, SECOND, THIRD].map(|number| memory.applied(&format!("shardId-000000000006 {number}")));
    assert_eq!(applied, [1, 1, 0]);
}

#[tokio::test]
async fn parts_of_a_shard_at_the_same_time_are_refused() {
    for factor in [0, 2, 10] {
        assert_eq!(Kinesis::new(world([]).0, factor).err(), Some(Parallel(factor)));
    }
}

#[tokio::test]
async fn a_record_that_could_not_be_reported_fails_the_whole_batch() {
    let (stream, memory) = world([]);
    let handler = Kinesis::new(stream.clone(), 1).ok().unwrap();
    for number in ["", "12a"] {
        let response =
            handler.handle(kinesis(["1", number].map(|number| of_shard(6, number, ""))), soon(&stream), handle).await;
        assert!(response.is_err(), "{number:?}");
    }
    assert_eq!(memory.applied("shardId-000000000006 1"), 0);
}

#[tokio::test]
async fn a_kinesis_record_that_cannot_be_read_stops_its_shard_and_no_other() {
    for (member, value) in [
        ("/kinesis/data", json!("no base64!")),
        ("/kinesis/data", json!(5)),
        ("/kinesis/partitionKey", json!(null)),
        ("/kinesis/approximateArrivalTimestamp", json!("yesterday")),
        ("/kinesis/approximateArrivalTimestamp", json!(1e30)),
        ("/kinesis/encryptionType", json!("ROT13")),
        ("/eventSource", json!(5)),
    ] {
        let (stream, memory) = world([]);
        let records = |unusual: bool| {
            let mut records =
                [(6, "1"), (6, "2"), (6, "3"), (7, "1")].map(|(shard, number)| of_shard(shard, number, ""));
            if unusual {
                *records[1].pointer_mut(member).unwrap() = value.clone();
            }
            kinesis(records)
        };
        let handler = Kinesis::new(stream.clone(), 1).ok().unwrap();
        let response = handler.handle(records(true), soon(&stream), handle).await.unwrap();
        let failed: Vec<_> = response.batch_item_failures.into_iter().filter_map(|one| one.item_identifier).collect();
        assert_eq!(failed, ["2"], "{member}: {value}");
        let applied = || {
            [(6, 1), (6, 2), (6, 3), (7, 1)]
                .map(|(shard, number)| memory.applied(&format!("shardId-{shard:012} {number}")))
        };
        assert_eq!(applied(), [1, 0, 0, 1], "{member}: {value}");
        let response = handler.handle(records(false), soon(&stream), handle).await.unwrap();
        assert_eq!((response.batch_item_failures.len(), applied()), (0, [1, 1, 1, 1]));
    }
}

fn changes(ids: &[&str]) -> TableBatch {
    serde_json::from_value(json_of_changes(ids)).unwrap()
}

fn json_of_changes(ids: &[&str]) -> Value {
    let changes = ids.iter().zip(100..).map(|(id, number)| {
        json!({
            "eventID": id, "eventName": "INSERT", "awsRegion": "eu-central-1",
            "dynamodb": {"Keys": {"id": {"S": id}}, "SequenceNumber": number.to_string(), "SizeBytes": 1},
        })
    });
    json!({ "Records": Vec::from_iter(changes) })
}

fn table<S: Store>(engine: &Engine<S>, operation: Operation, single_write: bool) -> TableStream<S> {
    let table = TableStream::new(engine.clone(), operation, Principal::new("Payments").unwrap());
    if single_write { table.single_write() } else { table }
}

fn copy() -> Operation {
    Operation::new("table", "copy")
}

/// Each change has an effect of the name of its event.
async fn apply(attempt: Attempt<Effect>, change: EventRecord) -> Verdict<()> {
    attempt.add_effect(Effect::named(change.event_id));
    Verdict::Success(())
}

#[tokio::test]
async fn a_change_of_a_table_takes_effect_once_and_after_a_failure_the_rest_is_returned() {
    for single_write in [false, true] {
        let (stream, memory) = world([]);
        let table = table(&stream.engine, copy(), single_write);
        let failing = Arc::new(Mutex::new(true));
        let handler = |attempt: Attempt<Effect>, change: EventRecord| {
            let fails = change.event_id == "c" && *failing.lock().unwrap();
            attempt.add_effect(Effect::named(change.event_id));
            async move { if fails { Verdict::NotExecuted(()) } else { Verdict::Success(()) } }
        };
        let event = || changes(&["a", "b", "c", "d"]);
        let response = table.handle(event(), soon(&stream), handler).await.unwrap();
        assert_eq!(response.batch_item_failures[0].item_identifier.as_deref(), Some("102"));
        assert_eq!(["a", "b", "c", "d"].map(|id| memory.applied(id)), [1, 1, 0, 0]);
        *failing.lock().unwrap() = false;
        let response = table.handle(event(), soon(&stream), handler).await.unwrap();
        assert!(response.batch_item_failures.is_empty());
        assert_eq!(["a", "b", "c", "d"].map(|id| memory.applied(id)), [1, 1, 1, 1]);
    }
}

#[tokio::test]
async fn a_batch_of_changes_that_is_delivered_again_is_looked_up_before_anything_is_written() {
    for (single_write, writes) in [(true, 3), (false, 6)] {
        // The writes of the first delivery; any further one would be refused.
        let (stream, memory) = world([vec![Fault::None; writes], vec![Fault::Refuse; 9]].concat());
        for _ in 0..2 {
            let elsewhere = Engine::builder(stream.engine.store().clone()).build();
            let table = table(&elsewhere, copy(), single_write);
            let response = table.handle(changes(&["a", "b", "c"]), soon(&stream), apply).await.unwrap();
            assert_eq!(response.batch_item_failures.len(), 0);
        }
        assert_eq!(["a", "b", "c"].map(|id| memory.applied(id)), [1, 1, 1]);
    }
}

#[tokio::test]
async fn a_change_of_a_table_that_cannot_be_read_is_where_the_batch_comes_again_from() {
    for (member, value) in [
        ("/eventID", json!(null)),
        ("/eventID", json!("")),
        ("/eventName", json!(5)),
        ("/awsRegion", json!(null)),
        ("/dynamodb/SizeBytes", json!("1")),
        ("/dynamodb/Keys", json!({"id": {"X": "y"}})),
        ("/dynamodb/Keys", json!({"id": {"B": "no base64!"}})),
    ] {
        let (stream, memory) = world([]);
        let mut event = json_of_changes(&["a", "b", "c"]);
        *event["Records"][1].pointer_mut(member).unwrap() = value.clone();
        let event = serde_json::from_value(event).unwrap();
        let table = table(&stream.engine, copy(), false);
        let response = table.handle(event, soon(&stream), apply).await.unwrap();
        let failed: Vec<_> = response.batch_item_failures.into_iter().filter_map(|one| one.item_identifier).collect();
        assert_eq!(failed, ["101"], "{member}: {value}");
        assert_eq!(["a", "b", "c"].map(|id| memory.applied(id)), [1, 0, 0], "{member}: {value}");
    }
}

/// The stream of a table keeps a change for a day, and the record of the first delivery is made when that day begins.
#[tokio::test]
async fn a_change_of_a_table_that_comes_again_after_a_day_does_not_run_again_by_default() {
    let (memory, clock) = (MemoryStore::new(), SetClock::default());
    let engine = Engine::builder(memory.clone()).clock(clock.clone()).build();
    let by_default = table(&engine, copy(), false);
    let said = table(&engine, Operation::new("other", "copy").retention(Duration::from_secs(60)), false);
    for hours in [0, 25, 47] {
        clock.0.store(hours * 60 * 60 * 1000, Ordering::SeqCst);
        for (table, id) in [(&by_default, "a"), (&said, "b")] {
            let deadline = engine.now().plus(Duration::from_secs(10));
            let response = table.handle(changes(&[id]), deadline, apply).await.unwrap();
            assert!(response.batch_item_failures.is_empty());
        }
    }
    assert_eq!((memory.applied("a"), memory.applied("b")), (1, 3), "an explicit retention counts");
}

#[derive(Debug, serde::Deserialize)]
struct Sale {
    id: String,
}

#[tokio::test]
async fn with_a_record_each_an_external_effect_whose_outcome_is_unknown_is_reconciled_and_not_repeated() {
    let (stream, _) = world([]);
    let (resolver, sent) = (OtherSide::says(Evidence::Happened(())), Mutex::new(Vec::new()));
    let key = RecordKey::function(|record| Some(record.json::<Sale>().ok()?.id));
    let kafka_stream =
        Kafka::new(stream.clone().record_each(Principal::new("tills").unwrap(), key).resolver(resolver.clone()));
    // The request to the other system is sent; for the second sale its reply is lost.
    let handler = |attempt: Attempt<Effect>, record: Record| {
        let sent = &sent;
        async move {
            let sale: Sale = record.json()?;
            sent.lock().unwrap().push((sale.id.clone(), attempt.transaction()));
            match sale.id.as_str() {
                "s-2" => Err("no reply".into()),
                _ => Ok::<_, crate::store::BoxError>(()),
            }
        }
    };
    let sale = |offset, id| record(offset, &json!({ "id": id }).to_string());
    // The producer sent the first sale twice.
    let event = || kafka(&[("sales-0", vec![sale(0, "s-1"), sale(1, "s-1"), sale(2, "s-2"), sale(3, "s-3")])]);
    let response = kafka_stream.handle(event(), soon(&stream), handler).await.unwrap();
    assert_eq!(response.batch_item_failures[0].item_identifier.offset, 2);
    let response = kafka_stream.handle(event(), soon(&stream), handler).await.unwrap();
    assert_eq!(response, KafkaBatchResponse::default());
    let sent = sent.into_inner().unwrap();
    let ids: Vec<_> = sent.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["s-1", "s-2", "s-3"], "each once");
    assert_eq!(resolver.asked(), [sent[1].1], "asked by the transaction id that was sent");
}

#[tokio::test]
async fn with_a_record_each_a_record_in_progress_elsewhere_is_waited_for_and_not_returned_again_and_again() {
    let (stream, _) = world([]);
    let key = RecordKey::function(|record| Some(record.position.to_string()));
    let one = Kafka::new(stream.clone().record_each(Principal::new("tills").unwrap(), key.clone()));
    let other = Kafka::new(stream.clone().record_each(Principal::new("tills").unwrap(), key));
    let (begun, go_on, ran) = (Notify::new(), Notify::new(), AtomicUsize::new(0));
    let slow = |_, _| async {
        ran.fetch_add(1, Ordering::Relaxed);
        begun.notify_one();
        go_on.notified().await;
        Verdict::Success(())
    };
    let quick = |_, _| async {
        ran.fetch_add(1, Ordering::Relaxed);
        Verdict::Success(())
    };
    let event = || kafka(&[("sales-0", vec![record(0, "{}")])]);
    let meanwhile = async {
        begun.notified().await;
        let mut second = Box::pin(other.handle(event(), soon(&stream), quick));
        let waits = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
        assert!(waits.is_err(), "{waits:?}: it was returned at once");
        go_on.notify_one();
        second.await.unwrap()
    };
    let (first, second) = futures::future::join(one.handle(event(), soon(&stream), slow), meanwhile).await;
    assert_eq!((first.unwrap(), second), (KafkaBatchResponse::default(), KafkaBatchResponse::default()));
    assert_eq!(ran.into_inner(), 1);
}

#[tokio::test]
async fn with_a_record_each_a_record_without_a_key_stops_its_partition_and_no_other() {
    let (stream, memory) = world([]);
    let principal = || Principal::new("tills").unwrap();
    let keys = [
        RecordKey::function(|record| Some(record.json::<Sale>().ok()?.id)),
        RecordKey::function(|record| Some(record.json::<Sale>().expect("planned").id)),
    ];
    for key in keys {
        let by_id = Kafka::new(stream.clone().record_each(principal(), key));
        let event = kafka(&[
            ("sales-0", vec![record(0, "poison"), record(1, "")]),
            ("sales-1", vec![record(0, "{\"id\":\"s\"}")]),
        ]);
        let response = by_id.handle(event, soon(&stream), handle).await.unwrap();
        let stopped: Vec<_> = response.batch_item_failures.iter().map(|at| &*at.item_identifier.partition).collect();
        assert_eq!(stopped, ["sales-0"]);
    }
    assert_eq!((memory.applied("sales-0 1"), memory.applied("sales-1 0")), (0, 1));
    // By position, any payload is accepted.
    let by_position = Kafka::new(stream.clone().record_each(principal(), RecordKey::position()));
    for _ in 0..2 {
        let event = kafka(&[("sales-2", vec![record(0, ""), record(1, "")])]);
        assert_eq!(by_position.handle(event, soon(&stream), handle).await.unwrap(), KafkaBatchResponse::default());
    }
    assert_eq!(applied(&memory, "sales-2", 0..2), [1, 1]);
}

#[test]
fn an_image_is_read_as_a_type_and_an_error_shows_no_content() {
    let change = |image: Value| -> EventRecord {
        let mut event = json_of_changes(&["a"]);
        event["Records"][0]["dynamodb"]["NewImage"] = image;
        serde_json::from_value(event["Records"][0].clone()).unwrap()
    };
    assert_eq!(new_image::<Sale>(&change(json!({"id": {"S": "s-1"}}))).unwrap().id, "s-1");
    let error = new_image::<Sale>(&change(json!({"id": {"N": "4242"}}))).unwrap_err();
    assert!(!error.to_string().contains("4242"), "{error}");
    assert!(old_image::<Sale>(&change(json!({"id": {"S": "s-1"}}))).is_err());
}
