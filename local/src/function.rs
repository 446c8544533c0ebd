//! A function: the queue of its invocations and the sandboxes that serve them.
//!
//! As on Lambda, a sandbox serves one invocation at a time, a new one starts when all are busy, and what a sandbox
//! died of fails the invocation it was serving and no other. Unlike on Lambda, an invocation beyond the limit waits
//! for a free sandbox instead of being throttled: one developer's burst should not look like an outage.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    provider::Provider,
    sandbox::{self, Handle, State},
    template,
};

/// How an invocation failed, as the invoker sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The function answered with an error, or its process ended; the payload is Lambda's error object.
    Error(Bytes),
    TimedOut(Bytes),
    RequestTooLarge,
}

pub(crate) type Outcome = Result<Bytes, Failure>;

pub(crate) struct Invocation {
    pub(crate) request: String,
    pub(crate) payload: Bytes,
    pub(crate) reply: oneshot::Sender<Outcome>,
}

/// What every sandbox of the function shares.
pub(crate) struct Definition {
    pub(crate) settings: template::Function,
    pub(crate) program: PathBuf,
    pub(crate) arn: String,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) process_group: i32,
    /// The maximum number of sandboxes.
    pub(crate) concurrency: usize,
    /// How long a sandbox is left running beyond its time-out.
    pub(crate) overtime: Duration,
    /// Each sandbox reaches the provider at an address of its own, so that the provider knows which process called.
    pub(crate) provider: Provider,
}

#[derive(Clone)]
pub(crate) struct Function(Arc<Inner>);

struct Inner {
    definition: Definition,
    pool: Mutex<Pool>,
    /// One permit per waiting invocation.
    waiting: Semaphore,
    stop: CancellationToken,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Pool {
    queue: VecDeque<Invocation>,
    sandboxes: HashMap<Uuid, Handle>,
    busy: usize,
}

impl Function {
    pub(crate) fn new(definition: Definition) -> Self {
        Self(Arc::new(Inner {
            definition,
            pool: Mutex::default(),
            waiting: Semaphore::new(0),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.definition.settings.name
    }

    pub(crate) fn settings(&self) -> &template::Function {
        &self.0.definition.settings
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.0.definition
    }

    /// Runs the function once. Dropping the future does not stop the function, as hanging up on Lambda does not.
    pub(crate) async fn invoke(&self, payload: impl Into<Bytes>) -> Outcome {
        let payload = payload.into();
        if payload.len() > runtime_api::MAXIMUM_PAYLOAD {
            return Err(Failure::RequestTooLarge);
        }
        let (reply, outcome) = oneshot::channel();
        self.pool().queue.push_back(Invocation { request: Uuid::new_v4().to_string(), payload, reply });
        self.0.waiting.add_permits(1);
        self.scale();
        outcome.await.unwrap_or_else(|_| Err(Failure::error("Runtime.ExitError", "the local stack is stopping")))
    }

    /// Kills every sandbox; returns when they are dead, with their number.
    pub(crate) async fn kill(&self) -> usize {
        let handles: Vec<Handle> = self.pool().sandboxes.values().cloned().collect();
        for handle in &handles {
            handle.kill.cancel();
        }
        for handle in &handles {
            handle.ended.cancelled().await;
        }
        handles.len()
    }

    /// What its sandboxes are doing.
    pub(crate) fn sandboxes(&self) -> Vec<State> {
        self.pool().sandboxes.values().map(Handle::state).collect()
    }

    /// SIGTERM, and SIGKILL for what does not listen; returns when no process is left.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// The next invocation, once there is one. Cancel safe: an invocation is taken only when this returns.
    pub(crate) async fn take(&self) -> Invocation {
        loop {
            // The semaphore is never closed, and a permit without an invocation is harmless.
            if let Ok(permit) = self.0.waiting.acquire().await {
                permit.forget();
            }
            if let Some(invocation) = self.take_waiting() {
                return invocation;
            }
        }
    }

    /// Fails one waiting invocation: its sandbox could not even start.
    pub(crate) fn fail_waiting(&self, failure: Failure) {
        if let Ok(permit) = self.0.waiting.try_acquire() {
            permit.forget();
            if let Some(invocation) = self.pool().queue.pop_front() {
                let _ = invocation.reply.send(Err(failure));
            }
        }
    }

    pub(crate) fn finished(&self) {
        self.pool().busy -= 1;
    }

    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    fn take_waiting(&self) -> Option<Invocation> {
        let mut pool = self.pool();
        let invocation = pool.queue.pop_front()?;
        pool.busy += 1;
        Some(invocation)
    }

    /// Starts a sandbox when more invocations wait than sandboxes are free or starting.
    fn scale(&self) {
        let limit = self.0.definition.concurrency;
        let mut pool = self.pool();
        while !self.0.stop.is_cancelled()
            && pool.sandboxes.len() < limit
            && pool.queue.len() > pool.sandboxes.len() - pool.busy
        {
            self.start(&mut pool);
        }
    }

    fn start(&self, pool: &mut Pool) {
        let id = Uuid::new_v4();
        let handle = Handle::default();
        pool.sandboxes.insert(id, handle.clone());
        let function = self.clone();
        self.0.tasks.spawn(async move {
            let end = sandbox::run(&function, handle.clone()).await;
            function.ended(id, end == sandbox::End::Idle);
            handle.ended.cancel();
        });
    }

    fn ended(&self, id: Uuid, replace: bool) {
        {
            let mut pool = self.pool();
            pool.sandboxes.remove(&id);
            if replace && !self.0.stop.is_cancelled() {
                self.start(&mut pool);
            }
        }
        self.scale();
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.pool.lock().unwrap_or_else(PoisonError::into_inner)
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
