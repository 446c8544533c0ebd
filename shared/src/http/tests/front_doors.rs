//! The ways in which APIs differ: the caller's identity, the place of the key, and unprotected requests.

use serde_json::{Value, json};

use super::*;
use crate::telemetry::metrics::{Counts, Metric};

fn by_iam(arn: &str) -> Request {
    event("k", "/things", "{}").iam_user(arn).request().unwrap()
}

fn by_nobody() -> Request {
    event("k", "/things", "{}").request().unwrap()
}

/// Whether the response is a replay.
fn replayed(response: &Response<Body>) -> bool {
    response.headers().contains_key("idempotency-replayed")
}

#[tokio::test]
async fn by_default_a_jwt_or_an_iam_identity_is_the_principal() {
    let api = Api::new([]);
    let arn = "arn:aws:iam::123456789012:user/alice";
    assert_eq!(api.send(request("alice", "k", "/things", "{}")).await.status(), StatusCode::CREATED);
    assert!(!replayed(&api.send(by_iam(arn)).await), "another principal");
    assert!(replayed(&api.send(by_iam(arn)).await));
    let refused = api.send(by_nobody()).await;
    assert_eq!(code(&refused), "403 missing-principal");
    let detail = String::from_utf8_lossy(refused.body()).into_owned();
    assert!(detail.contains("JWT") && detail.contains("IAM"), "it names the identities that were looked for: {detail}");
    assert_eq!(api.runs(), 2);
}

#[tokio::test]
async fn the_principal_of_a_signed_request_is_the_arn_of_its_user() {
    let (alice, bob) = ("arn:aws:iam::123456789012:user/alice", "arn:aws:iam::123456789012:user/bob");
    assert_eq!(iam_user(&by_iam(alice)), Some(Principal::new(alice).unwrap()));
    assert_eq!(iam_user(&by_nobody()), None, "a request that nobody signed");
    assert_eq!(iam_user(&by_iam("")), None, "an empty ARN names nobody");

    let api = Api::new([]).with(|layer| layer.principal(iam_user));
    for (arn, is_replayed) in [(alice, false), (alice, true), (bob, false)] {
        assert_eq!(replayed(&api.send(by_iam(arn)).await), is_replayed, "{arn}");
    }
    assert_eq!(code(&api.send(by_nobody()).await), "403 missing-principal");
    assert_eq!(api.runs(), 2);
}

#[tokio::test]
async fn a_value_of_a_lambda_authorizer_is_the_principal_if_it_is_a_text_or_a_number() {
    let api = Api::new([]).with(|layer| layer.principal(authorized("tenant")));
    let by_tenant = |tenant: Value| event("k", "/things", "{}").authorized("tenant", tenant).request().unwrap();
    for (tenant, is_replayed) in [(json!("a"), false), (json!("a"), true), (json!(7), false), (json!(7), true)] {
        assert_eq!(replayed(&api.send(by_tenant(tenant.clone())).await), is_replayed, "{tenant}");
    }
    for tenant in [json!(null), json!(""), json!(["a"]), json!({"a": 1}), json!(true)] {
        assert_eq!(code(&api.send(by_tenant(tenant.clone())).await), "403 missing-principal", "{tenant}");
    }
    assert_eq!(code(&api.send(by_nobody()).await), "403 missing-principal");
    assert_eq!(api.runs(), 2);
}

#[tokio::test]
async fn without_an_authorizer_everyone_is_one_principal_after_one_explicit_line() {
    let mut api = Api::new([]);
    let mut bare = request("alice", "k", "/things", "{}");
    bare.extensions_mut().remove::<RequestContext>();
    assert_eq!(code(&api.send(bare.clone()).await), "403 missing-principal");
    api.layer = api.layer.clone().principal(everyone);
    assert_eq!([replayed(&api.send(bare.clone()).await), replayed(&api.send(bare).await)], [false, true]);
}

#[tokio::test]
async fn another_header_can_have_the_key_and_its_whole_value_counts() {
    let api = Api::new([]).with(|layer| layer.key_header("x-github-delivery".parse().unwrap()));
    let with = |delivery: &str| {
        let mut request = request("alice", "", "/hooks", "{}");
        request.headers_mut().insert("x-github-delivery", delivery.parse().unwrap());
        request
    };
    assert_eq!([replayed(&api.send(with("a;b")).await), replayed(&api.send(with(" a;b ")).await)], [false, true]);
    assert!(!replayed(&api.send(with("a")).await), "what would be a parameter is part of the key");
    let missing = api.send(request("alice", "k", "/hooks", "{}")).await;
    assert_eq!(code(&missing), "400 missing-key");
    assert!(String::from_utf8_lossy(missing.body()).contains("x-github-delivery"), "{:?}", missing.body());
    assert_eq!(code(&api.send(with(&"k".repeat(256))).await), "400 invalid-key");
    assert_eq!(code(&api.send(with("undefined")).await), "400 invalid-key");
    let mut twice = with("a");
    twice.headers_mut().append("x-github-delivery", "b".parse().unwrap());
    assert_eq!(code(&api.send(twice).await), "400 invalid-key");
    assert_eq!(api.runs(), 2);
}

#[tokio::test]
async fn the_key_can_be_an_event_id_in_the_body() {
    let pointer = Pointer::new("/id").unwrap();
    let id = move |_: &Request, body: Option<&Document>| Some(body?.text_at(&pointer)?.to_owned());
    let api = Api::new([]).with(|layer| layer.principal(everyone).key(id));
    let event = |body: &str| api.send(request("", "", "/webhooks", body));
    let (first, again) = (event(r#"{"id":"evt_1","n":1}"#).await, event(r#"{"n":1,"id":"evt_1"}"#).await);
    assert_eq!([replayed(&first), replayed(&again)], [false, true]);
    for body in ["{}", "no json", r#"{"id":null}"#, r#"{"id":"evt_1","id":"evt_2"}"#] {
        assert_eq!(code(&event(body).await), "400 missing-key", "{body}");
    }
    assert_eq!(api.runs(), 1);
}

#[tokio::test]
async fn with_optional_keys_a_request_without_one_runs_unprotected_and_is_counted() {
    let counts = Counts::default();
    let engine = Engine::builder(FaultyStore::new(MemoryStore::new(), [])).metrics(counts.clone()).build();
    let api = Api { layer: IdempotencyLayer::new(engine, "test").key_optional(), ..Api::new([]) };
    for principal in ["alice", "alice", ""] {
        let response = api.send(request(principal, "", "/things", "{}")).await;
        assert_eq!((response.status(), replayed(&response)), (StatusCode::CREATED, false), "{principal}");
    }
    assert_eq!(api.runs(), 3);
    assert_eq!(counts.take(), vec![(Metric::Unprotected, "POST $default".to_owned()); 3]);

    let api = Api { layer: Api::new([]).layer.key_optional(), ..Api::new([]) };
    assert_eq!(code(&api.send(request("alice", "a,b", "/things", "{}")).await), "400 invalid-key");
    assert_eq!(code(&api.send(request("", "k", "/things", "{}")).await), "403 missing-principal");
    let send = || api.send(request("alice", "k", "/things", "{}"));
    assert_eq!([replayed(&send().await), replayed(&send().await)], [false, true]);
    assert_eq!(api.runs(), 1);
}

#[tokio::test]
async fn an_exempt_route_runs_unprotected_and_the_others_do_not() {
    let api = Api::new([]).with(|layer| layer.exempt(Route::new("POST /search").unwrap()));
    for _ in 0..2 {
        assert_eq!(api.send(request("", "", "/search", "{}")).await.status(), StatusCode::CREATED);
    }
    assert_eq!(code(&api.send(request("alice", "", "/things", "{}")).await), "400 missing-key");
    assert_eq!((api.runs(), api.memory.applied("effect")), (2, 0), "it has no attempt");
}

#[tokio::test]
async fn the_application_changes_replays_and_the_layers_own_answers() {
    let mut api = Api::new([]);
    api.layer = api
        .layer
        .clone()
        .on_replay(|mut response| {
            response.headers_mut().insert("x-again", "yes".parse().unwrap());
            response
        })
        .on_refusal(|kind, response| match kind.code {
            "missing-key" => response,
            code => Response::builder().status(418).body(Body::Text(code.to_owned())).unwrap(),
        });
    assert_eq!(code(&api.send(request("alice", "", "/things", "{}")).await), "400 missing-key");
    let unknown = api.send(request("alice", "u", "/500", "{}")).await;
    assert_eq!((unknown.status().as_u16(), &unknown.body()[..]), (418, &b"outcome-unknown"[..]));

    let send = || api.send(request("alice", "k", "/201", "{}"));
    let (first, again) = (send().await, send().await);
    assert!(!first.headers().contains_key("x-again") && again.headers()["x-again"] == "yes");
}
