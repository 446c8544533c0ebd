use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::axum::routing::post;
use ::axum::{Json, Router};
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::request::RequestContext;
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};

use super::*;
use crate::engine::Engine;
use crate::http::{IdempotencyLayer, Route, everyone};
use crate::store::memory::{Effect, MemoryStore};

/// A router that counts its runs, its layer, and the store behind it.
struct Api {
    router: Router,
    layer: IdempotencyLayer<MemoryStore>,
    memory: MemoryStore,
    runs: Arc<AtomicU64>,
}

fn api() -> Api {
    let (memory, runs) = (MemoryStore::new(), Arc::new(AtomicU64::new(0)));
    let counted = Arc::clone(&runs);
    let create = move |attempt: Attempt<Effect>, received: Received, Json(body): Json<Value>| async move {
        attempt.add_effect(Effect::named("created"));
        let run = counted.fetch_add(1, Ordering::SeqCst) + 1;
        (StatusCode::CREATED, Json(json!({"run": run, "operation": received.operation(), "body": body})))
    };
    let router = Router::new()
        .route("/orders/{id}", post(create))
        .route("/bytes", post(|| async { vec![0xff_u8, 0xfe] }))
        .route("/cut", post(|| async { AxumBody::from_stream(futures::stream::iter([Ok("begun"), Err("cut")])) }))
        .route("/wrong", post(|_: Attempt<()>| async { "never" }));
    let layer = IdempotencyLayer::new(Engine::builder(memory.clone()).build(), "test").principal(everyone);
    Api { router, layer: layer.verdict(refused_before_the_handler), memory, runs }
}

fn request(key: &str, path: &str) -> http::request::Builder {
    let request = HttpRequest::post(path).header("content-type", "application/json");
    if key.is_empty() { request } else { request.header("idempotency-key", key) }
}

/// A request as `lambda_http` makes it from an event for the route `$default`.
fn of_lambda(key: &str, path: &str, body: &str) -> Request {
    let context = RequestContext::ApiGatewayV2(ApiGatewayV2httpRequestContext::default());
    request(key, path).extension(context).body(Body::Text(body.to_owned())).unwrap()
}

fn json_of(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_default()
}

fn is_replay(response: &Response<Body>) -> bool {
    response.headers().contains_key("idempotency-replayed")
}

#[tokio::test]
async fn around_a_router_the_layer_replays_what_its_handlers_answered() {
    let api = api();
    let layer = api.layer.clone().route(Route::new("POST /orders/{id}").unwrap());
    let service = layer.layer(api.router.clone());
    let send = |key, path, body| service.clone().oneshot(of_lambda(key, path, body));
    let first = send("k", "/orders/1", r#"{"a":1}"#).await.unwrap();
    let again = send("k", "/orders/1", r#"{"a": 1}"#).await.unwrap();
    assert_eq!((first.status(), first.body()), (StatusCode::CREATED, again.body()));
    assert_eq!(json_of(&first), json!({"run": 1, "operation": "POST /orders/{id}", "body": {"a": 1}}));
    assert_eq!([is_replay(&first), is_replay(&again)], [false, true]);
    let other = send("k", "/orders/1", r#"{"a":2}"#).await.unwrap();
    assert_eq!(json_of(&other)["code"], "fingerprint-mismatch");
    assert_eq!((api.runs.load(Ordering::SeqCst), api.memory.applied("created")), (1, 1));

    let (first, again) = (send("b", "/bytes", "").await.unwrap(), send("b", "/bytes", "").await.unwrap());
    assert_eq!((first.body(), is_replay(&again)), (&Body::Binary(vec![0xff, 0xfe]), true));
    assert_eq!(first.body(), again.body());
}

#[tokio::test]
async fn a_body_that_breaks_off_leaves_the_outcome_unknown() {
    let api = api();
    let service = api.layer.layer(api.router.clone());
    let cut = service.oneshot(of_lambda("k", "/cut", "")).await.unwrap();
    assert_eq!(json_of(&cut)["code"], "outcome-unknown");
}

#[tokio::test]
async fn what_axum_refuses_before_the_handler_leaves_the_key_unused() {
    let api = api();
    let service = api.layer.layer(api.router.clone());
    let send = |key, path, body| service.clone().oneshot(of_lambda(key, path, body));
    for (path, body, status) in [("/orders/1", "no json", 400), ("/nowhere", "{}", 404)] {
        let refused = send("k", path, body).await.unwrap();
        assert_eq!(refused.status().as_u16(), status, "{path}");
    }
    let corrected = send("k", "/orders/1", "{}").await.unwrap();
    assert_eq!((corrected.status(), is_replay(&corrected)), (StatusCode::CREATED, false));
    assert_eq!(api.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn around_routes_of_a_router_the_layer_takes_the_name_that_axum_matched() {
    let api = api();
    let router = api.router.clone().route_layer(api.layer.clone()).route("/open", post(|| async { "open" }));
    let send = async |key: &str, path: &str, body: &str| {
        let request = request(key, path).body(AxumBody::from(body.to_owned())).unwrap();
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        Response::from_parts(parts, body.whole().await.unwrap())
    };
    let first = send("k", "/orders/1", r#"{"a":1}"#).await;
    let again = send("k", "/orders/1", r#"{"a":1}"#).await;
    assert_eq!(
        (json_of(&first), first.body()),
        (json!({"run": 1, "operation": "POST /orders/{id}", "body": {"a": 1}}), again.body())
    );
    assert_eq!([is_replay(&first), is_replay(&again)], [false, true]);
    assert_eq!(json_of(&send("", "/orders/1", "{}").await)["code"], "missing-key");
    let long = "x".repeat(2 * 1024 * 1024);
    assert_eq!(json_of(&send("l", "/orders/1", &long).await)["code"], "content-too-large");
    assert_eq!(send("", "/open", "{}").await.body(), &Body::Text("open".into()), "a route outside of the layer");
    assert_eq!(api.runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_handler_that_needs_an_attempt_never_runs_without_one_or_with_another_effect_type() {
    let api = api();
    let unprotected = api.router.clone().oneshot(request("k", "/orders/1").body(AxumBody::from("{}")).unwrap());
    assert_eq!(unprotected.await.unwrap().status(), StatusCode::INTERNAL_SERVER_ERROR);
    let service = api.layer.layer(api.router.clone());
    for _ in 0..2 {
        let wrong = service.clone().oneshot(of_lambda("k", "/wrong", "{}")).await.unwrap();
        assert_eq!((json_of(&wrong)["code"].as_str(), is_replay(&wrong)), (Some("not-protected"), false));
    }
    assert_eq!(api.runs.load(Ordering::SeqCst), 0);
}
