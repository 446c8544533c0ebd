//! A target group of an Application Load Balancer that signs in its users by OpenID Connect.
//!
//! `cargo run -p idempotency --example alb --features examples,alb` needs no AWS: the store is in memory, and the
//! events are those of a load balancer. In a function the store is `DynamoDbStore`, and `lambda_http::run(…)` serves
//! the layer.

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::events::HttpEvent;
use idempotency::http::{Route, alb_user};
use idempotency::store::memory::MemoryStore;
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};
use serde_json::json;

static RUNS: AtomicU32 = AtomicU32::new(0);

async fn handler(_: Request) -> Result<Response<Body>, Error> {
    let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
    Ok(Response::builder().status(201).body(format!("run {run}").into())?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let layer = IdempotencyLayer::new(Engine::builder(MemoryStore::new()).build(), "orders")
        // Each rule that forwards to the target group must have an authenticate action; otherwise any client could send
        // this header.
        .principal(alb_user)
        // A load balancer has no routes.
        .route(Route::new("POST /orders/{id}/refunds")?);
    let api = layer.layer(service_fn(handler));
    for (user, expected) in [("alice", "run 1"), ("alice", "run 1"), ("bob", "run 2")] {
        let event = HttpEvent::alb("POST", "/orders/7/refunds").header("x-amzn-oidc-identity", user);
        let response = api.clone().oneshot(event.key("k-1").json(&json!({"amount": 5})).request()?).await?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        println!("{user}: {} {body}", response.status());
        assert_eq!(body, expected, "each user has their own keys");
    }
    let stranger = HttpEvent::alb("POST", "/orders/7/refunds").key("k-1").json(&json!({"amount": 5}));
    assert_eq!(api.oneshot(stranger.request()?).await?.status(), 403);
    Ok(())
}
