//! From UNKNOWN to SUCCESS or FAILED, by evidence.
//!
//! Whether an outside effect happened is asked of the other side, by the transaction id. A mere "not found" is no
//! evidence: the owner of a dead attempt may only be frozen, and send its request after it thaws; a search may lag.
//! Nor is elapsed time: no clock says when a frozen owner thaws. What does not and cannot happen any more is known
//! only where the other side was made to refuse it (a tombstone: the key taken by something else, cancelled by key).
//!
//! Whoever reconciles holds the record like any attempt, under a new owner token and attempt number, so that a late
//! owner, a second reconciler and an operator cannot settle it twice.

mod operations;

use crate::engine::{Answer, Driver, Engine, Error};
use crate::protocol::machine::{Action, End, Machine};
use crate::protocol::{ClaimRequest, EpochMs, InvocationId, Record, Resolution, Uncertain};
use crate::store::Store;

pub use crate::engine::{Evidence, Resolver};
pub use operations::Operations;

/// What became of a record that was to be reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reconciled {
    /// It is SUCCESS.
    Happened,
    /// It is FAILED.
    Refused,
    /// It is released: the next call with its key runs.
    Prevented,
    /// It stays UNKNOWN.
    Unclear,
    /// There was nothing to do: somebody holds it, or has settled it meanwhile.
    NotOpen,
    /// It is of no declared operation. It was not written.
    Foreign,
}

impl<S: Store> Engine<S> {
    /// Reconciles a record that was found UNKNOWN, or PROCESSING under a lease that is over, without a call.
    ///
    /// A record that is of none of `operations` is left exactly as it is. Another is taken over only if it is still as
    /// `record` shows it; `request` is the id of the invocation, for the record's history.
    ///
    /// # Errors
    /// [`Error`] where the store could not be reached; the record is then as it was, or held until `deadline`.
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
            lease: self.lease(deadline),
            uncertain: Uncertain::Reconcile,
        };
        let machine = Machine::reconciliation(request, record, operation.kept_for(), self.now());
        let mut driver = Driver::new(self, machine, operation.clone(), deadline);
        driver.advance().await?;
        if let Action::Resolve(record) = driver.machine().poll() {
            // The answer is for callers, who find it in the record.
            let _: Option<T> = driver.resolve(record.clone(), resolver).await;
            driver.advance().await?;
        }
        match driver.end() {
            End::Executed(_, Resolution::Success) => Ok(Reconciled::Happened),
            End::Executed(_, Resolution::Failed) => Ok(Reconciled::Refused),
            End::Reopened => Ok(Reconciled::Prevented),
            // Somebody else settled it meanwhile: the recorded outcome is the answer, whatever was found.
            End::NotOpen | End::Replayed(..) | End::Recalled(..) => Ok(Reconciled::NotOpen),
            // A commit that did not take effect leaves the outcome as unknown as it was.
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
