//! A function that uses the library.

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use idempotency::engine::{Attempt, Call, Engine, Operation, Outcome, Verdict};
use idempotency::http::jwt_subject;
use idempotency::protocol::{EpochMs, Fingerprinter, Key, Pointer, Principal};
use idempotency::sqs::{KeySource, Message, SqsBatch};
use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, IdempotencyLayer, Queue};
use lambda_http::tower::Layer;
use lambda_http::{Body, Error, Request, RequestExt, Response};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Deserialize;
use subjects::{CONCURRENCY, Order, Reply, hold, setting};

/// The same allocator as in the functions of the application.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let store = DynamoDbStore::new(dynamodb::client(), setting("RECORDS_TABLE"));
    store.warm().await;
    let engine = Engine::builder(store).build();
    match setting("MODE").as_str() {
        "http" => {
            let layer = IdempotencyLayer::new(engine, "orders");
            lambda_http::run(layer.layer(service_fn(request))).await
        }
        "single-write" => {
            let engine = &engine;
            lambda_http::run(service_fn(async |request| single_write(engine, request).await)).await
        }
        _ => {
            let operation = Operation::new("orders", "post");
            let queue =
                Queue::new(engine, operation, Principal::new("shop")?, KeySource::pointer(Pointer::new("/key")?));
            let queue = queue.single_write().concurrency(CONCURRENCY);
            let queue = &queue;
            let handle = async |event: LambdaEvent<SqsBatch>| {
                queue.handle(&event.payload, EpochMs(event.context.deadline), message).await.map_err(Error::from)
            };
            lambda_runtime::run(service_fn(handle)).await
        }
    }
}

/// The handler under the layer: claim → run → commit.
async fn request(request: Request) -> Result<Response<Body>, Error> {
    let order: Order = serde_json::from_slice(request.body())?;
    hold(request.headers()).await;
    let reply = order.carry_out();
    add_effect(&order, &Attempt::from_request(&request)?)?;
    respond(reply)
}

/// The handler in single-write mode: all effects are transactional, so it makes one request.
async fn single_write(engine: &Engine<DynamoDbStore>, request: Request) -> Result<Response<Body>, Error> {
    let order: Order = serde_json::from_slice(request.body())?;
    let key = request.headers().get("idempotency-key").ok_or("no key")?.to_str()?;
    let call = Call::new(
        Operation::new("orders", "POST /orders"),
        jwt_subject(&request).ok_or("nobody")?,
        Key::new(key)?,
        Fingerprinter::new().value(request.body()).finish(),
        EpochMs(request.lambda_context().deadline),
    );
    let order = &order;
    let run = |attempt: Attempt<TransactWriteItem>| async move {
        let reply = order.carry_out();
        match add_effect(order, &attempt) {
            Ok(()) => verdict(reply),
            Err(error) => Verdict::Unknown(error.into()),
        }
    };
    match engine.run_single_write(&call, run).await? {
        Outcome::Executed(answered) | Outcome::Replayed(answered) => respond(answered.answer),
        Outcome::NotExecuted(reply) => respond(reply),
        Outcome::Mismatch | Outcome::Conflict => respond((422, String::new())),
        Outcome::InProgress { .. } | Outcome::Unknown { .. } => respond((409, String::new())),
    }
}

async fn message(attempt: Attempt<TransactWriteItem>, message: Message<'_>) -> Verdict<()> {
    let Some(order) = message.document().ok().and_then(|document| Order::deserialize(document).ok()) else {
        return Verdict::NotExecuted(());
    };
    order.carry_out();
    match add_effect(&order, &attempt) {
        Ok(()) => Verdict::Success(()),
        Err(error) => Verdict::Unknown(error.into()),
    }
}

fn verdict(reply: Reply) -> Verdict<Reply> {
    if reply.0 < 400 { Verdict::Success(reply) } else { Verdict::Failed(reply) }
}

fn respond((status, body): Reply) -> Result<Response<Body>, Error> {
    Ok(Response::builder().status(status).header("content-type", "application/json").body(body.into())?)
}

fn add_effect(order: &Order, attempt: &Attempt<TransactWriteItem>) -> Result<(), Error> {
    if order.effect {
        let put = Put::builder()
            .table_name(setting("EFFECTS_TABLE"))
            .item("id", AttributeValue::S(attempt.transaction().to_string()));
        attempt.add_effect(TransactWriteItem::builder().put(put.build()?).build());
    }
    Ok(())
}
