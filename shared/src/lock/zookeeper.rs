//! A lock in a ZooKeeper ensemble, by the recipe that Apache Curator uses (`InterProcessMutex`): contenders queue as
//! ephemeral, sequential nodes, and the first one holds the lock.
//!
//! The lease is the session: the server ends it when it receives no heartbeat for the session's time-out, and the node
//! disappears with it. No caller's clock is involved. The fence is the id of the transaction that created the node
//! (`czxid`): it grows across the whole ensemble and across elections. It decreases only if an ensemble is rebuilt or
//! restored from a backup; in that case remove the [guard's attribute](Fenced::ATTRIBUTE) from guarded items.
//!
//! **On Lambda, keep a lock within one invocation.** A frozen sandbox sends no heartbeats, so its session ends.
//! Therefore each [acquisition](ZookeeperLock::acquire) opens a separate session, which a [release](Held::release)
//! closes.
//!
//! ```no_run
//! use std::time::Duration;
//! use idempotency::lock::zookeeper::{Ensemble, ZookeeperLock};
//!
//! # async fn work() -> Result<(), idempotency::lock::zookeeper::ZookeeperError> {
//! let ensemble = Ensemble::new("zk-1:2181,zk-2:2181,zk-3:2181").digest("reports", "secret");
//! let lock = ZookeeperLock::new(ensemble, "nightly-report");
//! if let Some(held) = lock.acquire(None).await? {
//!     // … writes with `guard(…, &held)` …
//!     held.release().await?;
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::time::Duration;

use derive_where::derive_where;
use tokio::time::{Instant, timeout, timeout_at};
use zookeeper_client::{Acls, Client, CreateMode, Error, LockClient, LockOptions, LockPrefix, OwnedLockClient};

use super::{Fence, Fenced, HeldLock, LeaseLock};
use crate::protocol::InvocationId;

/// The part of a node's name by which Curator's `InterProcessMutex` recognises contenders.
const NODE: &str = "lock-";

/// How long a contender that was second by a moment waits before it gives up: the round trips of a create and a list.
const MOMENT: Duration = Duration::from_millis(500);

/// How long a request on a broken connection waits for the next connection before it is repeated.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a release waits for the session's end. The node is deleted before.
const CLOSE: Duration = Duration::from_secs(1);

/// The servers of an ensemble, and the credentials for them.
#[derive(Clone)]
#[derive_where(Debug)]
pub struct Ensemble {
    servers: String,
    session: Duration,
    /// The user and the password, which does not belong in a log.
    #[derive_where(skip)]
    digest: Option<(String, String)>,
}

impl Ensemble {
    /// Creates an ensemble from its servers, as `host:port,host:port`, optionally followed by a path below which all
    /// nodes are created (`…/payments`).
    ///
    /// The connection is not encrypted.
    #[must_use]
    pub fn new(servers: impl Into<String>) -> Self {
        Self { servers: servers.into(), session: Duration::from_secs(6), digest: None }
    }

    /// Sets the session's time-out, which is how long a dead holder blocks the others. Default: 6 s. The server limits
    /// it to 2 to 20 of its ticks, by default 4 to 40 s.
    ///
    /// It also limits how long a connection and each request may take.
    #[must_use]
    pub const fn session(mut self, timeout: Duration) -> Self {
        self.session = timeout;
        self
    }

    /// Signs in with a user name and a password (scheme `digest`). Only this user then has access to the created nodes.
    #[must_use]
    pub fn digest(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.digest = Some((user.into(), password.into()));
        self
    }

    const fn acls(&self) -> Acls<'static> {
        if self.digest.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
    }

    async fn connect(&self) -> Result<Client, ZookeeperError> {
        let connector = Client::connector().with_session_timeout(self.session);
        let connector = match &self.digest {
            Some((user, password)) => connector.with_auth("digest", format!("{user}:{password}").as_bytes()),
            None => connector,
        };
        match timeout(self.session, connector.connect(&self.servers)).await {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(Error::AuthFailed)) => Err(ZookeeperError::Refused(Error::AuthFailed)),
            Ok(Err(error)) => Err(ZookeeperError::Unreachable { servers: self.servers.clone(), source: error }),
            Err(_) => Err(ZookeeperError::Unreachable { servers: self.servers.clone(), source: Error::Timeout }),
        }
    }
}

/// A named lock in an ensemble.
#[derive(Clone, Debug)]
pub struct ZookeeperLock {
    ensemble: Ensemble,
    folder: String,
}

/// A held lock, until its session ends.
///
/// Dropping it releases the lock in the background, if the process keeps running.
#[must_use = "a lock that is not released is blocked until its session ends"]
#[derive(Debug)]
pub struct Held {
    lock: OwnedLockClient,
    fence: Fence,
    session: Duration,
}

/// The reason that a lock could not be acquired, checked or released.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ZookeeperError {
    /// No server answered within the session's time-out, so the lock is not held.
    #[error("no server of {servers} opened a session")]
    Unreachable {
        /// The servers' addresses.
        servers: String,
        /// The client's last error.
        source: Error,
    },
    /// The ensemble refuses the user: the lock's nodes belong to another one, or the password is wrong.
    #[error("the ensemble refuses this user")]
    Refused(#[source] Error),
    /// The lock's name is not the name of a node: it is empty, or contains `/` or a control character.
    #[error("the lock's name is not valid")]
    Name(#[source] Error),
    /// The session was lost. A requested lock is not held, or is free when the session ends.
    #[error("the ensemble did not answer")]
    Unavailable(#[source] Error),
}

impl From<Error> for ZookeeperError {
    fn from(error: Error) -> Self {
        match error {
            Error::NoAuth | Error::AuthFailed | Error::InvalidAcl => Self::Refused(error),
            Error::BadArguments(_) => Self::Name(error),
            other => Self::Unavailable(other),
        }
    }
}

impl ZookeeperLock {
    /// Creates a lock of this name, whose contenders queue at the node `/locks/NAME`.
    pub fn new(ensemble: Ensemble, name: impl fmt::Display) -> Self {
        Self { ensemble, folder: format!("/locks/{name}") }
    }

    /// Acquires the lock, or returns `None` if another process holds it. It waits for at most half a second if others
    /// contend for it at the same moment.
    ///
    /// `request` is the invocation's id, stored in the node so that operators can see who holds the lock.
    ///
    /// # Errors
    /// Any [`ZookeeperError`]: the lock is not held.
    pub async fn acquire(&self, request: Option<InvocationId>) -> Result<Option<Held>, ZookeeperError> {
        let client = self.ensemble.connect().await?;
        match self.limited(client.list_children(&self.folder)).await {
            Ok(contenders) if contenders.iter().any(|name| name.contains(NODE)) => {
                close(client).await;
                Ok(None)
            }
            Ok(_) | Err(ZookeeperError::Unavailable(Error::NoNode)) => self.stand(client, request, MOMENT).await,
            Err(error) => Err(error),
        }
    }

    /// Queues for the lock for at most `wait`, and returns `None` if its turn did not come. The lock is granted in the
    /// order of arrival.
    ///
    /// # Errors
    /// Any [`ZookeeperError`]: the lock is not held.
    pub async fn acquire_within(
        &self,
        wait: Duration,
        request: Option<InvocationId>,
    ) -> Result<Option<Held>, ZookeeperError> {
        self.stand(self.ensemble.connect().await?, request, wait).await
    }

    async fn stand(
        &self,
        client: Client,
        request: Option<InvocationId>,
        wait: Duration,
    ) -> Result<Option<Held>, ZookeeperError> {
        let data = request.map(|request| request.to_string()).unwrap_or_default();
        let acls = self.ensemble.acls();
        // The servers delete a container node when no contender is queued. Fences are not affected: unlike the nodes'
        // sequence numbers, they are unique in the whole ensemble.
        let options = LockOptions::new(acls).with_ancestor_options(CreateMode::Container.with_acls(acls))?;
        let prefix = LockPrefix::new_curator(&self.folder, NODE)?;
        let waited = timeout(wait, client.lock(prefix, data.as_bytes(), options)).await;
        let Ok(lock) = waited.map(|lock| lock.map(LockClient::into_owned)) else {
            // Closing the session gives up the place in the queue.
            close(client).await;
            return Ok(None);
        };
        let lock = lock?;
        // Before ZooKeeper 3.8.2 the reply to a create inside a transaction lacks the id (ZOOKEEPER-4026), so it is
        // read.
        let fence = self.limited(client.check_stat(lock.lock_path())).await?;
        Ok(fence.map(|stat| Held {
            lock,
            fence: Fence::new(stat.czxid.unsigned_abs()),
            session: self.ensemble.session,
        }))
    }

    async fn limited<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, ZookeeperError> {
        limited(self.ensemble.session, request).await
    }
}

impl Held {
    /// Checks whether the session still holds the lock. Returns `None` if the lock is lost. There is nothing to extend:
    /// the session lasts as long as its heartbeats arrive.
    ///
    /// While the ensemble elects a leader, it waits for at most the session's time-out.
    ///
    /// # Errors
    /// [`ZookeeperError::Unavailable`]: it is unknown whether the lock is held, so it was released as far as possible.
    pub async fn renew(self) -> Result<Option<Self>, ZookeeperError> {
        let (client, path) = (self.lock.client(), self.lock.lock_path());
        let found = repeated(client, || async {
            // A follower may lag behind the leader.
            client.sync(path).await?;
            client.check_stat(path).await
        });
        match limited(self.session, found).await {
            Ok(found) => Ok(found.is_some().then_some(self)),
            Err(ZookeeperError::Unavailable(Error::SessionExpired)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Releases the lock and closes the session. If the session has ended, nothing changes.
    ///
    /// # Errors
    /// [`ZookeeperError::Unavailable`]: the lock is free when the session ends.
    pub async fn release(self) -> Result<(), ZookeeperError> {
        let client = self.lock.client().clone();
        let path = self.lock.lock_path();
        // A repeated delete finds no node: the node's name contains this session, so no other contender creates it.
        let deleted = limited(self.session, repeated(&client, || client.delete(path, None))).await;
        drop(self.lock);
        close(client).await;
        match deleted {
            Ok(()) | Err(ZookeeperError::Unavailable(Error::NoNode | Error::SessionExpired)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Ends a session and waits for its end: a sandbox may be frozen afterwards, and then its session would end only by its
/// time-out.
async fn close(client: Client) {
    let mut state = client.state_watcher();
    drop(client);
    let limit = Instant::now() + CLOSE;
    while !state.peek_state().is_terminated() && timeout_at(limit, state.changed()).await.is_ok() {}
}

/// Repeats a request whose connection broke, as every connection of an ensemble does when its leader is lost.
async fn repeated<T, R: Future<Output = Result<T, Error>>>(
    client: &Client,
    request: impl Fn() -> R,
) -> Result<T, Error> {
    let mut state = client.state_watcher();
    loop {
        match request().await {
            Err(Error::ConnectionLoss) if !state.peek_state().is_terminated() => {
                // Without a pause, the client might refuse request after request.
                let _ = timeout(PAUSE, state.changed()).await;
            }
            answer => return answer,
        }
    }
}

/// A request that gets no answer in time counts as a lost connection.
async fn limited<T>(limit: Duration, request: impl Future<Output = Result<T, Error>>) -> Result<T, ZookeeperError> {
    timeout(limit, request).await.unwrap_or(Err(Error::ConnectionLoss)).map_err(ZookeeperError::from)
}

impl LeaseLock for ZookeeperLock {
    type Held = Held;
    type Error = ZookeeperError;

    async fn acquire(&self, request: Option<InvocationId>) -> Result<Option<Held>, ZookeeperError> {
        Self::acquire(self, request).await
    }
}

impl HeldLock for Held {
    type Error = ZookeeperError;

    async fn renew(self) -> Result<Option<Self>, ZookeeperError> {
        Self::renew(self).await
    }

    async fn release(self) -> Result<(), ZookeeperError> {
        Self::release(self).await
    }
}

/// The fence is the id of the transaction that created the node.
impl Fenced for Held {
    const ATTRIBUTE: &'static str = "zookeeper_fence";

    fn fence(&self) -> Fence {
        self.fence
    }
}
