//! An axum router on Lambda, with the layer around it and an extractor for the attempt.
//!
//! `cargo run -p idempotency --example axum --features examples,axum` needs no AWS: the store is in memory, and the
//! requests are made here. In a function the store is `DynamoDbStore`, and `lambda_http::run(layer.layer(router))`
//! serves it.

use axum::extract::Path;
use axum::routing::post;
use axum::{Json, Router};
use idempotency::http::axum::refused_before_the_handler;
use idempotency::http::{Route, everyone};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt};
use lambda_http::{Error, Request};
use serde::Deserialize;

#[derive(Deserialize)]
struct Refund {
    amount: u64,
}

async fn refund(attempt: Attempt<Effect>, Path(order): Path<String>, Json(refund): Json<Refund>) -> String {
    attempt.add_effect(Effect::named("refunded"));
    format!("{} refunded of {order} as {}", refund.amount, attempt.transaction())
}

fn request(body: &str) -> Result<Request, Error> {
    let request = lambda_http::http::Request::post("/orders/7/refunds").header("content-type", "application/json");
    Ok(request.header("idempotency-key", "k-1").body(body.into())?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let store = MemoryStore::new();
    let router: Router = Router::new().route("/orders/{id}/refunds", post(refund));
    let service = IdempotencyLayer::new(Engine::builder(store.clone()).build(), "orders")
        .principal(everyone)
        .route(Route::new("POST /orders/{id}/refunds")?)
        // An extractor's rejection is not an outcome: the corrected request may use the same key.
        .verdict(refused_before_the_handler)
        .layer(router);
    for (body, status) in [(r#"{"amount":"5"}"#, 422), (r#"{"amount":5}"#, 200), (r#"{"amount":5}"#, 200)] {
        let response = service.clone().oneshot(request(body)?).await?;
        println!("{body}: {} {}", response.status(), String::from_utf8_lossy(response.body()));
        assert_eq!(response.status().as_u16(), status);
    }
    assert_eq!(store.applied("refunded"), 1);
    Ok(())
}
