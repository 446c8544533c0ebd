//! An invocation, how it ends, and the invocations of a function that wait for a sandbox.

use std::{collections::VecDeque, time::Duration};

use axum::body::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

/// How an invocation failed, as the invoker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function answered with an error, or its process ended; the payload is Lambda's error object.
    Error(Bytes),
    TimedOut(Bytes),
    RequestTooLarge,
}

pub(crate) type Outcome = Result<Bytes, Failure>;

/// One call of a function.
pub(crate) struct Invocation {
    pub(crate) request: String,
    pub(crate) payload: Bytes,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// The invocations of one function: those that wait, and the number of those in progress.
pub(crate) struct Invocations {
    counts: Mutex<Waiting>,
    /// One permit per waiting invocation.
    permits: Semaphore,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Invocation>,
    in_progress: usize,
}

impl Invocations {
    pub(crate) fn new() -> Self {
        Self { counts: Mutex::default(), permits: Semaphore::new(0) }
    }

    /// Queues an invocation with this id; the receiver gets its outcome.
    pub(crate) fn push(&self, request: String, payload: Bytes) -> oneshot::Receiver<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.counts.lock().queue.push_back(Invocation { request, payload, reply });
        self.permits.add_permits(1);
        outcome
    }

    /// The next invocation, once there is one. Cancel safe: an invocation is taken only when this returns.
    pub(crate) async fn take(&self) -> Invocation {
        loop {
            // The semaphore is never closed, and a permit without an invocation is harmless.
            if let Ok(permit) = self.permits.acquire().await {
                permit.forget();
            }
            let mut counts = self.counts.lock();
            if let Some(invocation) = counts.queue.pop_front() {
                counts.in_progress += 1;
                return invocation;
            }
        }
    }

    /// An invocation that was taken has ended.
    pub(crate) fn finished(&self) {
        self.counts.lock().in_progress -= 1;
    }

    /// Fails one waiting invocation, because its sandbox cannot even start.
    pub(crate) fn fail_waiting(&self, failure: Failure) {
        if let Ok(permit) = self.permits.try_acquire() {
            permit.forget();
            let invocation = self.counts.lock().queue.pop_front();
            if let Some(invocation) = invocation {
                let _ = invocation.reply.send(Err(failure));
            }
        }
    }

    /// The numbers of waiting invocations and of those in progress, at one moment.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let counts = self.counts.lock();
        (counts.queue.len(), counts.in_progress)
    }
}

impl Failure {
    pub(crate) fn error(kind: &str, message: &str) -> Self {
        Self::Error(Self::object(kind, message))
    }

    pub(crate) fn timed_out(request: &str, timeout: Duration) -> Self {
        Self::TimedOut(Self::object(
            "Sandbox.Timedout",
            &format!("InvocationId: {request} Error: Task timed out after {:.2} seconds", timeout.as_secs_f64()),
        ))
    }

    fn object(kind: &str, message: &str) -> Bytes {
        Bytes::from(json!({ "errorType": kind, "errorMessage": message }).to_string())
    }

    /// For people: what went wrong.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Error(payload) | Self::TimedOut(payload) => match serde_json::from_slice::<Value>(payload) {
                Ok(error) => format!(
                    "{}: {}",
                    error["errorType"].as_str().unwrap_or("Unhandled"),
                    error["errorMessage"].as_str().unwrap_or_default()
                ),
                Err(_) => String::from_utf8_lossy(payload).into_owned(),
            },
            Self::RequestTooLarge => "the event is larger than 6 MB".to_owned(),
        }
    }
}
