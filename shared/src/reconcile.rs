//! Reconciliation: from UNKNOWN to SUCCESS or FAILED, by evidence.
//!
//! A resolver looks up in the external system, by the transaction id, whether the external effect happened. A mere "not
//! found" is no evidence: the owner of an apparently dead attempt may only be frozen and send its request after it
//! thaws, and a search may lag. Elapsed time is no evidence either: no clock shows when a frozen owner thaws. An effect
//! certainly did not and cannot happen only if the external system was made to refuse it, by a *tombstone*: the
//! effect's idempotency key was used for something else, or cancelled.
//!
//! A reconciler holds the record like any attempt, under a new owner token and attempt number, so that a late owner, a
//! second reconciler and an operator cannot settle it twice.

mod any;
mod operations;
mod transactional;

use crate::engine::{Answer, Driver, Engine, Error};
use crate::protocol::machine::{Action, End, Machine, Terms, Wait};
use crate::protocol::{ClaimRequest, EpochMs, InvocationId, Record, Resolution, Uncertain};
use crate::store::Store;

pub use crate::engine::{Evidence, Resolver};
pub(crate) use any::AnyResolver;
pub use operations::Operations;
pub use transactional::OnlyTransactionalEffects;

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconciled {
    /// It happened: the record is now SUCCESS.
    Happened,
    /// It was refused for good: the record is now FAILED.
    Refused,
    /// It did not and can no longer happen: the record is released, and the next call with its key runs.
    Prevented,
    /// There is no certain evidence: the record stays UNKNOWN.
    Unclear,
    /// There was nothing to do: another process holds the record or has settled it.
    NotOpen,
    /// The record belongs to none of the declared operations and was not written.
    Foreign,
}

impl<S: Store> Engine<S> {
    /// Reconciles a record that was found UNKNOWN, or PROCESSING after its lease ended, without a client's call.
    ///
    /// A record that belongs to none of `operations` is left exactly as it is. Any other record is taken over only if
    /// its version is still that of `record`. `request` is the invocation's id, for the record's history.
    ///
    /// # Errors
    /// [`Error`] if the store could not be reached. The record is then unchanged, or held until the lease margin after
    /// `deadline`.
    pub async fn reconcile<T: Answer>(
        &self,
        record: &Record,
        operations: &Operations,
        deadline: EpochMs,
        request: Option<InvocationId>,
        resolver: &impl Resolver<S::Effect, T>,
    ) -> Result<Reconciled, Error> {
        let Some(operation) = operations.of(record) else { return Ok(Reconciled::Foreign) };
        let (owner, transaction) = self.identity()?;
        let request = ClaimRequest {
            id: record.id.clone(),
            operation: record.operation.clone(),
            principal: record.principal,
            subject: record.subject.clone(),
            invocation: request,
            trace: None,
            fingerprint: record.fingerprint,
            owner,
            transaction,
            lease: self.lease(operation, deadline),
            uncertain: Uncertain::Reconcile,
        };
        // An open record does not expire.
        let never = EpochMs(u64::MAX);
        let terms = Terms { retention: operation.kept_for(), start_by: never, write_by: never, wait: Wait::No };
        let machine = Machine::reconciliation(request, terms, record, self.now());
        let mut driver = Driver::new(self, machine, operation.clone(), deadline);
        driver.advance().await?;
        if let Action::Resolve(record) = driver.machine().poll() {
            // Callers read the answer from the record.
            let _: Option<T> = driver.resolve(record.clone(), resolver).await;
            driver.advance().await?;
        }
        match driver.end() {
            End::Executed(_, Resolution::Success) => Ok(Reconciled::Happened),
            End::Executed(_, Resolution::Failed) => Ok(Reconciled::Refused),
            End::Reopened => Ok(Reconciled::Prevented),
            // Another process has settled it: the recorded outcome counts, whatever evidence was found.
            End::NotOpen | End::Replayed(..) | End::Recalled(..) => Ok(Reconciled::NotOpen),
            // A commit that did not take effect leaves the outcome unknown.
            End::Unknown(_)
            | End::InProgress(_)
            | End::Contended
            | End::NotExecuted
            | End::Mismatch
            | End::Conflict => Ok(Reconciled::Unclear),
            End::Failed(failure) => Err(driver.failed(failure)),
        }
    }
}

#[cfg(test)]
#[cfg(feature = "system")]
pub(crate) mod tests;
