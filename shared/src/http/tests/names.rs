//! The name of an operation, which is a metric dimension.

use std::collections::BTreeSet;

use super::*;
use crate::telemetry::metrics::Counts;

/// The operations that were counted or measured: each is a dimension of CloudWatch, and memory that is never freed.
fn operations(counts: &Counts) -> Vec<String> {
    BTreeSet::from_iter(counts.take().into_iter().map(|(_, operation)| operation)).into_iter().collect()
}

fn api() -> (Api, Counts) {
    let (mut api, counts) = (Api::new([]), Counts::default());
    let engine = Engine::builder(FaultyStore::new(api.memory.clone(), [])).metrics(counts.clone()).build();
    api.layer = IdempotencyLayer::new(engine, "test");
    (api, counts)
}

/// A request under a route as API Gateway names it; behind a function URL, each is `$default`.
fn routed(route: Option<&str>, method: &str, path: &str, key: &str) -> Request {
    let mut request = request("alice", key, path, "{}");
    *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap();
    if let Some(RequestContext::ApiGatewayV2(context)) = request.extensions_mut().get_mut() {
        context.route_key = route.map(str::to_owned);
    }
    request
}

#[tokio::test]
async fn without_a_route_key_no_path_becomes_an_operation() {
    for route in [None, Some("$default")] {
        let (api, counts) = api();
        for id in 0..100 {
            for key in [format!("k-{id}"), String::new(), "a,b".into()] {
                api.send(routed(route, "POST", &format!("/payments/{id}/refunds"), &key)).await;
            }
        }
        assert_eq!(operations(&counts), ["POST $default"], "{route:?}");
    }
}

#[tokio::test]
async fn a_request_is_called_by_the_route_that_the_application_names() {
    for (route, method, path, name) in [
        (None, "POST", "/payments/17/refunds", "POST /payments/{id}/refunds"),
        (Some("$default"), "POST", "/payments/17/refunds", "POST /payments/{id}/refunds"),
        (Some("ANY /{proxy+}"), "POST", "/payments/17/refunds", "POST /payments/{id}/refunds"),
        (Some("ANY /{proxy+}"), "POST", "/others/17", "ANY /{proxy+}"),
        (Some("POST /payments/{payment}/refunds"), "POST", "/payments/17/refunds", "POST /payments/{payment}/refunds"),
        (None, "PATCH", "/payments/17", "PATCH $default"),
        (None, "POST", "/blue/payments/17/refunds", "POST /payments/{id}/refunds"),
    ] {
        let (mut api, counts) = api();
        api.layer = api.layer.clone().route(Route::new("POST /payments/{id}/refunds").unwrap());
        let mut request = routed(route, method, path, "k");
        if let Some(RequestContext::ApiGatewayV2(context)) = request.extensions_mut().get_mut() {
            context.stage = Some("blue".into());
        }
        api.send(request).await;
        assert_eq!(operations(&counts), [name], "{route:?} {path}");
    }
}

/// The client chooses the method, so a request with an unprotected method is not counted.
#[tokio::test]
async fn no_method_of_a_client_becomes_an_operation() {
    let (api, counts) = api();
    for method in ["GET", "PUT", "M1", "M2", "post"] {
        api.send(routed(None, method, "/200", "k")).await;
    }
    assert_eq!(operations(&counts).len(), 0);
}

/// The settings of an operation are found by its template if API Gateway does not name the route.
#[tokio::test]
async fn without_a_route_key_an_operation_chooses_what_of_a_body_counts_and_may_be_renamed() {
    let (mut api, counts) = api();
    let operation = Operation::new("test", "POST /payments/{id}/refunds");
    let amount = Compare::Selected(Selection::of(Pointer::new("/amount").unwrap()));
    api.layer = api.layer.clone().operation(operation.compare(amount.clone()));
    let refund = |body: &str| request("alice", "k", "/payments/17/refunds", body);
    assert_eq!(api.send(refund(r#"{"amount":1,"sent":1}"#)).await.status(), StatusCode::CREATED);
    let again = api.send(refund(r#"{"amount":1,"sent":2}"#)).await;
    assert_eq!((again.status(), api.runs()), (StatusCode::CREATED, 1));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    let other = api.send(refund(r#"{"amount":2,"sent":1}"#)).await;
    assert_eq!(code(&other), "422 fingerprint-mismatch");
    assert_eq!(operations(&counts), ["POST /payments/{id}/refunds"]);

    // The same keys in another process, under a layer whose code names the operations differently.
    let engine = Engine::builder(FaultyStore::new(api.memory.clone(), [])).build();
    let renamed = Api { layer: IdempotencyLayer::new(engine, "test").compare(amount), ..Api::new([]) };
    let replayed = renamed.send(refund(r#"{"amount":1,"sent":3}"#)).await;
    assert_eq!(replayed.headers()["idempotency-replayed"], "true");
    assert_eq!(renamed.runs(), 0);
}

/// A deployment with another name for the operation still finds a record that was made when the path was its name.
#[tokio::test]
async fn a_retry_finds_its_record_whatever_its_operation_was_called_before() {
    let (mut api, _) = api();
    let request = || routed(Some("$default"), "POST", "/payments/17/refunds", "k");
    let before = api.layer.clone();
    api.layer = before.clone().operation(Operation::new("test", "POST /payments/17/refunds"));
    let first = api.send(request()).await;
    for layer in [before.clone(), before.route(Route::new("POST /payments/{id}/refunds").unwrap())] {
        api.layer = layer;
        let again = api.send(request()).await;
        assert_eq!((again.status(), again.body()), (first.status(), first.body()));
        assert_eq!(again.headers()["idempotency-replayed"], "true");
    }
    assert_eq!(api.runs(), 1);
}
