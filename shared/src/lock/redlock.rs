//! A lock on several independent Valkey or Redis servers, held by the one that has most of them (Redlock).
//!
//! **For efficiency only.** It has no fence, and cannot have one: a server that restarts empty forgets its part, so no
//! number that a majority keeps is sure to grow. Nothing can therefore refuse a late holder, and [`guard`] does not accept
//! this lock:
//!
//! ```compile_fail,E0277
//! # use idempotency::lock::{guard, redlock};
//! fn protected(held: &redlock::Held) {
//!     guard("Settings", Default::default(), held);
//! }
//! ```
//!
//! Two processes believe that they hold it
//!
//! * if the first one is frozen past its lease and continues: so can the holder of any lease lock;
//! * if a server restarts without its memory while the lock is held, or its clock jumps: the second holder gets a majority
//!   with that server, and nothing that the first one can look at tells it so.
//!
//! Use it *before* a claim, to save work that would be done twice, and never in place of one. If all of a lock's users can
//! reach one store, [`RecordLock`](super::RecordLock) has a fence and needs one server.
//!
//! The algorithm is the published one ("Distributed Locks with Redis"), with three points settled: a server has a tenth
//! of the lease to answer, one hundredth of the lease and 2 ms are given away for the drift of clocks, and an
//! acquisition that fails is undone everywhere, also where no answer came.
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

/// A lock that most servers gave to this process, until its lease ends or a server forgets.
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

/// Why the lock could not be asked for: most servers could not be reached, so nobody can hold it safely.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedlockError {
    /// Most of the servers did not answer in time.
    #[error("{answered} of {servers} servers answered; a majority is needed")]
    NoMajority {
        /// How many answered.
        answered: usize,
        /// How many there are.
        servers: usize,
    },
    /// There was no randomness for a token.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

/// A tenth of it must be enough for a server to answer.
const MIN_LEASE: Duration = Duration::from_millis(100);

impl Redlock {
    /// A lock whose holder keeps it for `lease`, unless it renews or releases it.
    ///
    /// The servers must be independent: no replicas of each other, and no nodes of one cluster. None of them may evict
    /// keys.
    ///
    /// # Errors
    /// [`InvalidRedlock`].
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

    /// How much of the lease is not used, since the servers' clocks may run faster.
    fn drift(&self) -> Duration {
        self.lease / 100 + Duration::from_millis(2)
    }

    /// What each server answers within a tenth of the lease; `None` for no answer.
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

    /// Whether this process then holds most servers, and until when.
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

    /// Everywhere, also where no answer came: the server may have given its part.
    async fn undo(&self, token: &[u8; 16]) -> Vec<Option<bool>> {
        let key = self.key();
        self.ask(|part| part.delete(key.clone(), *token)).await
    }
}

impl LeaseLock for Redlock {
    type Held = Held;
    type Error = RedlockError;

    /// It does not wait: contenders who each get a part of the servers all fail, and should try again after different
    /// delays.
    async fn acquire(&self, _request: Option<InvocationId>) -> Result<Option<Held>, RedlockError> {
        let mut token = [0; 16];
        SystemEntropy.fill(&mut token)?;
        let (key, lease) = (self.key(), self.lease);
        self.hold(token, |part| part.take(key.clone(), token, lease)).await
    }
}

impl Held {
    /// How much of the lease is left by this process's clock. It is no promise: a server may have forgotten its part.
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
