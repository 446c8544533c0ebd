//! Faults, and the plans that choose them.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::message::{Reply, Request};

/// The fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request is forwarded.
    None,
    /// The connection breaks before the request arrives.
    LoseRequest,
    /// The request takes effect; the connection breaks before its reply.
    LoseReply,
    /// The request takes effect; the connection breaks in the middle of its reply's body.
    CutReply,
    /// The request arrives twice; the client gets the second reply.
    Repeat,
    /// The request arrives after this time.
    Delay(Duration),
    /// The request is refused and does not take effect.
    Refuse(Refusal),
    /// The request is refused as API Gateway does when it throttles, and does not take effect.
    Throttle,
    /// The request is refused as by a proxy in maintenance, until this time is over; its `Retry-After` is a date.
    Maintain(Duration),
    /// The process that sent the request is killed; no reply is sent.
    Kill(Moment, i32),
}

/// When the sender of a request is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request arrives: it never does.
    Before,
    /// After the request took effect, before its reply.
    After,
}

/// How DynamoDB refuses a request that may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A transaction was cancelled because another is in progress on one of its items.
    Cancelled,
    /// A single write conflicts with a transaction on its item.
    Conflict,
    /// An earlier request with the same token is still in progress.
    InProgress,
    /// Too many requests.
    Throttled,
}

impl Refusal {
    pub(crate) fn reply(self) -> Reply {
        let (kind, reasons) = match self {
            Self::Cancelled => ("TransactionCanceledException", json!([{ "Code": "TransactionConflict" }])),
            Self::Conflict => ("TransactionConflictException", Value::Null),
            Self::InProgress => ("TransactionInProgressException", Value::Null),
            Self::Throttled => ("ThrottlingException", Value::Null),
        };
        let body = json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
            "message": "planned",
            "CancellationReasons": reasons,
        });
        let mut reply = Reply::new(StatusCode::BAD_REQUEST, body.to_string());
        reply.set_header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
        reply
    }
}

/// API Gateway's answer to a request beyond the rate or burst limit; it has no `Retry-After`.
pub(crate) fn throttled() -> Reply {
    let mut reply = Reply::new(StatusCode::TOO_MANY_REQUESTS, json!({ "message": "Too Many Requests" }).to_string());
    reply.set_header(header::CONTENT_TYPE, "application/json");
    reply
}

/// The answer of a proxy that is in maintenance.
pub(crate) fn maintained(rest: Duration) -> Reply {
    let mut reply = Reply::new(StatusCode::SERVICE_UNAVAILABLE, "in maintenance");
    reply.set_header(header::RETRY_AFTER, &httpdate::fmt_http_date(SystemTime::now() + rest));
    reply
}

/// Chooses a fault for each request.
pub trait FaultPlan: Send {
    /// The fault for this request.
    fn fault_for(&mut self, request: &Request) -> Fault;

    /// Kills a process, as an earlier [`Fault::Kill`] demanded; the moment has come.
    fn kill(&mut self, moment: Moment, process: i32);
}

/// A plan without faults that records something from each request, in order of arrival.
pub struct Recorder<T> {
    read: fn(&Request) -> T,
    recorded: Arc<Mutex<Vec<T>>>,
}

impl<T> Recorder<T> {
    /// An empty recorder.
    pub fn new(read: fn(&Request) -> T) -> Self {
        Self { read, recorded: Arc::default() }
    }

    /// Returns what was recorded since the last call.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.recorded.lock())
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self { read: self.read, recorded: Arc::clone(&self.recorded) }
    }
}

impl<T: Send> FaultPlan for Recorder<T> {
    fn fault_for(&mut self, request: &Request) -> Fault {
        self.recorded.lock().push((self.read)(request));
        Fault::None
    }

    fn kill(&mut self, _: Moment, _: i32) {}
}
