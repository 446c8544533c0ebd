//! An API whose `POST /orders` takes effect once, however often a client repeats it.
//!
//! `cargo run -p idempotency --example http` needs no AWS: the store is in memory, and the requests are made here.
//! In a function the store is `DynamoDbStore`, and `lambda_http::run(layer.layer(service_fn(handler)))` serves it.

use idempotency::engine::Attempt;
use idempotency::protocol::Principal;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};

/// Places the order as a transactional effect: it is written together with the record of this request.
async fn handler(request: Request) -> Result<Response<Body>, Error> {
    let attempt = request.extensions().get::<Attempt<Effect>>().ok_or("the route is not protected")?;
    attempt.add_effect(Effect::named("order placed"));
    let id = attempt.transaction();
    Ok(Response::builder().status(201).header("location", format!("/orders/{id}")).body(Body::Empty)?)
}

fn order(key: &str, body: &str) -> Result<Request, Error> {
    let request = lambda_http::http::Request::post("/orders").header("content-type", "application/json");
    Ok(request.header("idempotency-key", key).header("x-user", "alice").body(body.into())?)
}

/// Here the user is a header. Behind API Gateway, take `http::jwt_subject` or `http::iam_user`: a client cannot choose
/// those.
fn user(request: &Request) -> Option<Principal> {
    Principal::new(request.headers().get("x-user")?.to_str().ok()?).ok()
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let store = MemoryStore::new();
    let layer = IdempotencyLayer::new(Engine::builder(store.clone()).build(), "orders").principal(user);
    let api = layer.layer(service_fn(handler));

    let requests = [
        ("the first request", order("k-1", r#"{"item":"tea"}"#)?),
        ("the same again", order("k-1", r#"{"item":"tea"}"#)?),
        ("its key for another order", order("k-1", r#"{"item":"coffee"}"#)?),
        ("another key", order("k-2", r#"{"item":"coffee"}"#)?),
    ];
    for (what, request) in requests {
        let response = api.clone().oneshot(request).await?;
        let replayed = response.headers().contains_key("idempotency-replayed");
        println!("{what}: {}{}", response.status(), if replayed { ", replayed" } else { "" });
    }
    println!("orders placed: {}", store.applied("order placed"));
    assert_eq!(store.applied("order placed"), 2);
    Ok(())
}
