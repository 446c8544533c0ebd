//! Fuzz targets for all external input, as arbitrary bytes: nothing panics, and parsing twice gives the same result.
//!
//! `fuzz/` feeds these functions with inputs from cargo-fuzz; a plain test feeds them with the corpus, and with random
//! mutations of it.

use std::convert::Infallible;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idempotency::protocol::{EpochMs, Pointer, Principal, canonical_json};
use idempotency::sqs::{KeySource, SqsBatch};
use idempotency::store::dynamodb::fuzz;
use idempotency::store::memory::MemoryStore;
use idempotency::streams::{Kafka, KafkaBatch, Kinesis, KinesisBatch, Stream, TableBatch, TableStream};
use idempotency::{Engine, IdempotencyLayer, Operation, Queue, Verdict};
use lambda_http::http::{HeaderValue, StatusCode};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Request, Response};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A target: its name, which is also the name of its corpus, and its function.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: [Target; 9] = [
    ("key_header", key_header),
    ("json", json),
    ("http_event", http_event),
    ("sqs_event", sqs_event),
    ("kafka_event", kafka_event),
    ("kinesis_event", kinesis_event),
    ("table_event", table_event),
    ("record", fuzz::record),
    ("cancellation", fuzz::cancellation),
];

/// A header is accepted or refused, never ignored; an accepted one is the same key, quoted or not.
///
/// # Panics
/// If that does not hold.
pub fn key_header(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let request = |value: HeaderValue| {
        lambda_http::http::Request::builder()
            .method("POST")
            .uri("/things")
            .header("idempotency-key", value)
            .body(Body::Empty)
    };
    let engine = engine();
    let first = answer(&engine, request(value.clone()).expect("a request"));
    assert!(matches!(first.status(), StatusCode::CREATED | StatusCode::BAD_REQUEST), "{value:?}: {first:?}");
    if first.status() == StatusCode::CREATED
        && let Ok(text) = value.to_str()
        && !text.contains('"')
    {
        let quoted = HeaderValue::from_str(&format!("\"{}\"", text.trim_matches([' ', '\t']))).expect("a header");
        let again = answer(&engine, request(quoted).expect("a request"));
        assert!(again.headers().contains_key("idempotency-replayed"), "{value:?}: {again:?}");
    }
}

/// A canonical form is its own canonical form.
///
/// # Panics
/// If that does not hold.
pub fn json(bytes: &[u8]) {
    if let Ok(canonical) = canonical_json(bytes) {
        let again = canonical_json(&canonical).expect("a canonical form is JSON");
        assert_eq!(again, canonical);
    }
}

/// An API Gateway event, in either payload format, gets a response, and the same one again.
///
/// # Panics
/// If that does not hold.
pub fn http_event(bytes: &[u8]) {
    // lambda_http panics on a body that is not base64 although the event declares it, and on a host, path or query that
    // makes no URL; API Gateway sends none of these. The runtime reports that as a function error: nothing has run.
    let request = || {
        let event: LambdaRequest = serde_json::from_slice(bytes).ok()?;
        std::panic::catch_unwind(AssertUnwindSafe(|| Request::from(event))).ok()
    };
    let (Some(first), Some(again)) = (request(), request()) else { return };
    let engine = engine();
    let [first, again] = [first, again].map(|request| answer(&engine, request));
    assert_eq!((first.status(), first.body().as_ref()), (again.status(), again.body().as_ref()));
}

/// Each message of a batch is settled or returned, whatever its shape; a message without an id fails the batch.
///
/// # Panics
/// If a message is returned that was not delivered.
pub fn sqs_event(bytes: &[u8]) {
    let Some((event, batch)) = event::<SqsBatch>(bytes, of_records) else { return };
    let ids: Vec<_> = records(&event).map(|message| message["messageId"].as_str().unwrap_or_default()).collect();
    let principal = Principal::new("producer").expect("valid");
    let key = KeySource::pointer(Pointer::new("/id").expect("valid"));
    let queue = Queue::new(engine(), operation(), principal, key);
    let handled = run(queue.handle(&batch, a_minute(), |_, _| async { Verdict::Success(()) }));
    match handled {
        Ok(response) => {
            assert!(response.batch_item_failures.iter().all(|failure| ids.contains(&&*failure.item_identifier)));
        }
        Err(_) => assert!(ids.contains(&"")),
    }
}

/// A Kafka batch runs, in each partition up to a record that cannot be read, and does not run again; a record without
/// an offset fails the batch.
///
/// # Panics
/// If that does not hold.
pub fn kafka_event(bytes: &[u8]) {
    let Some((event, batch)) = event::<KafkaBatch>(bytes, of_partitions) else { return };
    let (kafka, deadline) = (Kafka::new(Stream::new(engine(), operation(), "fuzz")), a_minute());
    runs_once(async |runs: &AtomicU64| {
        let response = kafka.handle(batch.clone(), deadline, |_, _| counted(runs)).await.ok()?;
        let failed = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier);
        let delivered = |partition: &str, offset| {
            event["records"][partition]
                .as_array()
                .is_some_and(|records| records.iter().any(|one| one["offset"] == offset))
        };
        let failed = failed.inspect(|failed| assert!(delivered(&failed.partition, failed.offset), "{failed:?}"));
        Some(failed.collect::<Vec<_>>())
    });
}

/// A Kinesis batch runs, in each shard up to a record that cannot be read, and does not run again; a record without a
/// number or a shard fails the batch.
///
/// # Panics
/// If that does not hold.
pub fn kinesis_event(bytes: &[u8]) {
    let Some((_, batch)) = event::<KinesisBatch>(bytes, of_records) else { return };
    let kinesis = Kinesis::new(Stream::new(engine(), operation(), "fuzz"), 1).expect("not parallel");
    let deadline = a_minute();
    runs_once(async |runs: &AtomicU64| {
        let response = kinesis.handle(batch.clone(), deadline, |_, _| counted(runs)).await.ok()?;
        Some(response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect::<Vec<_>>())
    });
}

/// A batch of a table's stream runs up to a change that cannot be read or identified, and does not run again.
///
/// # Panics
/// If that does not hold.
pub fn table_event(bytes: &[u8]) {
    let Some((event, batch)) = event::<TableBatch>(bytes, of_records) else { return };
    let numbers: Vec<_> = records(&event).map(|change| change["dynamodb"]["SequenceNumber"].as_str()).collect();
    let table = TableStream::new(engine(), operation(), Principal::new("table").expect("valid"));
    let deadline = a_minute();
    runs_once(async |runs: &AtomicU64| {
        let response = table.handle(batch.clone(), deadline, |_, _| counted(runs)).await.ok()?;
        let failed = response.batch_item_failures.into_iter().map(|failure| failure.item_identifier);
        let failed: Vec<_> =
            failed.inspect(|failed| assert!(numbers.contains(&failed.as_deref()), "{failed:?}")).collect();
        Some(failed)
    });
}

/// An event as JSON and as the library parses it. It must parse, whatever shape its records have.
fn event<B: DeserializeOwned>(bytes: &[u8], is_event: fn(&Value) -> bool) -> Option<(Value, B)> {
    let event: Value = serde_json::from_slice(bytes).ok().filter(is_event)?;
    let batch = serde_json::from_value(event.clone()).expect("an event is read whatever its records are");
    Some((event, batch))
}

fn of_records(event: &Value) -> bool {
    event.is_object() && event["Records"].is_array()
}

fn of_partitions(event: &Value) -> bool {
    event["records"].as_object().is_some_and(|partitions| partitions.values().all(Value::is_array))
}

fn records(event: &Value) -> impl Iterator<Item = &Value> {
    event["Records"].as_array().into_iter().flatten()
}

/// Checks that an event that is delivered twice gets the same result and runs only the first time, and that a refused
/// event does not run.
fn runs_once<T: Debug + PartialEq>(deliver: impl AsyncFn(&AtomicU64) -> Option<T>) {
    let runs = AtomicU64::new(0);
    let first = run(deliver(&runs));
    let ran = runs.swap(0, Ordering::Relaxed);
    assert!(first.is_some() || ran == 0, "{ran} records of a refused event ran");
    assert_eq!(run(deliver(&runs)), first);
    assert_eq!(runs.load(Ordering::Relaxed), 0, "ran again");
}

fn counted(runs: &AtomicU64) -> impl Future<Output = Verdict<()>> {
    runs.fetch_add(1, Ordering::Relaxed);
    std::future::ready(Verdict::Success(()))
}

fn engine() -> Engine<MemoryStore> {
    Engine::builder(MemoryStore::new()).build()
}

fn operation() -> Operation {
    Operation::new("fuzz", "message")
}

fn a_minute() -> EpochMs {
    engine().now().plus(Duration::from_secs(60))
}

fn answer(engine: &Engine<MemoryStore>, request: Request) -> Response<Body> {
    let layer = IdempotencyLayer::new(engine.clone(), "fuzz").principal(|_| Principal::new("somebody").ok());
    let handler = service_fn(|_: Request| async {
        Ok::<_, Infallible>(Response::builder().status(201).body(Body::Empty).expect("a response"))
    });
    run(layer.layer(handler).oneshot(request)).expect("cannot fail")
}

fn run<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime").block_on(future)
}
