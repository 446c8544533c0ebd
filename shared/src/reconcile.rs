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
mod resolver;

use crate::engine::{Answer, Attempt, Call, Engine, Error, Outcome, Reason, Verdict};
use crate::engine::{Claim, OnUncertain, Restarted, Taken, until_deadline};
use crate::protocol::{ClaimRequest, EpochMs, InvocationId, Record, Resolution, Uncertain};
use crate::store::Store;
use crate::telemetry::metrics::Metric;
use crate::telemetry::span::Span;

pub use operations::Operations;
pub use resolver::Resolver;

/// What the other side says about a transaction id.
#[derive(Clone, Debug)]
pub enum Evidence<T> {
    /// It happened. Settles SUCCESS with this answer.
    Happened(T),
    /// It was refused for good. Settles FAILED with this answer.
    Refused(T),
    /// It did not happen *and cannot happen any more*. A retry may run, under a new transaction id: at once, if it is
    /// what reconciles; else the record is released, and effects that were added to the attempt are written with that.
    Prevented,
    /// None of these is certain. The record stays UNKNOWN.
    Unclear(Reason),
}

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
    /// Like [`run`](Engine::run); but where the outcome of an earlier attempt is uncertain, asks `resolver` for
    /// evidence, which settles the record, or lets this call run, or leaves the outcome unknown.
    ///
    /// # Errors
    /// As [`run`](Engine::run).
    pub async fn run_or_reconcile<T, F, R>(
        &self,
        call: &Call,
        run: F,
        resolver: &impl Resolver<S::Effect, T>,
    ) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let taken = self.take(self.request(call)?, call, OnUncertain::Hold).await?;
        let claim = match taken {
            Taken::Run(claim) => claim,
            Taken::Answered(outcome) => return outcome.read(),
            Taken::Reconcile(claim) => match self.settle_by_evidence(*claim, resolver).await? {
                Found::Settled(_, outcome) => return Ok(outcome),
                Found::Prevented(claim, _) => match claim.restart().await? {
                    Restarted::Run(claim) => {
                        self.count(Metric::UnknownPrevented, &claim.record().operation);
                        claim
                    }
                    Restarted::Answered(outcome) => return outcome.read(),
                },
            },
        };
        self.run_claimed(*claim, run).await
    }

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
            request,
            trace: None,
            fingerprint: record.fingerprint,
            owner,
            transaction,
            lease: self.lease(deadline),
            uncertain: Uncertain::Reconcile,
        };
        // What was seen may be stale, and decides nothing: the condition does.
        let Some(takeover) = self.takeover(record, &request) else { return Ok(Reconciled::NotOpen) };
        let Some(claim) = self.hold(takeover, request, operation, deadline).await? else {
            return Ok(Reconciled::NotOpen);
        };
        match self.settle_by_evidence(claim, resolver).await? {
            Found::Settled(reconciled, _) => Ok(reconciled),
            Found::Prevented(claim, attempt) => {
                let reconciled = claim.reopen(attempt.take_effects()).await?;
                self.count(reconciled.metric(), &record.operation);
                Ok(reconciled)
            }
        }
    }

    async fn settle_by_evidence<T: Answer>(
        &self,
        claim: Claim<S>,
        resolver: &impl Resolver<S::Effect, T>,
    ) -> Result<Found<S, T>, Error> {
        let attempt = claim.attempt_of_first();
        let record = claim.record().clone();
        let looking = until_deadline(&attempt, |attempt| resolver.resolve(&record, attempt));
        let (reconciled, outcome) = match Span::step("reconcile").linked(record.trace).of(looking).await {
            Ok(Evidence::Happened(answer)) => {
                (Reconciled::Happened, claim.commit(Resolution::Success, answer, attempt.take_effects()).await?)
            }
            Ok(Evidence::Refused(answer)) => {
                (Reconciled::Refused, claim.commit(Resolution::Failed, answer, attempt.take_effects()).await?)
            }
            Ok(Evidence::Prevented) => return Ok(Found::Prevented(Box::new(claim), attempt)),
            Ok(Evidence::Unclear(reason)) | Err(reason) => (Reconciled::Unclear, claim.abandon(reason).await?.read()?),
        };
        let reconciled = match &outcome {
            Outcome::Executed(_) => reconciled,
            // Somebody else settled it meanwhile: the recorded outcome is the answer, whatever we found.
            Outcome::Replayed(_) => Reconciled::NotOpen,
            // A commit that did not take effect leaves the outcome as unknown as it was.
            Outcome::Unknown { .. }
            | Outcome::InProgress { .. }
            | Outcome::NotExecuted(_)
            | Outcome::Mismatch
            | Outcome::Conflict => Reconciled::Unclear,
        };
        self.count(reconciled.metric(), &record.operation);
        Ok(Found::Settled(reconciled, outcome))
    }
}

enum Found<S: Store, T> {
    Settled(Reconciled, Outcome<T>),
    Prevented(Box<Claim<S>>, Attempt<S::Effect>),
}

impl Reconciled {
    const fn metric(self) -> Metric {
        match self {
            Self::Happened => Metric::UnknownHappened,
            Self::Refused => Metric::UnknownRefused,
            Self::Prevented => Metric::UnknownPrevented,
            Self::Unclear | Self::NotOpen | Self::Foreign => Metric::UnknownLeft,
        }
    }
}

#[cfg(all(test, feature = "system"))]
pub(crate) mod tests;
