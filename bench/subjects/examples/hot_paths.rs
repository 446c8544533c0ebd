//! Runs one hot path so many times: `hot_paths NAME COUNT`. Without arguments it tells the names.
//!
//! `bench instructions` counts what one run costs. The store's replies are canned: what is left is this library, the
//! SDK, and nothing of a network.

// The layer's future holds the engine's, the store's and the SDK's.
#![recursion_limit = "256"]

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsMessage;
use aws_sdk_dynamodb::config::{BehaviorVersion, Builder, Credentials, Region};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use aws_sdk_dynamodb::{Client, Config};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use idempotency::engine::{Attempt, Call, Engine, Operation, Outcome, Verdict};
use idempotency::protocol::{
    ClaimRequest, Decision, EpochMs, EpochS, Fingerprint, Fingerprinter, Key, OwnerToken, Pointer, Principal, RecordId,
    Resolution, Settled, TransactionId, Uncertain, canonical_json, decide, settle,
};
use idempotency::sqs::KeySource;
use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, IdempotencyLayer, Queue};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::{Layer, ServiceExt};
use lambda_http::{Body, Response, service_fn};
use lambda_runtime::{Context, LambdaEvent};
use serde_json::json;
use subjects::floor::Floor;
use subjects::{CONCURRENCY, Order};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [path, count] => run(path, count.parse().expect("a count")).await,
        _ => PATHS.iter().for_each(|path| println!("{path}")),
    }
}

const PATHS: [&str; 15] = [
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
    "floor: a batch of 100 messages",
];

const BODY: &[u8] =
    br#"{"account":"acct-1","amount":1999,"currency":"EUR","payment_method":"pm_card_visa","reference":"order 17"}"#;

const NOW: EpochMs = EpochMs(1_795_550_400_000);

async fn run(path: &str, count: usize) {
    let accepting = engine(ACCEPTED, 200);
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
        "layer: first run of an API Gateway event" => {
            let layer = IdempotencyLayer::new(accepting, "orders").layer(service_fn(handler));
            for number in 0..count {
                let response = layer.clone().oneshot(event(number)).await.expect("infallible");
                assert_eq!(response.status(), 201);
            }
        }
        "floor: first run of an API Gateway event" => {
            let floor = floor(ACCEPTED, 200);
            for number in 0..count {
                assert_eq!(floor.request(event(number)).await.expect("a response").status(), 201);
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
        "floor: replay of an API Gateway event" => {
            floor(ACCEPTED, 200).single_write(event(0)).await.expect("a response");
            let refused = floor(refusal(), 400);
            for _ in 0..count {
                assert_eq!(refused.request(event(0)).await.expect("a response").status(), 201);
            }
        }
        "queue: a batch of 100 messages" => {
            let operation = Operation::new("orders", "post");
            let sender = Principal::new("shop").expect("valid");
            let key = KeySource::pointer(Pointer::new("/key").expect("valid"));
            let queue = Queue::new(accepting.clone(), operation, sender, key);
            let queue = queue.single_write().concurrency(CONCURRENCY);
            for number in 0..count {
                let deadline = accepting.now().plus(Duration::from_secs(30));
                let response = queue.handle(&batch(number), deadline, message).await.expect("handled");
                assert!(response.batch_item_failures.is_empty());
            }
        }
        "floor: a batch of 100 messages" => {
            let floor = floor(ACCEPTED, 200);
            for number in 0..count {
                let event = LambdaEvent::new(batch(number), Context::default());
                assert!(floor.batch(event).await.expect("handled").batch_item_failures.is_empty());
            }
        }
        other => panic!("no path {other}"),
    }
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

async fn message(_: Attempt<TransactWriteItem>, message: &SqsMessage) -> Verdict<()> {
    match serde_json::from_str::<Order>(message.body.as_deref().unwrap_or_default()) {
        Ok(order) => {
            order.carry_out();
            Verdict::Success(())
        }
        Err(_) => Verdict::NotExecuted(()),
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

const ACCEPTED: &str = "{}";

/// What DynamoDB answers to a claim where the item that was put last is.
fn refusal() -> String {
    let sent: serde_json::Value = serde_json::from_slice(&SENT.lock().expect("not poisoned")).expect("JSON");
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": sent["Item"],
    })
    .to_string()
}

/// The body of the last request.
static SENT: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// A DynamoDB that always answers the same.
#[derive(Debug)]
struct Canned {
    status: u16,
    reply: String,
}

impl HttpConnector for Canned {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut sent = SENT.lock().expect("not poisoned");
        sent.clear();
        sent.extend_from_slice(request.body().bytes().unwrap_or_default());
        let status = StatusCode::try_from(self.status).expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(self.reply.clone()))))
    }
}

fn engine(reply: impl Into<String>, status: u16) -> Engine<DynamoDbStore> {
    let store = DynamoDbStore::new(client(dynamodb::client().config().to_builder(), reply, status), "Records");
    // Nothing is remembered in the process: a replay is one from the store.
    Engine::builder(store).cache_bytes(0).build()
}

/// With the settings that the SDK has by itself, as in its function.
fn floor(reply: impl Into<String>, status: u16) -> Floor {
    let client = client(Config::builder().behavior_version(BehaviorVersion::v2026_01_12()), reply, status);
    Floor { client, records: "Records".into(), effects: "Effects".into() }
}

fn client(config: Builder, reply: impl Into<String>, status: u16) -> Client {
    let connector = SharedHttpConnector::new(Canned { status, reply: reply.into() });
    let config = config
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .region(Region::new("eu-central-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "hot paths"));
    Client::from_conf(config.build())
}

fn event(number: usize) -> lambda_http::Request {
    let event = bench::event::request(&format!("key-{number}"), &bench::event::Order::default(), false);
    // As the runtime reads it.
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
        lease: NOW.plus(Duration::from_secs(30)),
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
