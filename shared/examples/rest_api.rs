//! A REST API (payload format 1.0) with a Lambda authorizer, whose `tenant` is the principal.
//!
//! `cargo run -p idempotency --example rest_api --features examples,apigw_rest` needs no AWS: the store is in memory,
//! and the events are those of a REST API. In a function the store is `DynamoDbStore`, and `lambda_http::run(…)` serves
//! the layer.

use std::sync::atomic::{AtomicU32, Ordering};

use idempotency::http::authorized;
use idempotency::store::memory::MemoryStore;
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::tower::{Layer, ServiceExt, service_fn};
use lambda_http::{Body, Error, Request, Response};

static RUNS: AtomicU32 = AtomicU32::new(0);

async fn handler(_: Request) -> Result<Response<Body>, Error> {
    let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
    Ok(Response::builder().status(201).body(format!("run {run}").into())?)
}

/// A request as a REST API sends it.
fn event(tenant: &str) -> Result<Request, Error> {
    let headers = serde_json::json!({"content-type": "application/json", "idempotency-key": "k-1"});
    let event = serde_json::json!({
        "resource": "/orders/{id}", "path": "/orders/7", "httpMethod": "POST", "headers": headers,
        "multiValueHeaders": {"content-type": ["application/json"], "idempotency-key": ["k-1"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": null, "pathParameters": {"id": "7"},
        "stageVariables": null, "body": "{\"amount\":5}", "isBase64Encoded": false,
        "requestContext": {
            "resourceId": "r", "resourcePath": "/orders/{id}", "httpMethod": "POST", "path": "/prod/orders/7",
            "accountId": "123456789012", "stage": "prod", "requestId": "q", "apiId": "a", "protocol": "HTTP/1.1",
            "authorizer": {"principalId": "alice", "tenant": tenant},
            "identity": {"sourceIp": "192.0.2.1", "userAgent": "curl"},
        },
    });
    Ok(lambda_http::request::from_str(&event.to_string())?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    let engine = Engine::builder(MemoryStore::new()).build();
    let api = IdempotencyLayer::new(engine, "orders").principal(authorized("tenant")).layer(service_fn(handler));
    for (tenant, expected) in [("a", "run 1"), ("a", "run 1"), ("b", "run 2")] {
        let response = api.clone().oneshot(event(tenant)?).await?;
        let body = String::from_utf8_lossy(response.body()).into_owned();
        println!("{tenant}: {} {body}", response.status());
        assert_eq!(body, expected, "each tenant has its own keys");
    }
    Ok(())
}
