//! The application's functions as they are deployed: with their own keys, fingerprints, contention and handlers.

use std::time::Duration;

use idempotency::engine::{Clock, SystemClock};
use idempotency::protocol::{Pointer, Principal};
use idempotency::sqs::{KeySource, SqsBatch};
use idempotency::{DynamoDbStore, Operation, Queue};
use lambda_http::Request;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceExt;
use ledger_worker::Worker;

use crate::canned::{ACCEPTED, engine, provider, refusal, table};

pub(super) const PATHS: [&str; 6] = [
    "payments-api: first run of a payment",
    "payments-api: replay of a payment",
    "ledger-worker: a batch of 10 payment events",
    "ledger-worker: a batch of 10 payment events under a plain key",
    "ledger-worker: a batch of 10 sales",
    "ledger-worker: a batch of 10 sales under a plain key",
];

pub(super) async fn run(path: &str, count: usize) {
    match path {
        "payments-api: first run of a payment" => first_runs(count).await,
        "payments-api: replay of a payment" => replays(count).await,
        "ledger-worker: a batch of 10 payment events" => events(worker(), count).await,
        "ledger-worker: a batch of 10 payment events under a plain key" => events(plain_worker("/event"), count).await,
        "ledger-worker: a batch of 10 sales" => sales(worker(), count).await,
        "ledger-worker: a batch of 10 sales under a plain key" => sales(plain_worker("/sequence"), count).await,
        other => panic!("no path {other}"),
    }
}

async fn first_runs(count: usize) {
    let service = payments_api::service(engine(ACCEPTED, 200), provider(), table(ACCEPTED, 200), None, None);
    for number in 0..count {
        let response = service.clone().oneshot(payment(number)).await.expect("infallible");
        assert_eq!(response.status(), 201, "{:?}", response.body());
    }
}

async fn replays(count: usize) {
    let first = payments_api::service(engine(ACCEPTED, 200), provider(), table(ACCEPTED, 200), None, None);
    first.oneshot(payment(0)).await.expect("infallible");
    let refusing = engine(refusal(), 400);
    let service = payments_api::service(refusing, provider(), table(ACCEPTED, 200), None, None);
    for _ in 0..count {
        let response = service.clone().oneshot(payment(0)).await.expect("infallible");
        assert_eq!(response.status(), 201, "{:?}", response.body());
        assert!(response.headers().contains_key("idempotency-replayed"));
    }
}

async fn events(worker: Worker<DynamoDbStore>, count: usize) {
    for number in 0..count {
        handle(&worker, &bench::event::payment_events(number, 10)).await;
    }
}

async fn sales(worker: Worker<DynamoDbStore>, count: usize) {
    for number in 0..count {
        handle(&worker, &bench::event::sales(number, 10)).await;
    }
}

async fn handle(worker: &Worker<DynamoDbStore>, event: &[u8]) {
    // Parses the event as the runtime does.
    let batch: SqsBatch = serde_json::from_slice(event).expect("an event");
    let deadline = SystemClock.now().plus(Duration::from_secs(30));
    let response = worker.handle(&batch, deadline).await.expect("handled");
    assert!(response.batch_item_failures.is_empty());
}

fn worker() -> Worker<DynamoDbStore> {
    Worker::new(engine(ACCEPTED, 200), table(ACCEPTED, 200)).expect("valid settings")
}

/// The same worker on a queue with a plain key: one member of the body. The body is compared as a whole, and no trace
/// is read.
fn plain_worker(key: &str) -> Worker<DynamoDbStore> {
    let (operation, producer) = (Operation::new("ledger", "post to the ledger"), Principal::new("payments"));
    let key = KeySource::pointer(Pointer::new(key).expect("valid"));
    let queue = Queue::new(engine(ACCEPTED, 200), operation, producer.expect("valid"), key);
    Worker::on(queue.single_write(), table(ACCEPTED, 200))
}

fn payment(number: usize) -> Request {
    let event = bench::event::payment(&format!("key-{number}"));
    serde_json::from_slice::<LambdaRequest>(&event).expect("an event").into()
}
