//! A function: its versions, of which the latest gets the invocations.
//!
//! A changed parameter makes a new version, as a deployment does: what was invoked before ends on the version before.

use std::{sync::Arc, time::Duration};

use anyhow::Result;
use axum::body::Bytes;
use parking_lot::RwLock;
use uuid::Uuid;

use crate::{
    invocation::{Failure, Outcome},
    sandbox::{Definition, State},
};
use version::Version;

mod version;

#[derive(Clone)]
pub(crate) struct Function(Arc<Inner>);

struct Inner {
    name: String,
    /// The latest is the last. Those before it end what was invoked before, and then leave.
    versions: RwLock<Vec<Version>>,
}

/// A new version of a function, which can serve and is not used yet.
pub(crate) struct Next {
    function: Function,
    version: Version,
}

impl Function {
    pub(crate) fn new(definition: Definition) -> Self {
        let name = definition.settings.name.clone();
        Self(Arc::new(Inner { name, versions: RwLock::new(vec![Version::new(definition)]) }))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Of the latest version.
    pub(crate) fn definition(&self) -> Arc<Definition> {
        self.latest().definition()
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
        let outcome = {
            // Held until the invocation is in the version's queue, so that a version that is replaced has all of its
            // own.
            let versions = self.0.versions.read();
            latest(&versions).push(id, payload)
        };
        outcome.await.unwrap_or_else(|_| Err(Failure::error("Runtime.ExitError", "the local stack is stopping")))
    }

    /// Starts a sandbox, if there is none, and waits until it can serve.
    ///
    /// # Errors
    /// When it ends before.
    pub(crate) async fn start_first(&self) -> Result<()> {
        self.latest().start_first().await
    }

    /// Starts a sandbox of a new version, and waits until it can serve. Nothing is replaced yet.
    ///
    /// # Errors
    /// When it ends before.
    pub(crate) async fn prepare(&self, definition: Definition) -> Result<Next> {
        let version = Version::new(definition);
        match version.start_first().await {
            Ok(()) => Ok(Next { function: self.clone(), version }),
            Err(error) => {
                version.stop().await;
                Err(error)
            }
        }
    }

    /// Kills every sandbox; returns when they are dead, with their number.
    pub(crate) async fn kill(&self) -> usize {
        let mut killed = 0;
        for version in self.versions() {
            killed += version.kill().await;
        }
        killed
    }

    /// Freezes every sandbox, or lets it go on; returns their number.
    pub(crate) fn set_frozen(&self, frozen: bool) -> usize {
        self.versions().iter().map(|version| version.set_frozen(frozen)).sum()
    }

    /// Returns when no invocation is waiting or in progress.
    pub(crate) async fn until_idle(&self) {
        while !self.versions().iter().all(Version::is_idle) {
            tokio::time::sleep(IDLE_CHECK).await;
        }
    }

    /// The states of its sandboxes.
    pub(crate) fn sandboxes(&self) -> Vec<State> {
        self.versions().iter().flat_map(Version::sandboxes).collect()
    }

    /// Sends SIGTERM, then SIGKILL to what ignores it; returns when no process is left.
    pub(crate) async fn stop(&self) {
        for version in self.versions() {
            version.stop().await;
        }
    }

    fn versions(&self) -> Vec<Version> {
        self.0.versions.read().clone()
    }

    fn latest(&self) -> Version {
        latest(&self.0.versions.read()).clone()
    }
}

const IDLE_CHECK: Duration = Duration::from_millis(20);

/// There is one from the beginning, and only those before it leave.
fn latest(versions: &[Version]) -> &Version {
    &versions[versions.len() - 1]
}

impl Next {
    /// From now on it gets the invocations. The sandboxes before it stop when they have ended those that they have.
    pub(crate) fn replace(self) {
        let Self { function, version } = self;
        let before = {
            let mut versions = function.0.versions.write();
            let before = latest(&versions).clone();
            versions.push(version);
            before
        };
        tokio::spawn(async move {
            while !before.is_idle() {
                tokio::time::sleep(IDLE_CHECK).await;
            }
            before.stop().await;
            function.0.versions.write().retain(|version| !version.is(&before));
        });
    }

    /// Gives the new version up.
    pub(crate) async fn stop(self) {
        self.version.stop().await;
    }
}
