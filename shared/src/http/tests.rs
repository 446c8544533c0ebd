use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use http::header::{CACHE_CONTROL, LINK, LOCATION, RETRY_AFTER};
use lambda_http::request::RequestContext;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tower::{ServiceExt, service_fn};

use super::*;
use crate::engine::{Attempt, Verdict};
use crate::events::HttpEvent;
use crate::protocol::{Pointer, Record, Selection};
use crate::reconcile::Evidence;
use crate::store::fault::{Fault, FaultyStore};
use crate::store::memory::{Effect, MemoryStore};

mod front_doors;
mod lines;
mod names;
mod samples;
mod settings;

type TestStore = FaultyStore<MemoryStore>;

/// The test handler; its behaviour depends on the path.
async fn handle(runs: Arc<AtomicU64>, request: Request) -> Result<Response<Body>, Infallible> {
    let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
    if let Ok(attempt) = Attempt::from_request(&request) {
        attempt.add_effect(Effect::named("effect"));
    }
    let status = match request.uri().path() {
        "/panic" => panic!("planned"),
        "/invalid" => {
            let error = InvalidField { field: "amount".into(), detail: "must be positive".into() };
            return Ok(Problem::invalid_request(vec![error]).into_response());
        }
        path => path.rsplit('/').next().and_then(|status| status.parse().ok()).unwrap_or(201),
    };
    let response = Response::builder().status(status).header(LOCATION, format!("/things/{run}"));
    Ok(response.body(Body::Text(format!("{{\"run\":{run}}}"))).unwrap())
}

struct Api {
    layer: IdempotencyLayer<TestStore>,
    memory: MemoryStore,
    runs: Arc<AtomicU64>,
}

impl Api {
    fn new(plan: impl IntoIterator<Item = Fault>) -> Self {
        let memory = MemoryStore::new();
        let engine = Engine::builder(FaultyStore::new(memory.clone(), plan)).build();
        let layer = IdempotencyLayer::new(engine, "test").contract("https://example.com/contract");
        Self { layer, memory, runs: Arc::default() }
    }

    fn with(self, set: impl FnOnce(IdempotencyLayer<TestStore>) -> IdempotencyLayer<TestStore>) -> Self {
        Self { layer: set(self.layer), ..self }
    }

    async fn send(&self, request: Request) -> Response<Body> {
        let runs = Arc::clone(&self.runs);
        self.layer.layer(service_fn(move |request| handle(Arc::clone(&runs), request))).oneshot(request).await.unwrap()
    }

    fn runs(&self) -> u64 {
        self.runs.load(Ordering::SeqCst)
    }
}

/// A POST from nobody.
fn event(key: &str, path: &str, body: &str) -> HttpEvent {
    let event = HttpEvent::http_api("POST", path).header("content-type", "application/json").body(body);
    if key.is_empty() { event } else { event.key(key) }
}

fn request(principal: &str, key: &str, path: &str, body: &str) -> Request {
    event(key, path, body).jwt_subject(principal).request().unwrap()
}

fn code(response: &Response<Body>) -> String {
    let problem: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    assert_eq!(problem["status"], response.status().as_u16());
    for member in ["type", "title", "detail"] {
        assert!(problem[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {problem}");
    }
    let retryable = problem["retryable"].as_bool().unwrap();
    assert_eq!(retryable, response.headers().contains_key(RETRY_AFTER));
    format!("{} {}", response.status().as_u16(), problem["code"].as_str().unwrap())
}

#[tokio::test]
async fn the_same_request_again_gets_the_same_status_and_bytes_and_does_not_run() {
    for status in ["200", "201", "204", "302", "402", "404"] {
        let api = Api::new([]);
        let send = || api.send(request("alice", "k", &format!("/{status}"), "{}"));
        let (first, second) = (send().await, send().await);
        assert_eq!(first.status().as_str(), status);
        assert_eq!((first.status(), first.body()), (second.status(), second.body()));
        assert_eq!(first.headers()[LOCATION], second.headers()[LOCATION]);
        assert!(!first.headers().contains_key("idempotency-replayed"));
        assert_eq!(second.headers()["idempotency-replayed"], "true");
        assert_eq!((api.runs(), api.memory.applied("effect")), (1, 1));
    }
}

#[tokio::test]
async fn a_request_without_a_key_or_with_a_malformed_one_is_refused_and_does_not_run() {
    let api = Api::new([]);
    assert_eq!(code(&api.send(request("alice", "", "/", "{}")).await), "400 missing-key");
    assert_eq!(code(&api.send(request("alice", "a,b", "/", "{}")).await), "400 invalid-key");
    let response = api.send(request("alice", "secret,key", "/", "{}")).await;
    assert_eq!(response.headers()[LINK], "<https://example.com/contract>; rel=\"describedby\"");
    assert!(!format!("{:?}", response.body()).contains("secret"), "a problem never shows the key");
    assert_eq!(api.runs(), 0);
}

#[tokio::test]
async fn what_a_program_writes_for_no_value_is_no_key() {
    for key in ["undefined", "null", "None", "NaN", "[object Object]", "nil", "\"\""] {
        let api = Api::new([]);
        let quoted = format!("\"{}\"", key.replace('"', "\\\""));
        let response = api.send(request("alice", &quoted, "/", "{}")).await;
        assert_eq!(code(&response), "400 invalid-key", "{key}");
        let reason = String::from_utf8_lossy(response.body());
        assert!(reason.contains("missing value"), "it states the reason: {reason}");
        assert_eq!(api.runs(), 0, "{key}");
    }
    for key in ["Undefined", "nulls", "None-1", "0", "object"] {
        assert_eq!(Api::new([]).send(request("alice", key, "/", "{}")).await.status(), StatusCode::CREATED, "{key}");
    }
}

#[tokio::test]
async fn a_body_without_a_value_that_is_compared_is_refused_and_leaves_the_key_unused() {
    let amount = Compare::Selected(Selection::of(Pointer::new("/amount").unwrap()));
    let api = Api::new([]).with(|layer| layer.compare(amount));
    for body in ["{}", r#"{"amuont":1}"#, "[]"] {
        assert_eq!(code(&api.send(request("alice", "k", "/", body)).await), "400 missing-value", "{body}");
    }
    let complete = api.send(request("alice", "k", "/", r#"{"amount":1}"#)).await;
    assert_eq!((complete.status(), api.runs()), (StatusCode::CREATED, 1));
}

#[tokio::test]
async fn another_request_under_a_used_key_is_a_mismatch_and_does_not_poison_it() {
    let api = Api::new([]);
    api.send(request("alice", "k", "/a", "{}")).await;
    assert_eq!(code(&api.send(request("alice", "k", "/a", "{\"x\":1}")).await), "422 fingerprint-mismatch");
    assert_eq!(code(&api.send(request("alice", "k", "/b", "{}")).await), "422 fingerprint-mismatch");
    let again = api.send(request("alice", "\"k\"", "/a", " { } ")).await;
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(api.runs(), 1);
}

#[tokio::test]
async fn another_principal_with_the_same_key_runs_and_sees_nothing() {
    let api = Api::new([]);
    let first = api.send(request("alice", "k", "/", "{}")).await;
    let other = api.send(request("bob", "k", "/", "{\"x\":1}")).await;
    assert_eq!((first.status().as_u16(), other.status().as_u16()), (201, 201));
    assert_ne!(first.body(), other.body());
    assert_eq!(api.runs(), 2);
}

#[tokio::test]
async fn a_request_of_nobody_is_refused() {
    let api = Api::new([]);
    assert_eq!(code(&api.send(request("", "k", "/", "{}")).await), "403 missing-principal");
    assert_eq!(api.runs(), 0);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_and_leaves_the_key_unused() {
    let api = Api::new([]).with(|layer| layer.max_body_bytes(10));
    let long = api.send(request("alice", "k", "/", "{\"long\":123}")).await;
    assert_eq!(code(&long), "413 content-too-large");
    assert_eq!(api.send(request("alice", "k", "/", "{}")).await.status().as_u16(), 201);
}

/// A request that runs until it is told to go on.
async fn running(api: &Api) -> (JoinHandle<Response<Body>>, Arc<Notify>) {
    let (started, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&started), Arc::clone(&go_on));
    let handler = api.layer.layer(service_fn(move |_: Request| {
        let (started, go_on) = signals.clone();
        async move {
            started.notify_one();
            go_on.notified().await;
            Ok::<_, Infallible>(Response::new(Body::Text("slow".into())))
        }
    }));
    let first = tokio::spawn(async move { handler.oneshot(request("alice", "k", "/", "{}")).await.unwrap() });
    started.notified().await;
    (first, go_on)
}

#[tokio::test]
async fn a_duplicate_of_a_running_request_is_told_when_to_come_again() {
    let api = Api::new([]);
    let (first, go_on) = running(&api).await;
    let duplicate = api.send(request("alice", "k", "/", "{}")).await;
    assert_eq!(code(&duplicate), "409 in-progress");
    let retry_after: u64 = duplicate.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=31).contains(&retry_after), "within the lease: {retry_after}");
    let other = api.send(request("alice", "k", "/", "{\"x\":1}")).await;
    assert_eq!(code(&other), "422 fingerprint-mismatch", "not in-progress");
    go_on.notify_one();
    assert_eq!(first.await.unwrap().status().as_u16(), 200);
    assert_eq!(api.runs(), 0);
}

#[tokio::test]
async fn a_server_error_and_a_panic_leave_the_outcome_unknown() {
    for path in ["/500", "/503", "/panic"] {
        let api = Api::new([]);
        for _ in 0..2 {
            assert_eq!(code(&api.send(request("alice", "k", path, "{}")).await), "503 outcome-unknown", "{path}");
        }
        assert_eq!((api.runs(), api.memory.applied("effect")), (1, 0));
    }
}

#[tokio::test]
async fn what_says_that_nothing_was_executed_is_not_recorded() {
    let api = Api::new([]);
    let invalid = api.send(request("alice", "k", "/invalid", "{}")).await;
    assert_eq!(code(&invalid), "400 invalid-request");
    assert!(String::from_utf8_lossy(invalid.body()).contains("\"field\":\"amount\""));
    let busy = api.send(request("alice", "k", "/429", "{}")).await;
    assert_eq!(busy.status().as_u16(), 429);
    let corrected = api.send(request("alice", "k", "/201", "{\"corrected\":true}")).await;
    assert_eq!(corrected.status().as_u16(), 201);
    assert!(!corrected.headers().contains_key("idempotency-replayed"));
    assert_eq!(api.memory.applied("effect"), 1, "only the last had its effects written");
}

#[tokio::test]
async fn with_the_store_unreachable_nothing_runs_and_the_client_may_come_again() {
    let api = Api::new([Fault::Refuse]);
    assert_eq!(code(&api.send(request("alice", "k", "/", "{}")).await), "503 store-unavailable");
    assert_eq!(api.runs(), 0);
    assert_eq!(api.send(request("alice", "k", "/", "{}")).await.status().as_u16(), 201);
}

#[tokio::test]
async fn with_the_store_lost_at_commit_the_outcome_is_unknown_and_never_lost() {
    let api = Api::new([Fault::None, Fault::LoseRequest, Fault::LoseRequest]);
    assert_eq!(code(&api.send(request("alice", "k", "/", "{}")).await), "503 outcome-unknown");
    assert_eq!(code(&api.send(request("alice", "k", "/", "{}")).await), "409 in-progress");
    assert_eq!((api.runs(), api.memory.applied("effect")), (1, 0));
}

#[tokio::test]
async fn reading_methods_pass_through_whatever_their_key() {
    let api = Api::new([]);
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE] {
        let mut request = request("", "not,a,key", "/200", "");
        *request.method_mut() = method;
        assert_eq!(api.send(request).await.status().as_u16(), 200);
    }
    assert_eq!((api.runs(), api.memory.applied("effect")), (5, 0));
}

#[tokio::test]
async fn put_and_delete_are_protected_by_choice() {
    let api = Api::new([]).with(|layer| layer.protect(Method::DELETE));
    let delete = || {
        let mut request = request("alice", "k", "/204", "");
        *request.method_mut() = Method::DELETE;
        request
    };
    api.send(delete()).await;
    let again = api.send(delete()).await;
    assert_eq!((again.status().as_u16(), api.runs()), (204, 1));
    assert_eq!(again.headers()["idempotency-replayed"], "true");
}

#[tokio::test]
async fn an_error_of_the_handler_leaves_the_outcome_unknown() {
    let api = Api::new([]);
    let failing = api.layer.layer(service_fn(|_: Request| async { Err::<Response<Body>, BoxError>("planned".into()) }));
    let response = failing.oneshot(request("alice", "k", "/", "{}")).await.unwrap();
    assert_eq!(code(&response), "503 outcome-unknown");
}

#[tokio::test]
async fn a_handler_gets_what_the_layer_has_read_and_off_the_layer_an_error() {
    let api = Api::new([]);
    let (sender, receiver) = std::sync::mpsc::channel();
    let reading = |_: &Request, received: &Received| Some(received.document()?.canonical());
    let layer = api.layer.clone().route(Route::new("POST /things/{id}").unwrap()).reading(reading);
    let layer = layer.subject(|request| {
        let content = request.extensions().get::<Vec<u8>>()?;
        Subject::new(String::from_utf8_lossy(content).into_owned())
    });
    let handler = layer.layer(service_fn(move |request: Request| {
        let received = Received::from_request(&request).unwrap();
        let content = request.extensions().get::<Vec<u8>>().cloned();
        let parameter = received.path_parameter("id").map(str::to_owned);
        sender.send((received.operation().to_owned(), parameter, received.principal(), content)).unwrap();
        assert!(Attempt::<Effect>::from_request(&request).is_ok());
        assert_eq!(Attempt::<()>::from_request(&request).err(), Some(NotProtected), "effects of another type");
        async { Ok::<_, Infallible>(Response::new(Body::Empty)) }
    }));
    handler.oneshot(request("alice", "k", "/things/17", r#"{ "b": 1, "a": 2 }"#)).await.unwrap();
    let (operation, parameter, principal, content) = receiver.recv().unwrap();
    assert_eq!((operation.as_str(), parameter.as_deref()), ("POST /things/{id}", Some("17")));
    assert_eq!(principal, Principal::new("alice").unwrap().digest());
    assert_eq!(content.as_deref(), Some(&br#"{"a":2,"b":1}"#[..]));
    let unprotected = request("alice", "k", "/things/17", "{}");
    assert_eq!(Attempt::<Effect>::from_request(&unprotected).err(), Some(NotProtected));
    assert_eq!(Received::from_request(&unprotected).err(), Some(NotProtected));
}

#[test]
fn a_verdict_can_travel_in_extensions() {
    fn extension<T: Clone + Send + Sync + 'static>() {}
    extension::<Verdict<()>>();
    extension::<Attempt<Effect>>();
}

/// An external system that knows the request and its subject.
struct OtherSide;

impl Resolver<Effect, HttpAnswer> for OtherSide {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<HttpAnswer> {
        attempt.add_effect(Effect::named("effect"));
        let subject = record.subject.as_ref().map_or("nothing", Subject::as_str);
        let response = Response::builder().status(201).header(LOCATION, "/things/1");
        Evidence::Happened(HttpAnswer::new(response.body(Body::Text(format!("found {subject}"))).unwrap()))
    }
}

#[tokio::test]
async fn a_retry_of_an_unknown_outcome_asks_the_resolver_and_later_ones_replay_its_answer() {
    let api =
        Api::new([]).with(|layer| layer.resolver(OtherSide).subject(|request| Subject::new(request.uri().path())));
    let send = || api.send(request("alice", "k", "/500", "{}"));
    assert_eq!(code(&send().await), "503 outcome-unknown");
    let (found, replayed) = (send().await, send().await);
    for response in [&found, &replayed] {
        assert_eq!((response.status(), response.body()), (StatusCode::CREATED, &Body::Text("found /500".into())));
        assert_eq!(response.headers()[LOCATION], "/things/1");
    }
    assert_eq!(replayed.headers()["idempotency-replayed"], "true");
    assert_eq!((api.runs(), api.memory.applied("effect")), (1, 1));
}

fn prefers(wait: &str) -> Request {
    let mut request = request("alice", "k", "/", "{}");
    request.headers_mut().insert("prefer", wait.parse().unwrap());
    request
}

#[tokio::test]
async fn a_duplicate_that_prefers_to_wait_gets_the_replay_of_the_running_request() {
    let api = Api::new([]);
    let (first, go_on) = running(&api).await;
    let end = async {
        tokio::task::yield_now().await;
        go_on.notify_one();
    };
    let (waited, ()) = tokio::join!(api.send(prefers("wait=10")), end);
    assert_eq!((waited.status().as_u16(), waited.body()), (200, first.await.unwrap().body()));
    assert_eq!(waited.headers()["idempotency-replayed"], "true");
    assert_eq!(waited.headers()["preference-applied"], "wait=10");
    assert_eq!(api.runs(), 0, "the duplicate did not run");
}

#[tokio::test]
async fn a_duplicate_waits_by_default_if_the_running_request_has_a_time_of_its_own() {
    let api = Api::new([]).with(|layer| layer.run_within(Duration::from_secs(10)));
    let (first, go_on) = running(&api).await;
    let asynchronous = api.send(prefers("respond-async")).await;
    assert_eq!(code(&asynchronous), "409 in-progress");
    assert_eq!(asynchronous.headers()["preference-applied"], "respond-async");
    assert_eq!(asynchronous.headers()["retry-after"], "12", "the run's time and the engine's margin");
    let end = async {
        tokio::task::yield_now().await;
        go_on.notify_one();
    };
    let (waited, ()) = tokio::join!(api.send(request("alice", "k", "/", "{}")), end);
    assert_eq!((waited.status().as_u16(), waited.body()), (200, first.await.unwrap().body()));
    assert_eq!(waited.headers()["idempotency-replayed"], "true");
    assert!(!waited.headers().contains_key("preference-applied"), "the client has no preference");
    assert_eq!(api.runs(), 0, "the duplicate did not run");
}

#[tokio::test]
async fn a_duplicate_that_might_wait_in_vain_is_answered_at_once() {
    let api = Api::new([]).with(|layer| layer.run_within(Duration::from_secs(10)).max_wait(Duration::from_secs(9)));
    let (first, go_on) = running(&api).await;
    let began = std::time::Instant::now();
    let refused = api.send(request("alice", "k", "/", "{}")).await;
    assert!(began.elapsed() < Duration::from_secs(9), "the lease has longer to go than the longest wait");
    assert_eq!((code(&refused), &refused.headers()["retry-after"]), ("409 in-progress".into(), &"12".parse().unwrap()));
    go_on.notify_one();
    first.await.unwrap();
}

#[tokio::test]
async fn a_duplicate_that_waited_in_vain_is_told_so() {
    let mut api = Api::new([]);
    api.layer = api.layer.clone().max_wait(Duration::from_secs(1));
    let (first, go_on) = running(&api).await;
    let waited = api.send(prefers("wait=3600")).await;
    assert_eq!(code(&waited), "409 in-progress");
    assert_eq!(waited.headers()["preference-applied"], "wait=1", "as long as the API lets it");
    api.layer = api.layer.clone().max_wait(Duration::ZERO);
    let refused = api.send(prefers("wait=10")).await;
    assert_eq!(refused.headers()["preference-applied"], "wait=0", "an API may not wait at all");
    go_on.notify_one();
    first.await.unwrap();
}

#[tokio::test]
async fn the_first_answer_does_not_say_that_it_waited() {
    let api = Api::new([]);
    assert!(!api.send(prefers("wait=10")).await.headers().contains_key("preference-applied"));
}

#[tokio::test]
async fn a_key_over_the_limit_is_refused_before_anything_is_stored() {
    let api = Api::new([Fault::Refuse]);
    let long = api.send(request("alice", &"k".repeat(256), "/", "{}")).await;
    assert_eq!(code(&long), "400 invalid-key");
    assert_eq!(code(&api.send(request("alice", "k", "/", "{}")).await), "503 store-unavailable", "the first write");
}

/// Another library computed the key again from the input after the handler had changed it, and so settled another
/// record.
#[tokio::test]
async fn a_handler_that_changes_its_request_settles_the_record_of_the_request_that_came() {
    let api = Api::new([]);
    let change = |mut request: Request| async move {
        request.headers_mut().insert("idempotency-key", http::HeaderValue::from_static("changed"));
        *request.body_mut() = Body::Text("changed".into());
        *request.uri_mut() = http::Uri::from_static("/changed");
        let response = Response::builder().status(201).body(Body::Text("first".into())).unwrap();
        drop(request);
        Ok::<_, Infallible>(response)
    };
    let came = || request("ann", "key-1", "/things/201", "{}");
    let first = api.layer.layer(service_fn(change)).oneshot(came()).await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    let again = api.send(came()).await;
    assert_eq!((again.status(), again.body().as_ref()), (StatusCode::CREATED, "first".as_bytes()));
    assert_eq!(api.runs(), 0);
}
