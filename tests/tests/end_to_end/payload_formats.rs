//! The `aws` tier of the HTTP vectors: API Gateway events in the payload formats 1.0 and 2.0, handled by the layer.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idempotency::http::Route;
use idempotency::store::memory::MemoryStore;
use idempotency::telemetry::metrics::{Metric, Metrics};
use idempotency::{Engine, IdempotencyLayer};
use lambda_http::request::LambdaRequest;
use lambda_http::tower::{Layer, ServiceExt};
use lambda_http::{Adapter, Body, Context, LambdaEvent, Request, Response, service_fn};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tests::workspace;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vectors {
    tier: String,
    events: Map<String, Value>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    event: String,
    /// Merged into the event (RFC 7396).
    #[serde(default)]
    with: Value,
    expect: Expect,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    replay: Option<bool>,
    problem: Option<String>,
    same_body_as: Option<usize>,
    body: Option<String>,
    base64: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    cookies: Option<Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    runs: Option<u64>,
}

/// Distinguishes `null` from an absent member.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

fn merged(mut target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return if patch.is_null() { target } else { patch.clone() } };
    if let Value::Object(members) = &mut target {
        for (name, value) in patch {
            match value {
                Value::Null => drop(members.remove(name)),
                Value::Object(_) => {
                    let member = members.remove(name).unwrap_or_else(|| Value::Object(Map::new()));
                    members.insert(name.clone(), merged(member, value));
                }
                other => drop(members.insert(name.clone(), other.clone())),
            }
        }
    }
    target
}

struct Api {
    layer: IdempotencyLayer<MemoryStore>,
    named: Named,
    runs: Arc<AtomicU64>,
}

/// The operations that were counted or measured, each a dimension of CloudWatch.
#[derive(Clone, Default)]
struct Named(Arc<Mutex<BTreeSet<String>>>);

impl Named {
    fn note(&self, operation: &str) {
        self.0.lock().expect("not poisoned").insert(operation.to_owned());
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").iter().cloned().collect()
    }
}

impl Metrics for Named {
    fn count(&self, _: Metric, operation: &str) {
        self.note(operation);
    }

    fn duration(&self, _: Metric, operation: &str, _: Duration) {
        self.note(operation);
    }

    fn gauge(&self, _: Metric, _: f64) {}

    fn flush(&self) {}
}

impl Api {
    fn new() -> Self {
        let named = Named::default();
        let engine = Engine::builder(MemoryStore::new()).metrics(named.clone()).build();
        Self { layer: IdempotencyLayer::new(engine, "test"), named, runs: Arc::default() }
    }

    /// The function's response to an event, as the JSON that API Gateway receives.
    async fn invoke(&self, event: &Value) -> Value {
        let runs = Arc::clone(&self.runs);
        let handler = self.layer.layer(service_fn(move |request: Request| {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            async move { Ok::<_, Infallible>(handle(run, &request)) }
        }));
        let request: LambdaRequest = serde_json::from_value(event.clone()).expect("an event of API Gateway");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let mut context = Context::default();
        context.deadline = u64::try_from(now.as_millis()).expect("in this age") + 10_000;
        let response = Adapter::from(handler).oneshot(LambdaEvent::new(request, context)).await;
        serde_json::to_value(response.expect("an answer")).expect("JSON")
    }
}

fn handle(run: u64, request: &Request) -> Response<Body> {
    let body = match request.body().as_ref() {
        b"binary" => Body::Binary((0..=255).collect()),
        _ => Body::Text(format!("{{\"run\":{run}}}")),
    };
    let media_type = if matches!(body, Body::Binary(_)) { "application/octet-stream" } else { "application/json" };
    let response = Response::builder().status(201).header("content-type", media_type);
    response.header("set-cookie", format!("session={run}")).body(body).expect("a response")
}

/// A header of a response, from whichever of the two members the format uses.
fn header(answer: &Value, name: &str) -> Option<String> {
    let single = answer["headers"].as_object().into_iter().flatten();
    let multiple = answer["multiValueHeaders"].as_object().into_iter().flatten();
    let mut found = single.chain(multiple).filter(|(found, _)| found.eq_ignore_ascii_case(name));
    let value = found.next().map(|(_, value)| value.as_array().and_then(|values| values.first()).unwrap_or(value));
    value.and_then(Value::as_str).map(str::to_owned)
}

fn check(expect: &Expect, answer: &Value, earlier: &[Value], runs: u64) {
    assert_eq!(answer["statusCode"], expect.status, "{answer}");
    if let Some(replay) = expect.replay {
        assert_eq!(header(answer, "idempotency-replayed"), replay.then(|| "true".to_owned()), "{answer}");
    }
    if let Some(code) = &expect.problem {
        let problem: Value = serde_json::from_str(answer["body"].as_str().unwrap_or_default()).expect("a problem");
        assert_eq!(problem["code"], *code, "{answer}");
    }
    if let Some(step) = expect.same_body_as {
        assert_eq!(answer["body"], earlier[step]["body"]);
        assert_eq!(answer["isBase64Encoded"], earlier[step]["isBase64Encoded"]);
    }
    if let Some(body) = &expect.body {
        assert_eq!(answer["body"], *body);
    }
    if let Some(base64) = expect.base64 {
        assert_eq!(answer["isBase64Encoded"], base64);
    }
    if let Some(cookies) = &expect.cookies {
        let empty = answer["cookies"].as_array().is_none_or(Vec::is_empty);
        assert!(if cookies.is_null() { empty } else { answer["cookies"] == *cookies }, "{answer}");
    }
    for (name, value) in &expect.headers {
        assert_eq!(header(answer, name).as_deref(), value.as_str(), "{name} of {answer}");
    }
    if let Some(expected) = expect.runs {
        assert_eq!(runs, expected);
    }
}

fn vectors() -> Vectors {
    let text = std::fs::read_to_string(workspace().join("tests/http-conformance/vectors/aws.json")).expect("readable");
    serde_json::from_str(&text).expect("vectors")
}

/// Makes an event with an id in its path.
type Patch<'a> = &'a dyn Fn(usize) -> Value;

/// Otherwise ids in the paths of valid requests would make one metric each.
#[tokio::test]
async fn no_path_of_an_event_becomes_the_name_of_an_operation() {
    let events = vectors().events;
    let function_url = |id: usize| {
        json!({ "routeKey": "$default", "requestContext": { "routeKey": "$default" },
        "rawPath": format!("/things/{id}") })
    };
    let any_path_v2 = |id: usize| {
        json!({ "routeKey": "ANY /{proxy+}", "requestContext": { "routeKey": "ANY /{proxy+}" },
        "rawPath": format!("/things/{id}") })
    };
    let any_path_v1 = |id: usize| {
        json!({ "resource": "/{proxy+}", "path": format!("/things/{id}"),
        "requestContext": { "resourcePath": "/{proxy+}", "path": format!("/prod/things/{id}") } })
    };
    let patches: [(&str, Patch<'_>, &str); 3] = [
        ("v2", &function_url, "POST $default"),
        ("v2", &any_path_v2, "ANY /{proxy+}"),
        ("v1", &any_path_v1, "POST /{proxy+}"),
    ];
    for (event, patch, name) in patches {
        for (api, name) in [(Api::new(), name), (Api::new(), "POST /things/{id}")] {
            let route = Route::new("POST /things/{id}").expect("a route");
            let named_by_us = name == "POST /things/{id}";
            let api = if named_by_us { Api { layer: api.layer.route(route), ..api } } else { api };
            for id in 0..20 {
                let key = json!({ "headers": { "Idempotency-Key": null, "idempotency-key": format!("k-{id}") },
                    "multiValueHeaders": null });
                let event = merged(merged(events[event].clone(), &patch(id)), &key);
                api.invoke(&event).await;
            }
            assert_eq!(api.named.all(), [name], "{event}");
        }
    }
}

#[tokio::test]
async fn every_vector_of_the_payload_formats_holds() {
    let vectors = vectors();
    assert_eq!(vectors.tier, "aws");
    assert!(vectors.cases.len() >= 20, "vectors were lost");
    for case in vectors.cases {
        let (api, mut answers) = (Api::new(), Vec::new());
        for (index, step) in case.steps.iter().enumerate() {
            println!("{}, step {index}", case.name);
            let answer = api.invoke(&merged(vectors.events[&step.event].clone(), &step.with)).await;
            check(&step.expect, &answer, &answers, api.runs.load(Ordering::SeqCst));
            answers.push(answer);
        }
    }
}
