//! Runs one hot path a number of times: `hot_paths NAME COUNT`. Without arguments it prints the names.
//!
//! `bench instructions` counts the instructions of one run. The replies of DynamoDB are canned, so the counts include
//! this library and the SDK but no network.

// The layer's future holds the engine's, the store's and the SDK's.
#![recursion_limit = "256"]

mod canned;
mod functions;

use std::hint::black_box;
use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use idempotency::engine::{Attempt, Call, Engine, Operation, Outcome, Verdict};
use idempotency::protocol::{
    ClaimRequest, Compare, Decision, EpochMs, EpochS, Fingerprint, Fingerprinter, Key, LeaseLimit, OwnerToken, Pointer,
    Principal, RecordId, Resolution, Selection, Settled, TransactionId, Uncertain, canonical_json, decide, settle,
};
use idempotency::sqs::{KeySource, Message};
use idempotency::{DynamoDbStore, IdempotencyLayer, Queue};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::{Layer, ServiceExt};
use lambda_http::{Body, Response, service_fn};
use lambda_runtime::{Context, LambdaEvent};
use serde::Deserialize;
use subjects::floor::{Floor, Keeps};
use subjects::{CONCURRENCY, Order};

use canned::{ACCEPTED, engine, floor, refusal};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [path, count] => run(path, count.parse().expect("a count")).await,
        _ => PATHS.iter().chain(&functions::PATHS).for_each(|path| println!("{path}")),
    }
}

const PATHS: [&str; 17] = [
    "canonical JSON of a request",
    "fingerprint of a request",
    "record id",
    "decide: begin and settle",
    "decide: replay",
    "engine: claim and commit",
    "engine: one write",
    "engine: one write with an effect",
    "engine: replay",
    "layer: first run of an API Gateway event",
    "floor: first run of an API Gateway event",
    "layer: replay of an API Gateway event",
    "floor: replay of an API Gateway event",
    "queue: a batch of 100 messages",
    "queue: a batch of 100 messages with pointers and a trace",
    "floor: a batch of 100 messages",
    "floor with an equal record: a batch of 100 messages",
];

const BODY: &[u8] =
    br#"{"account":"acct-1","amount":1999,"currency":"EUR","payment_method":"pm_card_visa","reference":"order 17"}"#;

const NOW: EpochMs = EpochMs(1_795_550_400_000);

async fn run(path: &str, count: usize) {
    match path.split_once(':').map_or(path, |(subject, _)| subject) {
        "canonical JSON of a request" | "fingerprint of a request" | "record id" | "decide" => without_io(path, count),
        "engine" => through_engine(path, count).await,
        "layer" => through_layer(path, count).await,
        "queue" => through_queue(path, count).await,
        "floor" | "floor with an equal record" => on_floor(path, count).await,
        _ => functions::run(path, count).await,
    }
}

fn without_io(path: &str, count: usize) {
    match path {
        "canonical JSON of a request" => repeat(count, |_| canonical_json(black_box(BODY))),
        "fingerprint of a request" => repeat(count, |_| fingerprint()),
        "record id" => {
            repeat(count, |number| RecordId::new("payments", &Principal::new("alice").expect("valid"), &key(number)))
        }
        "decide: begin and settle" => repeat(count, |number| {
            let request = request(number);
            let Decision::Begin(write) = decide(None, &request, NOW) else { panic!("a claim") };
            settle(write.record, request.owner, Resolution::Success, settled(), NOW)
        }),
        "decide: replay" => {
            let request = request(0);
            let Decision::Begin(write) = decide(None, &request, NOW) else { panic!("a claim") };
            let write = settle(write.record, request.owner, Resolution::Success, settled(), NOW);
            repeat(count, |_| {
                assert!(matches!(decide(Some(black_box(&write.record)), &request, NOW), Decision::Replay(..)))
            });
        }
        other => panic!("no path {other}"),
    }
}

async fn through_engine(path: &str, count: usize) {
    let accepting = engine(ACCEPTED, 200);
    match path {
        "engine: claim and commit" => {
            for number in 0..count {
                let run = |_: Attempt<TransactWriteItem>| async { Verdict::Success("order-1".to_owned()) };
                let outcome = accepting.run(&call(&accepting, number), run).await;
                assert!(matches!(outcome, Ok(Outcome::Executed(_))), "{outcome:?}");
            }
        }
        "engine: one write" => {
            for number in 0..count {
                assert!(matches!(single_write(&accepting, number, false).await, Outcome::Executed(_)));
            }
        }
        "engine: one write with an effect" => {
            for number in 0..count {
                assert!(matches!(single_write(&accepting, number, true).await, Outcome::Executed(_)));
            }
        }
        "engine: replay" => {
            single_write(&accepting, 0, false).await;
            let refusing = engine(refusal(), 400);
            for _ in 0..count {
                assert!(matches!(single_write(&refusing, 0, false).await, Outcome::Replayed(_)));
            }
        }
        other => panic!("no path {other}"),
    }
}

async fn through_layer(path: &str, count: usize) {
    let accepting = engine(ACCEPTED, 200);
    match path {
        "layer: first run of an API Gateway event" => {
            let layer = IdempotencyLayer::new(accepting, "orders").layer(service_fn(handler));
            for number in 0..count {
                let response = layer.clone().oneshot(event(number)).await.expect("infallible");
                assert_eq!(response.status(), 201);
            }
        }
        "layer: replay of an API Gateway event" => {
            let layer = |engine| IdempotencyLayer::new(engine, "orders").layer(service_fn(handler));
            layer(accepting).oneshot(event(0)).await.expect("infallible");
            let refused = layer(engine(refusal(), 400));
            for _ in 0..count {
                let response = refused.clone().oneshot(event(0)).await.expect("infallible");
                assert_eq!(response.status(), 201);
            }
        }
        other => panic!("no path {other}"),
    }
}

async fn through_queue(path: &str, count: usize) {
    let accepting = engine(ACCEPTED, 200);
    match path {
        "queue: a batch of 100 messages" => {
            let operation = Operation::new("orders", "post");
            let queue = Queue::new(accepting.clone(), operation, shop(), KeySource::pointer(at("/key")));
            batches(count, &accepting, &queue.single_write().concurrency(CONCURRENCY)).await;
        }
        "queue: a batch of 100 messages with pointers and a trace" => {
            let compared = Selection::of(at("/amount")).and(at("/effect")).and_optional(at("/reference"));
            let operation = Operation::new("orders", "post").compare(Compare::Selected(compared));
            let key = KeySource::pointer(at("/order")).or(KeySource::pointers(at("/amount"), [at("/key")]));
            let queue = Queue::new(accepting.clone(), operation, shop(), key).traceparent(at("/traceparent"));
            batches(count, &accepting, &queue.single_write().concurrency(CONCURRENCY)).await;
        }
        other => panic!("no path {other}"),
    }
}

async fn on_floor(path: &str, count: usize) {
    match path {
        "floor: first run of an API Gateway event" => {
            let floor = floor(ACCEPTED, 200);
            for number in 0..count {
                assert_eq!(floor.request(event(number)).await.expect("a response").status(), 201);
            }
        }
        "floor: replay of an API Gateway event" => {
            floor(ACCEPTED, 200).single_write(event(0)).await.expect("a response");
            let refused = floor(refusal(), 400);
            for _ in 0..count {
                assert_eq!(refused.request(event(0)).await.expect("a response").status(), 201);
            }
        }
        "floor: a batch of 100 messages" | "floor with an equal record: a batch of 100 messages" => {
            let keeps = if path.starts_with("floor:") { Keeps::Enough } else { Keeps::AsMuch };
            let floor = Floor { keeps, ..floor(ACCEPTED, 200) };
            for number in 0..count {
                let event = LambdaEvent::new(batch(number), Context::default());
                assert!(floor.batch(event).await.expect("handled").batch_item_failures.is_empty());
            }
        }
        other => panic!("no path {other}"),
    }
}

async fn batches(count: usize, engine: &Engine<DynamoDbStore>, queue: &Queue<DynamoDbStore>) {
    for number in 0..count {
        let deadline = engine.now().plus(Duration::from_secs(30));
        let response = queue.handle(&batch(number), deadline, message).await.expect("handled");
        assert!(response.batch_item_failures.is_empty());
    }
}

fn shop() -> Principal {
    Principal::new("shop").expect("valid")
}

fn at(pointer: &str) -> Pointer {
    Pointer::new(pointer).expect("valid")
}

fn repeat<T>(count: usize, run: impl Fn(usize) -> T) {
    for number in 0..count {
        black_box(run(number));
    }
}

async fn handler(request: lambda_http::Request) -> Result<Response<Body>, lambda_http::Error> {
    let order: Order = serde_json::from_slice(request.body())?;
    let (status, body) = order.carry_out();
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.into())?)
}

async fn message(_: Attempt<TransactWriteItem>, message: Message<'_>) -> Verdict<()> {
    match message.document().map(Order::deserialize) {
        Ok(Ok(order)) => {
            order.carry_out();
            Verdict::Success(())
        }
        Ok(Err(_)) | Err(_) => Verdict::NotExecuted(()),
    }
}

async fn single_write(engine: &Engine<DynamoDbStore>, number: usize, effect: bool) -> Outcome<String> {
    let run = |attempt: Attempt<TransactWriteItem>| async move {
        if effect {
            let put =
                Put::builder().table_name("Effects").item("id", AttributeValue::S(attempt.transaction().to_string()));
            attempt.add_effect(TransactWriteItem::builder().put(put.build().expect("complete")).build());
        }
        Verdict::Success("order-1".to_owned())
    };
    engine.run_single_write(&call(engine, number), run).await.expect("an outcome")
}

fn event(number: usize) -> lambda_http::Request {
    let event = bench::event::request(&format!("key-{number}"), &bench::event::Order::default(), false);
    // Parses the event as the runtime does.
    serde_json::from_slice::<LambdaRequest>(&event).expect("an event").into()
}

fn batch<E: serde::de::DeserializeOwned>(number: usize) -> E {
    let keys = (0..100).map(|message| format!("key-{number}-{message}"));
    serde_json::from_slice(&bench::event::batch(keys, &bench::event::Order::default())).expect("an event")
}

fn call(engine: &Engine<DynamoDbStore>, number: usize) -> Call {
    Call::new(
        Operation::new("payments", "POST /payments"),
        Principal::new("alice").expect("valid"),
        key(number),
        fingerprint(),
        engine.now().plus(Duration::from_secs(30)),
    )
}

fn request(number: usize) -> ClaimRequest {
    let principal = Principal::new("alice").expect("valid");
    ClaimRequest {
        id: RecordId::new("payments", &principal, &key(number)),
        operation: "POST /payments".into(),
        principal: Some(principal.digest()),
        subject: None,
        invocation: None,
        trace: None,
        fingerprint: fingerprint(),
        owner: OwnerToken([7; 16]),
        transaction: TransactionId::new(NOW, [7; 10]),
        lease: LeaseLimit { at_most: Duration::from_secs(30), by: EpochMs(u64::MAX) },
        uncertain: Uncertain::default(),
    }
}

fn key(number: usize) -> Key {
    Key::new(format!("8e03978e-40d5-43dd-bc93-{number:012}")).expect("valid")
}

fn fingerprint() -> Fingerprint {
    Fingerprinter::new().bytes(b"POST").bytes(b"/payments").bytes(b"").value(black_box(BODY)).finish()
}

fn settled() -> Settled {
    Settled { response: br#"{"id":"order-1"}"#.to_vec().into(), expiration: EpochS(NOW.seconds().0 + 86_400) }
}
