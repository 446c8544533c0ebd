//! A lock that is a record: claimed and released, never settled.
//!
//! It needs no separate table or server and relies on the record protocol: the attempt number is the fence. Leases are
//! measured with the callers' clocks. With a wrong clock the lock is taken over early or late, and the fence stops the
//! previous holder.
//!
#![cfg_attr(feature = "system", doc = "```")]
#![cfg_attr(not(feature = "system"), doc = "```ignore")]
//! use std::time::Duration;
//! use idempotency::lock::Fenced;
//! use idempotency::store::memory::MemoryStore;
//! use idempotency::{Engine, RecordLock};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), idempotency::Error> {
//! let engine = Engine::builder(MemoryStore::new()).build();
//! let lock = RecordLock::new(engine, "reconciler", Duration::from_secs(60));
//! let held = lock.acquire(None).await?.expect("nobody holds it");
//! assert!(lock.acquire(None).await?.is_none(), "somebody holds it");
//! held.release().await?;
//! let held = lock.acquire(None).await?.expect("it is free again");
//! assert_eq!(held.fence().get(), 2);
//! # held.release().await
//! # }
//! ```

use std::time::Duration;

use derive_where::derive_where;

use crate::engine::{Driver, Engine, Error, Operation};
use crate::protocol::machine::{Action, Input, Machine, Ran, Terms, Wait};
use crate::protocol::{ClaimRequest, EpochMs, Fingerprinter, InvocationId, LeaseLimit, RecordId, Uncertain};
use crate::store::Store;

use super::{Fence, Fenced, HeldLock, LeaseLock};

/// A named lock, kept as a record of a store.
#[derive_where(Debug)]
pub struct RecordLock<S> {
    engine: Engine<S>,
    name: String,
    lease: Duration,
}

/// A held lock, until its lease ends.
///
/// Dropping it does not release the lock, since a sandbox can freeze before any clean-up. The lock is then free when
/// the lease ends.
#[must_use = "a lock that is not released is blocked until its lease is over"]
#[derive_where(Debug)]
pub struct Held<S: Store> {
    #[derive_where(skip)]
    driver: Driver<S>,
    fence: Fence,
    until: EpochMs,
}

impl<S: Store> RecordLock<S> {
    /// Creates a lock whose holder keeps it for `lease`, unless it [renews](Held::renew) or releases it.
    ///
    /// A stored lease that ends later than twice `lease` from now is ignored, because the clock that wrote it was
    /// ahead. Therefore never reduce the lease of a lock in use to less than half.
    pub fn new(engine: Engine<S>, name: impl Into<String>, lease: Duration) -> Self {
        Self { engine, name: name.into(), lease }
    }

    /// Acquires the lock, or returns `None` if another process holds it. It does not wait.
    ///
    /// `request` is the invocation's id, recorded in the history so that operators can see who holds the lock.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`] or [`Error::NoEntropy`]: the lock is not held. If the store answered neither the
    /// claim nor the attempt to release it, the lock may stay blocked until the lease ends.
    pub async fn acquire(&self, request: Option<InvocationId>) -> Result<Option<Held<S>>, Error> {
        // A lock record is never settled, waits for no other call, and runs nothing that a deadline could stop.
        let never = EpochMs(u64::MAX);
        let terms = Terms { retention: Duration::MAX, start_by: never, write_by: never, wait: Wait::No };
        let machine = Machine::lock(self.request(request)?, terms, self.engine.now());
        let operation = Operation::new("lock", self.name.as_str());
        Held::of(Driver::new(&self.engine, machine, operation, EpochMs(0))).await
    }

    fn request(&self, invocation: Option<InvocationId>) -> Result<ClaimRequest, Error> {
        let (owner, transaction) = self.engine.identity()?;
        Ok(ClaimRequest {
            id: RecordId::of_lock(&self.name),
            operation: format!("lock {}", self.name).into(),
            principal: None,
            subject: None,
            invocation,
            trace: None,
            fingerprint: Fingerprinter::new().finish(),
            owner,
            transaction,
            lease: LeaseLimit { at_most: self.lease, by: EpochMs(u64::MAX) },
            // After the lease ends, the next caller takes over the lock; the fencing token protects the guarded data.
            uncertain: Uncertain::Repeat { within: Duration::MAX },
        })
    }
}

impl<S: Store> Held<S> {
    /// The lock, if it is held once the machine has performed its actions.
    async fn of(mut driver: Driver<S>) -> Result<Option<Self>, Error> {
        driver.advance().await?;
        let (fence, until) = match driver.machine().poll() {
            Action::Run(record) => {
                (Fence::new(record.attempt), record.holder().map_or(EpochMs(0), |holder| holder.lease))
            }
            _ => return driver.released().map(|()| None),
        };
        Ok(Some(Self { driver, fence, until }))
    }

    /// The end of the lease. No other process takes the lock before then.
    #[must_use]
    pub const fn until(&self) -> EpochMs {
        self.until
    }

    /// Extends the lock by another lease from now. Returns `None` if another process has taken it over.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]: it is unknown whether the lease was extended, so the lock was released as far as
    /// possible.
    pub async fn renew(mut self) -> Result<Option<Self>, Error> {
        self.driver.handle(Input::Renew).await;
        Self::of(self.driver).await
    }

    /// Releases the lock. If another process has taken it over, nothing changes.
    ///
    /// # Errors
    /// [`Error::StoreUnavailable`]: the lock is free no later than the end of its lease.
    pub async fn release(mut self) -> Result<(), Error> {
        self.driver.handle(Input::Ran(Ran::NotExecuted)).await;
        self.driver.advance().await?;
        self.driver.released()
    }
}

impl<S: Store> LeaseLock for RecordLock<S> {
    type Held = Held<S>;
    type Error = Error;

    async fn acquire(&self, request: Option<InvocationId>) -> Result<Option<Held<S>>, Error> {
        Self::acquire(self, request).await
    }
}

impl<S: Store> HeldLock for Held<S> {
    type Error = Error;

    async fn renew(self) -> Result<Option<Self>, Error> {
        Self::renew(self).await
    }

    async fn release(self) -> Result<(), Error> {
        Self::release(self).await
    }
}

/// The fence is the attempt number: 1, 2, 3 and so on for each lock.
impl<S: Store> Fenced for Held<S> {
    const ATTRIBUTE: &'static str = "fence";

    fn fence(&self) -> Fence {
        self.fence
    }
}

#[cfg(test)]
#[cfg(feature = "system")]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::tests::TokioClock;
    use crate::store::fault::{Fault, FaultyStore};
    use crate::store::memory::MemoryStore;

    const LEASE: Duration = Duration::from_secs(60);

    fn lock(plan: impl IntoIterator<Item = Fault>) -> (MemoryStore, Arc<RecordLock<FaultyStore<MemoryStore>>>) {
        let memory = MemoryStore::new();
        let engine = Engine::builder(FaultyStore::new(memory.clone(), plan)).clock(TokioClock::start()).build();
        (memory, Arc::new(RecordLock::new(engine, "reconciler", LEASE)))
    }

    async fn acquired(lock: &RecordLock<FaultyStore<MemoryStore>>) -> Option<Held<FaultyStore<MemoryStore>>> {
        lock.acquire(None).await.unwrap()
    }

    #[tokio::test]
    async fn it_conforms() {
        let memory = MemoryStore::new();
        crate::lock::conformance::all(|name| {
            let engine = Engine::builder(memory.clone()).build();
            std::future::ready(RecordLock::new(engine, name, LEASE))
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn of_64_at_once_one_holds_it() {
        let (_, lock) = lock([]);
        let all = futures::future::join_all((0..64).map(|_| acquired(&lock))).await;
        assert_eq!(all.iter().flatten().count(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_holder_blocks_it_until_the_lease_is_over_and_the_fence_grows() {
        let (_, lock) = lock([]);
        let dead = acquired(&lock).await.unwrap();
        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        assert!(acquired(&lock).await.is_none());
        tokio::time::advance(Duration::from_millis(1)).await;
        let held = acquired(&lock).await.unwrap();
        assert!(held.fence() > dead.fence());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_holder_cannot_renew_the_lock_of_its_successor() {
        let (_, lock) = lock([]);
        let late = acquired(&lock).await.unwrap();
        tokio::time::advance(LEASE).await;
        let held = acquired(&lock).await.unwrap();
        assert!(late.renew().await.unwrap().is_none());
        assert!(acquired(&lock).await.is_none());
        assert!(held.renew().await.unwrap().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_release_frees_nothing() {
        let (_, lock) = lock([]);
        let late = acquired(&lock).await.unwrap();
        tokio::time::advance(LEASE).await;
        let _held = acquired(&lock).await.unwrap();
        late.release().await.unwrap();
        assert!(acquired(&lock).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_lock_is_held_for_another_lease() {
        let (_, lock) = lock([]);
        let held = acquired(&lock).await.unwrap();
        tokio::time::advance(LEASE / 2).await;
        let held = held.renew().await.unwrap().unwrap();
        tokio::time::advance(LEASE - Duration::from_millis(1)).await;
        assert!(acquired(&lock).await.is_none());
        assert_eq!(held.fence().get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_fence_grows_over_releases_and_the_sweep_of_expired_items() {
        let (memory, lock) = lock([]);
        for fence in 1..5 {
            let held = acquired(&lock).await.unwrap();
            assert_eq!(held.fence().get(), fence);
            held.release().await.unwrap();
            tokio::time::advance(Duration::from_secs(365 * 24 * 60 * 60)).await;
            memory.sweep(lock.engine.now());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_a_clock_that_is_far_ahead_blocks_nobody_and_its_holder_is_fenced() {
        let (memory, lock) = lock([]);
        let ahead = Engine::builder(FaultyStore::new(memory, [])).clock(Ahead(TokioClock::start())).build();
        let ahead = RecordLock::new(ahead, "reconciler", LEASE);
        let first = acquired(&ahead).await.unwrap();
        let held = acquired(&lock).await.expect("no lease of this lock ends in three hours");
        assert!(held.fence() > first.fence());
        assert!(first.renew().await.unwrap().is_none());
        assert!(acquired(&lock).await.is_none(), "a lease as this lock gives it is respected");
    }

    struct Ahead(TokioClock);

    impl crate::engine::Clock for Ahead {
        fn now(&self) -> EpochMs {
            self.0.now().plus(Duration::from_secs(3 * 60 * 60))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_whose_reply_was_lost_is_free_for_the_next() {
        let (_, lock) = lock([Fault::LoseReply]);
        assert!(lock.acquire(None).await.is_err());
        let held = acquired(&lock).await.expect("it was given up");

        let (_, lock) = self::lock([Fault::None, Fault::LoseReply]);
        assert!(acquired(&lock).await.unwrap().renew().await.is_err());
        assert!(acquired(&lock).await.is_some(), "it was given up");

        let (_, lock) = self::lock([Fault::None, Fault::LoseRequest]);
        acquired(&lock).await.unwrap().release().await.unwrap();
        assert!(acquired(&lock).await.is_some());
        drop(held);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_reply_is_recognised() {
        let (_, lock) = lock([Fault::Repeat; 3]);
        let held = acquired(&lock).await.unwrap();
        let held = held.renew().await.unwrap().unwrap();
        held.release().await.unwrap();
        assert_eq!(acquired(&lock).await.unwrap().fence().get(), 2);
    }
}
