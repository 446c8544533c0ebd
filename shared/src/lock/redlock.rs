//! A lock on several independent Valkey or Redis servers, held by the process that has a majority of them (Redlock).
//!
//! **For efficiency only.** It has no fence, and cannot have one: a server that restarts empty forgets its vote, so no
//! number that a majority keeps is guaranteed to grow. Therefore nothing can refuse a late holder, and [`guard`] does
//! not accept this lock:
//!
//! ```compile_fail,E0277
//! # use idempotency::lock::{guard, redlock};
//! fn protected(held: &redlock::Held) {
//!     guard("Settings", Default::default(), held);
//! }
//! ```
//!
//! Two processes can believe that they hold it
//!
//! * if the first one is frozen past its lease and continues, which can happen with any lease lock;
//! * if a server restarts without its memory while the lock is held, or its clock jumps: the second holder gets a
//!   majority with that server, and the first one cannot detect this.
//!
//! Use it *before* a claim, to avoid duplicate work, and never in place of a claim. If all users of a lock can reach
//! one store, use [`RecordLock`](super::RecordLock), which has a fence and needs only that store.
//!
//! The algorithm is the published one ("Distributed Locks with Redis"), which leaves three points open: here, a server
//! has a tenth of the lease to answer, a hundredth of the lease plus 2 ms is reserved for clock drift, and a failed
//! acquisition is undone on every server, including those that did not answer.
//!
//! [`guard`]: super::guard()

use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
use futures::future::join_all;
use tokio::time::Instant;

use super::{HeldLock, LeaseLock};
use crate::engine::{Entropy, NoEntropy, SystemEntropy};
use crate::protocol::InvocationId;
use crate::store::valkey::{Server, redlock::Part};

/// A named lock on three or five servers. A clone shares its connections.
#[derive(Clone, Debug)]
pub struct Redlock {
    parts: Arc<[Part]>,
    name: String,
    lease: Duration,
}

/// A lock that a majority of servers granted to this process, until its lease ends or a server loses its memory.
#[must_use = "a lock that is not released is blocked until its lease is over"]
#[derive_where(Debug)]
pub struct Held {
    lock: Redlock,
    #[derive_where(skip)]
    token: [u8; 16],
    until: Instant,
}

/// The number of servers is not three or five, or a lease is too short for the time a server has to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lock needs three or five servers and a lease of at least {MIN_LEASE:?}")]
pub struct InvalidRedlock;

/// The reason that the lock could not be requested. Without a majority of servers no process can hold it safely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedlockError {
    /// Most of the servers did not answer in time.
    #[error("{answered} of {servers} servers answered; a majority is needed")]
    NoMajority {
        /// How many servers answered.
        answered: usize,
        /// How many servers the lock has.
        servers: usize,
    },
    /// There were no random bytes for a token.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

/// The shortest lease, of which a tenth must be enough for a server to answer.
const MIN_LEASE: Duration = Duration::from_millis(100);

impl Redlock {
    /// Creates a lock whose holder keeps it for `lease`, unless it renews or releases it.
    ///
    /// The servers must be independent: no replicas of each other, and no nodes of one cluster. None of them may evict
    /// keys.
    ///
    /// # Errors
    /// [`InvalidRedlock`] if there are not three or five servers, or the lease is too short.
    pub fn new(
        servers: impl IntoIterator<Item = Server>,
        name: impl Into<String>,
        lease: Duration,
    ) -> Result<Self, InvalidRedlock> {
        let parts: Arc<[Part]> = servers.into_iter().map(Part::new).collect();
        if !matches!(parts.len(), 3 | 5) || lease < MIN_LEASE {
            return Err(InvalidRedlock);
        }
        Ok(Self { parts, name: name.into(), lease })
    }

    fn key(&self) -> String {
        format!("lock:{}", self.name)
    }

    fn majority(&self) -> usize {
        self.parts.len() / 2 + 1
    }

    /// The part of the lease that is not used, because the servers' clocks may run faster.
    fn drift(&self) -> Duration {
        self.lease / 100 + Duration::from_millis(2)
    }

    /// The servers' answers within a tenth of the lease; `None` for no answer.
    async fn ask<'a, F: Future<Output = Option<bool>> + 'a>(
        &'a self,
        ask: impl Fn(&'a Part) -> F,
    ) -> Vec<Option<bool>> {
        let limit = self.lease / 10;
        let asked = self.parts.iter().map(|part| {
            let answer = ask(part);
            async move { tokio::time::timeout(limit, answer).await.unwrap_or(None) }
        });
        join_all(asked).await
    }

    /// Takes or extends it, and gives it back where it is not held.
    async fn hold<'a, F: Future<Output = Option<bool>> + 'a>(
        &'a self,
        token: [u8; 16],
        ask: impl Fn(&'a Part) -> F,
    ) -> Result<Option<Held>, RedlockError> {
        match self.held_after(ask).await {
            Ok(Some(until)) => Ok(Some(Held { lock: self.clone(), token, until })),
            not_held => {
                self.undo(&token).await;
                not_held.map(|_| None)
            }
        }
    }

    /// Acquires or extends the lock. Returns whether this process holds a majority of the servers, and until when.
    async fn held_after<'a, F: Future<Output = Option<bool>> + 'a>(
        &'a self,
        ask: impl Fn(&'a Part) -> F,
    ) -> Result<Option<Instant>, RedlockError> {
        let started = Instant::now();
        let answers = self.ask(ask).await;
        let until = started + self.lease.saturating_sub(self.drift());
        let given = answers.iter().filter(|answer| **answer == Some(true)).count();
        if given >= self.majority() && Instant::now() < until {
            return Ok(Some(until));
        }
        let (answered, servers) = (answers.iter().flatten().count(), self.parts.len());
        match answered >= self.majority() {
            true => Ok(None),
            false => Err(RedlockError::NoMajority { answered, servers }),
        }
    }

    /// Releases the lock on every server, including those that did not answer: they may have granted it.
    async fn undo(&self, token: &[u8; 16]) -> Vec<Option<bool>> {
        let key = self.key();
        self.ask(|part| part.delete(key.clone(), *token)).await
    }
}

impl LeaseLock for Redlock {
    type Held = Held;
    type Error = RedlockError;

    /// Does not wait: if contenders split the servers, all of them fail, and should try again after different delays.
    async fn acquire(&self, _request: Option<InvocationId>) -> Result<Option<Held>, RedlockError> {
        let mut token = [0; 16];
        SystemEntropy.fill(&mut token)?;
        let (key, lease) = (self.key(), self.lease);
        self.hold(token, |part| part.take(key.clone(), token, lease)).await
    }
}

impl Held {
    /// The rest of the lease by this process's clock. It is not guaranteed: a server may have lost its memory.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

impl HeldLock for Held {
    type Error = RedlockError;

    async fn renew(self) -> Result<Option<Self>, RedlockError> {
        let (key, lease, token) = (self.lock.key(), self.lock.lease, self.token);
        self.lock.hold(token, |part| part.extend(key.clone(), token, lease)).await
    }

    async fn release(self) -> Result<(), RedlockError> {
        let answered = self.lock.undo(&self.token).await.iter().flatten().count();
        match answered >= self.lock.majority() {
            true => Ok(()),
            false => Err(RedlockError::NoMajority { answered, servers: self.lock.parts.len() }),
        }
    }
}
