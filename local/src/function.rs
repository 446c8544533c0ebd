//! A function: the queue of its invocations and the sandboxes that serve them.
//!
//! As on Lambda, a sandbox serves one invocation at a time, a new one starts when all are busy, and the end of a
//! sandbox fails the invocation that it was serving and no other. Unlike on Lambda, an invocation beyond the limit
//! waits for a free sandbox instead of being throttled: one developer's burst should not look like an outage.

use std::{collections::HashMap, sync::Arc};

use anyhow::Result;
use axum::body::Bytes;
use parking_lot::Mutex;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    invocation::{Failure, Invocations, Outcome},
    sandbox::{self, Definition, Handle, State},
    template,
};

#[derive(Clone)]
pub(crate) struct Function(Arc<Inner>);

struct Inner {
    shared: sandbox::Shared,
    /// A sandbox is in it from its start until its process is gone, so that none is in use that is not in it.
    sandboxes: Mutex<HashMap<Uuid, Handle>>,
    tasks: TaskTracker,
}

impl Function {
    pub(crate) fn new(definition: Definition) -> Self {
        Self(Arc::new(Inner {
            shared: sandbox::Shared { definition, invocations: Invocations::new(), stop: CancellationToken::new() },
            sandboxes: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.shared.definition.settings.name
    }

    pub(crate) fn settings(&self) -> &template::Function {
        &self.0.shared.definition.settings
    }

    pub(crate) fn definition(&self) -> &Definition {
        &self.0.shared.definition
    }

    /// Runs the function once. Dropping the future does not stop the function, as hanging up on Lambda does not.
    pub(crate) async fn invoke(&self, payload: impl Into<Bytes>) -> Outcome {
        self.invoke_as(Uuid::new_v4().to_string(), payload.into()).await
    }

    /// As [`invoke`](Self::invoke), with this id for the invocation.
    pub(crate) async fn invoke_as(&self, id: String, payload: Bytes) -> Outcome {
        if payload.len() > runtime_api::MAXIMUM_PAYLOAD {
            return Err(Failure::RequestTooLarge);
        }
        let outcome = self.0.shared.invocations.push(id, payload);
        self.scale();
        outcome.await.unwrap_or_else(|_| Err(Failure::error("Runtime.ExitError", "the local stack is stopping")))
    }

    /// Starts a sandbox, if there is none, and waits until it can serve.
    ///
    /// # Errors
    /// When it ends before.
    pub(crate) async fn start_first(&self) -> Result<()> {
        let handle = {
            let mut sandboxes = self.0.sandboxes.lock();
            match sandboxes.values().next() {
                Some(handle) => handle.clone(),
                None => self.start(&mut sandboxes),
            }
        };
        handle.started().await
    }

    /// Kills every sandbox; returns when they are dead, with their number.
    pub(crate) async fn kill(&self) -> usize {
        let handles: Vec<Handle> = self.0.sandboxes.lock().values().cloned().collect();
        handles.iter().for_each(Handle::kill);
        for handle in &handles {
            handle.ended().await;
        }
        handles.len()
    }

    /// Freezes every sandbox, or lets it go on; returns their number.
    pub(crate) fn set_frozen(&self, frozen: bool) -> usize {
        let sandboxes = self.0.sandboxes.lock();
        sandboxes.values().for_each(|handle| handle.set_frozen(frozen));
        sandboxes.len()
    }

    /// Returns when no invocation is waiting or in progress.
    pub(crate) async fn until_idle(&self) {
        while self.0.shared.invocations.counts() != (0, 0) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The states of its sandboxes.
    pub(crate) fn sandboxes(&self) -> Vec<State> {
        self.0.sandboxes.lock().values().map(Handle::state).collect()
    }

    /// Sends SIGTERM, then SIGKILL to what ignores it; returns when no process is left.
    pub(crate) async fn stop(&self) {
        self.0.shared.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Starts a sandbox when more invocations wait than sandboxes are free or starting.
    fn scale(&self) {
        let limit = self.0.shared.definition.concurrency;
        let mut sandboxes = self.0.sandboxes.lock();
        while !self.0.shared.stop.is_cancelled() && sandboxes.len() < limit {
            let (waiting, in_progress) = self.0.shared.invocations.counts();
            if waiting <= sandboxes.len() - in_progress {
                break;
            }
            self.start(&mut sandboxes);
        }
    }

    fn start(&self, sandboxes: &mut HashMap<Uuid, Handle>) -> Handle {
        let id = Uuid::new_v4();
        let handle = Handle::default();
        sandboxes.insert(id, handle.clone());
        let (function, started) = (self.clone(), handle.clone());
        self.0.tasks.spawn(async move {
            let end = sandbox::run(&function.0.shared, started.clone()).await;
            function.ended(id, end == sandbox::End::Idle);
            started.set_ended();
        });
        handle
    }

    fn ended(&self, id: Uuid, replace: bool) {
        {
            let mut sandboxes = self.0.sandboxes.lock();
            sandboxes.remove(&id);
            if replace && !self.0.shared.stop.is_cancelled() {
                self.start(&mut sandboxes);
            }
        }
        self.scale();
    }
}
