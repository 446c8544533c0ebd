//! Lambda's Runtime API, one server per sandbox (AWS, "Using the Lambda runtime API").
//!
//! `lambda-simulator` was the candidate and does not carry: it keeps every invocation for ever, takes an invocation
//! off its queue before it knows that the runtime is still there to hear it (a sandbox killed while idle swallows the
//! next request), wakes waiters with `notify_waiters` after a separate check (a completion in between is missed),
//! passes payloads through `serde_json::Value` (numbers beyond 64 bits change), and enforces no timeout. What is left
//! after that is these few routes: each call becomes a message to the sandbox's one task, which owns all state.
//!
//! The Extensions API is here as far as runtimes themselves use it: `lambda_runtime`'s graceful shutdown registers an
//! extension without events and panics if it cannot.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// 6 MB (AWS, "Lambda quotas": synchronous invocation payload, request and response).
pub(crate) const MAXIMUM_PAYLOAD: usize = 6 * 1024 * 1024;

/// What a runtime says to its sandbox.
#[derive(Debug)]
pub(crate) enum Call {
    /// Ready for an invocation.
    Next(oneshot::Sender<Dispatch>),
    Response {
        request: String,
        payload: Payload,
        known: oneshot::Sender<bool>,
    },
    Error {
        request: String,
        payload: Bytes,
        known: oneshot::Sender<bool>,
    },
    InitializationError(Bytes),
}

#[derive(Debug)]
pub(crate) enum Payload {
    Whole(Bytes),
    TooLarge,
}

/// An invocation on its way into the runtime.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub(crate) request: String,
    pub(crate) payload: Bytes,
    pub(crate) deadline_millis: u128,
    pub(crate) function_arn: String,
    pub(crate) trace: String,
}

#[derive(Debug, Clone)]
struct Server {
    calls: mpsc::Sender<Call>,
    function: Arc<str>,
}

pub(crate) fn router(function: &str, calls: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request}/response", post(response))
        .route("/2018-06-01/runtime/invocation/{request}/error", post(error))
        .route("/2018-06-01/runtime/init/error", post(initialization_error))
        .route("/2020-01-01/extension/register", post(register))
        .route("/2020-01-01/extension/event/next", get(extension_event))
        .with_state(Server { calls, function: function.into() })
}

async fn next(State(server): State<Server>) -> Response {
    let (reply, dispatch) = oneshot::channel();
    if server.calls.send(Call::Next(reply)).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(dispatch) = dispatch.await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Lambda-Runtime-Aws-Request-Id", dispatch.request),
        ("Lambda-Runtime-Deadline-Ms", dispatch.deadline_millis.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", dispatch.function_arn),
        ("Lambda-Runtime-Trace-Id", dispatch.trace),
    ];
    (headers, dispatch.payload).into_response()
}

async fn response(State(server): State<Server>, Path(request): Path<String>, body: Body) -> Response {
    let payload = match to_bytes(body, MAXIMUM_PAYLOAD).await {
        Ok(bytes) => Payload::Whole(bytes),
        Err(_) => Payload::TooLarge,
    };
    let refused =
        matches!(payload, Payload::TooLarge).then_some((StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"));
    let (known, answer) = oneshot::channel();
    let _ = server.calls.send(Call::Response { request, payload, known }).await;
    acknowledge(answer.await.unwrap_or(false), refused)
}

async fn error(State(server): State<Server>, Path(request): Path<String>, payload: Bytes) -> Response {
    let (known, answer) = oneshot::channel();
    let _ = server.calls.send(Call::Error { request, payload, known }).await;
    acknowledge(answer.await.unwrap_or(false), None)
}

async fn initialization_error(State(server): State<Server>, payload: Bytes) -> Response {
    let _ = server.calls.send(Call::InitializationError(payload)).await;
    acknowledge(true, None)
}

async fn register(State(server): State<Server>) -> impl IntoResponse {
    let headers = [("Lambda-Extension-Identifier", Uuid::new_v4().to_string())];
    (headers, Json(json!({ "functionName": &*server.function, "functionVersion": "$LATEST", "handler": "bootstrap" })))
}

/// No events: internal extensions that ask for none wait here until the sandbox ends.
async fn extension_event(_: HeaderMap) {
    std::future::pending().await
}

fn acknowledge(known: bool, refused: Option<(StatusCode, &str)>) -> Response {
    match (known, refused) {
        (_, Some((status, kind))) => (
            status,
            Json(
                json!({ "errorType": kind, "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes)." }),
            ),
        )
            .into_response(),
        (true, None) => (StatusCode::ACCEPTED, Json(json!({ "status": "OK" }))).into_response(),
        (false, None) => (
            StatusCode::BAD_REQUEST,
            Json(json!({ "errorType": "InvalidRequestID", "errorMessage": "Invalid request ID" })),
        )
            .into_response(),
    }
}

/// AWS, "X-Ray tracing header".
pub(crate) fn trace() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &id[..24], &id[16..])
}
