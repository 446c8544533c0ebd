//! Lease locks: for work that only one process should do at a time.
//!
//! **Use them sparingly.** A lock is for efficiency: without one, two concurrent reconcilers would only send every
//! query twice. No lock prevents an operation from happening twice: a holder can be frozen past its lease and then
//! continue, so that two processes believe they hold the lock. Records have their own claims, and balances their own
//! conditions; neither needs a lock, and a lock around them would only let one slow request delay all others.
//! `docs/locks.md` in the repository compares the locks and shows where the example application uses one.
//!
//! Write the data that a lock protects under a condition on the lock's [fence](Fenced::fence), which refuses a number
//! lower than the highest one seen (Kleppmann, "How to do distributed locking", 2016). [`guard`] and [`guarded_put`]
//! are such writes. They accept only locks that have a fence, which the compiler checks.
//!
//! Every lock implements [`LeaseLock`] and passes the suite in the module `conformance` (feature `test-util`).

#[cfg(any(all(test, feature = "system"), feature = "test-util"))]
pub mod conformance;
mod fence;
#[cfg(feature = "dynamodb")]
mod guard;
pub mod record;
#[cfg(feature = "valkey")]
pub mod redlock;
#[cfg(feature = "zookeeper")]
pub mod zookeeper;

pub use fence::{Fence, Fenced};
#[cfg(feature = "dynamodb")]
pub use guard::{guard, guarded_put};
pub use record::RecordLock;
#[cfg(feature = "valkey")]
pub use redlock::Redlock;

use crate::protocol::InvocationId;

/// A named lock that its holder loses if it neither renews nor releases it in time.
pub trait LeaseLock: Send + Sync {
    /// The lock in its held state.
    type Held: HeldLock;
    /// The reason that the lock could not be requested.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Acquires the lock, or returns `None` if another process holds it. It does not wait for the holder.
    ///
    /// `request` is the invocation's id, which a lock stores for operators if it can.
    ///
    /// # Errors
    /// The lock is not held. If no reply arrived, it may stay blocked until its lease ends.
    fn acquire(
        &self,
        request: Option<InvocationId>,
    ) -> impl Future<Output = Result<Option<Self::Held>, Self::Error>> + Send;
}

/// A lock that this process acquired. Others may have acquired it since, if its lease is over.
///
/// Dropping it need not release the lock, since a sandbox can freeze before any clean-up. The lock is then free when
/// the lease ends.
pub trait HeldLock: Sized + Send {
    /// The reason that the lock could not be renewed or released.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Extends the lock by another lease from now. Returns `None` if it is lost.
    ///
    /// # Errors
    /// It is unknown whether the lock is still held, so it was released as far as possible.
    fn renew(self) -> impl Future<Output = Result<Option<Self>, Self::Error>> + Send;

    /// Releases the lock. If another process has taken it over, nothing changes.
    ///
    /// # Errors
    /// The lock is free no later than the end of its lease.
    fn release(self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}
