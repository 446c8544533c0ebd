//! A version of a function: the queue of its invocations and the sandboxes that serve them.
//!
//! As on Lambda, a sandbox serves one invocation at a time, a new one starts when all are busy, and the end of a
//! sandbox fails the invocation that it was serving and no other. Unlike on Lambda, an invocation beyond the limit
//! waits for a free sandbox instead of being throttled: one developer's burst should not look like an outage.

use std::{collections::HashMap, sync::Arc};

use anyhow::Result;
use axum::body::Bytes;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    invocation::{Invocations, Outcome},
    sandbox::{self, Definition, Handle, State},
};

#[derive(Clone)]
pub(super) struct Version(Arc<Inner>);

struct Inner {
    shared: sandbox::Shared,
    /// A sandbox is in it from its start until its process is gone, so that none is in use that is not in it.
    sandboxes: Mutex<HashMap<Uuid, Handle>>,
    tasks: TaskTracker,
}

impl Version {
    pub(super) fn new(definition: Definition) -> Self {
        let definition = Arc::new(definition);
        Self(Arc::new(Inner {
            shared: sandbox::Shared { definition, invocations: Invocations::new(), stop: CancellationToken::new() },
            sandboxes: Mutex::default(),
            tasks: TaskTracker::new(),
        }))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(super) fn definition(&self) -> Arc<Definition> {
        Arc::clone(&self.0.shared.definition)
    }

    /// Queues an invocation with this id; the receiver gets its outcome.
    pub(super) fn push(&self, id: String, payload: Bytes) -> oneshot::Receiver<Outcome> {
        let outcome = self.0.shared.invocations.push(id, payload);
        self.scale();
        outcome
    }

    /// Starts a sandbox, if there is none, and waits until it can serve.
    ///
    /// # Errors
    /// When it ends before.
    pub(super) async fn start_first(&self) -> Result<()> {
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
    pub(super) async fn kill(&self) -> usize {
        let handles: Vec<Handle> = self.0.sandboxes.lock().values().cloned().collect();
        handles.iter().for_each(Handle::kill);
        for handle in &handles {
            handle.ended().await;
        }
        handles.len()
    }

    /// Freezes every sandbox, or lets it go on; returns their number.
    pub(super) fn set_frozen(&self, frozen: bool) -> usize {
        let sandboxes = self.0.sandboxes.lock();
        sandboxes.values().for_each(|handle| handle.set_frozen(frozen));
        sandboxes.len()
    }

    /// Whether no invocation is waiting or in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.0.shared.invocations.counts() == (0, 0)
    }

    /// The states of its sandboxes.
    pub(super) fn sandboxes(&self) -> Vec<State> {
        self.0.sandboxes.lock().values().map(Handle::state).collect()
    }

    /// Sends SIGTERM, then SIGKILL to what ignores it; returns when no process is left.
    pub(super) async fn stop(&self) {
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
        let (version, started) = (self.clone(), handle.clone());
        self.0.tasks.spawn(async move {
            let end = sandbox::run(&version.0.shared, started.clone()).await;
            version.ended(id, end == sandbox::End::Idle);
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
