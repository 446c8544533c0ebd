//! A function URL without an authorizer, for an API with existing clients: keys are optional, and one route is exempt.
//!
//! `cargo run -p idempotency --example function_url --features examples` needs no AWS: the store is in memory, and the
//! events are those that a function URL sends. In a function the store is `DynamoDbStore`, and `lambda_http::run(…)`
//! serves the layer.

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::http::{Route, everyone};
use idempotency::store::memory::MemoryStore;
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};

static RUNS: AtomicU32 = AtomicU32::new(0);

async fn handler(_: Request) -> Result<Response<Body>, Error> {
    let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
    Ok(Response::builder().status(200).body(format!("run {run}").into())?)
}

/// A request as a function URL sends it: payload format 2.0, the route `$default`, no authorizer.
fn event(path: &str, key: Option<&str>) -> Result<Request, Error> {
    let mut event = serde_json::json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "",
        "headers": {"content-type": "application/json"}, "body": "{\"item\":\"tea\"}", "isBase64Encoded": false,
        "requestContext": {
            "accountId": "anonymous", "apiId": "u", "domainName": "u.lambda-url.eu-central-1.on.aws", "domainPrefix": "u",
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"},
            "requestId": "r", "routeKey": "$default", "stage": "$default",
            "time": "12/Mar/2026:19:03:58 +0000", "timeEpoch": 1_773_342_238_000_u64,
        },
    });
    if let Some(key) = key {
        event["headers"]["idempotency-key"] = key.into();
    }
    Ok(lambda_http::request::from_str(&event.to_string())?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let layer = IdempotencyLayer::new(Engine::builder(MemoryStore::new()).build(), "orders")
        // Without an authorizer no caller is identified: all callers share their keys, so clients must choose keys at
        // random.
        .principal(everyone)
        // The name of the operation in logs and metrics, since a function URL has no routes.
        .route(Route::new("POST /orders")?)
        .key_optional()
        .exempt(Route::new("POST /search")?);
    let api = layer.layer(service_fn(handler));
    for (path, key, expected) in [
        ("/orders", Some("k-1"), "run 1"),
        ("/orders", Some("k-1"), "run 1"),
        ("/orders", None, "run 2"),
        ("/orders", None, "run 3"),
        ("/search", Some("k-1"), "run 4"),
    ] {
        let response = api.clone().oneshot(event(path, key)?).await?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        println!("{path} {key:?}: {body}");
        assert_eq!(body, expected);
    }
    Ok(())
}
