//! Lambda's Runtime API for one sandbox (AWS, "Using the Lambda runtime API"): as much of it as runtimes use.
//!
//! The local stack has one as well, for pools of sandboxes with time-outs and logs. This one has the times of the calls,
//! and does not bring a queue, a token check and a template reader into the build of a benchmark.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

/// What a runtime says, and when.
#[derive(Debug)]
pub(crate) enum Call {
    /// Ready for an invocation.
    Next(Instant, oneshot::Sender<Invocation>),
    /// The answer to the invocation; an error is one as well.
    Answer(Instant, Bytes),
    /// It cannot start.
    InitializationError(Bytes),
}

/// An invocation on its way into the runtime.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) number: u64,
    pub(crate) event: Bytes,
    pub(crate) timeout: Duration,
}

/// A Runtime API on a free port.
pub(crate) struct RuntimeApi {
    pub(crate) address: SocketAddr,
    pub(crate) calls: mpsc::Receiver<Call>,
    server: JoinHandle<()>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        // Small answers in several writes meet delayed acknowledgements otherwise: 40 ms each.
        let listener = listener.tap_io(|connection| drop(connection.set_nodelay(true)));
        let (sender, calls) = mpsc::channel(8);
        let server = tokio::spawn(async move {
            // It ends with the sandbox.
            let _ = axum::serve(listener, router(sender)).await;
        });
        Ok(Self { address, calls, server })
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(calls: mpsc::Sender<Call>) -> Router {
    Router::new()
        .route("/2018-06-01/runtime/invocation/next", get(next))
        .route("/2018-06-01/runtime/invocation/{request}/response", post(answer))
        .route("/2018-06-01/runtime/invocation/{request}/error", post(answer))
        .route("/2018-06-01/runtime/init/error", post(initialization_error))
        .with_state(calls)
}

async fn next(State(calls): State<mpsc::Sender<Call>>) -> Response {
    let (reply, invocation) = oneshot::channel();
    // The sandbox is gone if nobody listens.
    let _ = calls.send(Call::Next(Instant::now(), reply)).await;
    let Ok(Invocation { number, event, timeout }) = invocation.await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let deadline = (SystemTime::now() + timeout).duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let request = format!("8476a536-e9f4-11e8-9739-{number:012x}");
    let headers = [
        ("Content-Type", "application/json".to_owned()),
        ("Lambda-Runtime-Aws-Request-Id", request),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:000000000000:function:bench".to_owned()),
        ("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419".to_owned()),
    ];
    (headers, event).into_response()
}

async fn answer(State(calls): State<mpsc::Sender<Call>>, payload: Bytes) -> impl IntoResponse {
    let _ = calls.send(Call::Answer(Instant::now(), payload)).await;
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" })))
}

async fn initialization_error(State(calls): State<mpsc::Sender<Call>>, payload: Bytes) -> impl IntoResponse {
    let _ = calls.send(Call::InitializationError(payload)).await;
    (StatusCode::ACCEPTED, Json(json!({ "status": "OK" })))
}
