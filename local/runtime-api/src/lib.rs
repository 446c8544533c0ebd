//! A server for Lambda's Runtime API, one per sandbox (AWS, "Using the Lambda runtime API").
//!
//! Each request of the runtime becomes a [`Call`] to the task that owns the sandbox, with the time at which it arrived.
//! That task decides how to answer; the server has no state.
//!
//! The crate `lambda-simulator` cannot replace it: that crate keeps every invocation in memory, takes an invocation off
//! its queue before it knows that the runtime still waits for it (a sandbox killed while idle loses the next request),
//! wakes waiters with `notify_waiters` after a separate check (a completion in between is missed), passes payloads
//! through `serde_json::Value` (numbers beyond 64 bits change), and enforces no timeout.
//!
//! The server has the part of the Extensions API that runtimes themselves use: `lambda_runtime`'s graceful shutdown
//! registers an extension without events, and panics if that fails.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::ListenerExt,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use uuid::Uuid;

/// 6 MB (AWS, "Lambda quotas": synchronous invocation payload, request and response).
pub const MAXIMUM_PAYLOAD: usize = 6 * 1024 * 1024;

/// A request of the runtime. `known` replies whether the request id is that of the invocation in progress.
#[derive(Debug)]
pub enum Call {
    /// The runtime is ready for an invocation.
    Next { at: Instant, reply: oneshot::Sender<Dispatch> },
    /// The invocation succeeded.
    Response { at: Instant, request: String, payload: Payload, known: oneshot::Sender<bool> },
    /// The invocation failed; the payload is the error object.
    Error { at: Instant, request: String, payload: Bytes, known: oneshot::Sender<bool> },
    /// The function failed to start.
    InitializationError(Bytes),
}

/// A response payload.
#[derive(Debug)]
pub enum Payload {
    Whole(Bytes),
    TooLarge,
}

/// An invocation, as the runtime receives it.
#[derive(Debug)]
pub struct Dispatch {
    pub request: String,
    pub payload: Bytes,
    pub deadline: SystemTime,
    pub function_arn: String,
    pub trace: String,
}

/// A Runtime API on a free port of 127.0.0.1. Dropping it ends the server.
pub struct RuntimeApi {
    pub address: SocketAddr,
    pub calls: mpsc::Receiver<Call>,
    server: JoinHandle<()>,
}

impl RuntimeApi {
    pub async fn start(function: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Otherwise a small reply in several writes waits for a delayed acknowledgement: 40 ms each.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let (sender, calls) = mpsc::channel(8);
        let router = router(function, sender);
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { address, calls, server })
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

#[derive(Debug, Clone)]
struct Server {
    calls: mpsc::Sender<Call>,
    function: Arc<str>,
}

/// The routes, for a server of the caller's own.
pub fn router(function: &str, calls: mpsc::Sender<Call>) -> Router {
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
    if server.calls.send(Call::Next { at: Instant::now(), reply }).await.is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let Ok(dispatch) = dispatch.await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let deadline = dispatch.deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Lambda-Runtime-Aws-Request-Id", dispatch.request),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
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
    let at = Instant::now();
    let refused =
        matches!(payload, Payload::TooLarge).then_some((StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge"));
    let (known, answer) = oneshot::channel();
    let _ = server.calls.send(Call::Response { at, request, payload, known }).await;
    acknowledge(answer.await.unwrap_or(false), refused)
}

async fn error(State(server): State<Server>, Path(request): Path<String>, payload: Bytes) -> Response {
    let (known, answer) = oneshot::channel();
    let _ = server.calls.send(Call::Error { at: Instant::now(), request, payload, known }).await;
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

/// No events: internal extensions that register for none wait here until the sandbox ends.
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

/// A trace header that is not sampled (AWS, "X-Ray tracing header").
pub fn trace() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let id = Uuid::new_v4().simple().to_string();
    format!("Root=1-{seconds:08x}-{};Parent={};Sampled=0", &id[..24], &id[16..])
}
