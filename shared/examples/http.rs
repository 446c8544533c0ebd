//! An HTTP API with a JWT authorizer, whose `POST /orders` takes effect once, however often a client repeats it.
//!
//! `cargo run -p idempotency --example http --features examples` needs no AWS: the store is in memory, and the events
//! are those of an HTTP API. The principal is the subject of the JWT, which API Gateway has verified. In a function the
//! store is `DynamoDbStore`, and `lambda_http::run(layer.layer(service_fn(handler)))` serves it.

use idempotency::events::HttpEvent;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};
use serde_json::json;

/// Places the order as a transactional effect: it is written together with the record of this request.
async fn handler(request: Request) -> Result<Response<Body>, Error> {
    let attempt = Attempt::<Effect>::from_request(&request)?;
    attempt.add_effect(Effect::named("order placed"));
    let id = attempt.transaction();
    Ok(Response::builder().status(201).header("location", format!("/orders/{id}")).body(Body::Empty)?)
}

fn order(user: &str, key: &str, item: &str) -> HttpEvent {
    HttpEvent::http_api("POST", "/orders").route("/orders").jwt_subject(user).key(key).json(&json!({"item": item}))
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let store = MemoryStore::new();
    let layer = IdempotencyLayer::new(Engine::builder(store.clone()).build(), "orders");
    let api = layer.layer(service_fn(handler));

    for (what, event, expected) in [
        ("the first request", order("alice", "k-1", "tea"), "201 Created"),
        ("the same again", order("alice", "k-1", "tea"), "201 Created, replayed"),
        ("its key for another order", order("alice", "k-1", "coffee"), "422 Unprocessable Entity"),
        ("the same key of another user", order("bob", "k-1", "coffee"), "201 Created"),
    ] {
        let response = api.clone().oneshot(event.request()?).await?;
        let replayed = if response.headers().contains_key("idempotency-replayed") { ", replayed" } else { "" };
        println!("{what}: {}{replayed}", response.status());
        assert_eq!(format!("{}{replayed}", response.status()), expected);
    }
    let unsigned = HttpEvent::http_api("POST", "/orders").key("k-1").request()?;
    assert_eq!(api.oneshot(unsigned).await?.status(), 403, "without an authorizer no caller is identified");
    println!("orders placed: {}", store.applied("order placed"));
    assert_eq!(store.applied("order placed"), 2);
    Ok(())
}
