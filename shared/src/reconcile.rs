//! From UNKNOWN to SUCCESS or FAILED, by evidence.
//!
//! Whether an outside effect happened is asked of the other side, by the transaction id. A mere "not found" is no
//! evidence: the owner of a dead attempt may only be frozen, and send its request after it thaws; a search may lag.
//! Nor is elapsed time: no clock says when a frozen owner thaws. What does not and cannot happen any more is known
//! only where the other side was made to refuse it (a tombstone: the key taken by something else, cancelled by key).
//!
//! Whoever reconciles holds the record like any attempt, under a new owner token and attempt number, so that a late
//! owner, a second reconciler and an operator cannot settle it twice.

use crate::engine::{Answer, Attempt, Call, Engine, Error, Operation, Outcome, Reason, Verdict};
use crate::engine::{Claim, OnUncertain, Restarted, Taken, until_deadline};
use crate::protocol::{EpochMs, Finding, Record, Request, Uncertain};
use crate::store::Store;

/// What the other side says about a transaction id.
#[derive(Clone, Debug)]
pub enum Evidence<T> {
    /// It happened. Settles SUCCESS with this answer.
    Happened(T),
    /// It was refused for good. Settles FAILED with this answer.
    Refused(T),
    /// It did not happen *and cannot happen any more*. A retry may run, under a new transaction id.
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
}

impl<S: Store> Engine<S> {
    /// Like [`run`](Engine::run); but where the outcome of an earlier attempt is uncertain, asks `resolve` for
    /// evidence, which settles the record, or lets this call run, or leaves the outcome unknown.
    ///
    /// `resolve` gets the attempt whose [transaction id](Attempt::transaction) is in question, and adds to it the
    /// effects that belong to the answer it finds.
    ///
    /// # Errors
    /// As [`run`](Engine::run).
    pub async fn run_or_reconcile<T, F, R, G, E>(&self, call: &Call, run: F, resolve: G) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
        G: FnOnce(Attempt<S::Effect>) -> E,
        E: Future<Output = Evidence<T>>,
    {
        let taken = self.take(self.request(call)?, call.operation(), call.deadline(), OnUncertain::Hold).await?;
        let claim = match taken {
            Taken::Run(claim) => claim,
            Taken::Answered(outcome) => return outcome.read(),
            Taken::Reconcile(claim) => match settle_by_evidence(*claim, resolve).await? {
                Found::Settled(_, outcome) => return Ok(outcome),
                Found::Prevented(claim) => match claim.restart().await? {
                    Restarted::Run(claim) => claim,
                    Restarted::Answered(outcome) => return outcome.read(),
                },
            },
        };
        self.run_claimed(*claim, run).await
    }

    /// Reconciles a record that was found UNKNOWN, or PROCESSING under a lease that is over, without a call.
    ///
    /// # Errors
    /// [`Error`] where the store could not be reached; the record is then as it was, or held until `deadline`.
    pub async fn reconcile<T, G, E>(
        &self,
        record: &Record,
        operation: &Operation,
        deadline: EpochMs,
        resolve: G,
    ) -> Result<Reconciled, Error>
    where
        T: Answer,
        G: FnOnce(Attempt<S::Effect>) -> E,
        E: Future<Output = Evidence<T>>,
    {
        let request = Request {
            id: record.id.clone(),
            operation: record.operation.clone(),
            fingerprint: record.fingerprint,
            owner: self.owner()?,
            transaction: self.transaction()?,
            lease: self.lease(deadline),
            uncertain: Uncertain::Reconcile,
        };
        // What was seen may be stale, and decides nothing: the condition does.
        let Some(takeover) = self.takeover(record, &request) else { return Ok(Reconciled::NotOpen) };
        let Some(claim) = self.hold(takeover, request, operation, deadline).await? else {
            return Ok(Reconciled::NotOpen);
        };
        match settle_by_evidence::<S, T, G, E>(claim, resolve).await? {
            Found::Settled(reconciled, _) => Ok(reconciled),
            Found::Prevented(claim) => claim.reopen().await.map(|()| Reconciled::Prevented),
        }
    }
}

enum Found<S: Store, T> {
    Settled(Reconciled, Outcome<T>),
    Prevented(Box<Claim<S>>),
}

async fn settle_by_evidence<S, T, G, E>(claim: Claim<S>, resolve: G) -> Result<Found<S, T>, Error>
where
    S: Store,
    T: Answer,
    G: FnOnce(Attempt<S::Effect>) -> E,
    E: Future<Output = Evidence<T>>,
{
    let attempt = claim.attempt();
    let (reconciled, outcome) = match until_deadline(&attempt, resolve).await {
        Ok(Evidence::Happened(answer)) => {
            (Reconciled::Happened, claim.commit(Finding::Success, answer, attempt.take_effects()).await?)
        }
        Ok(Evidence::Refused(answer)) => {
            (Reconciled::Refused, claim.commit(Finding::Failed, answer, attempt.take_effects()).await?)
        }
        Ok(Evidence::Prevented) => return Ok(Found::Prevented(Box::new(claim))),
        Ok(Evidence::Unclear(reason)) | Err(reason) => (Reconciled::Unclear, claim.abandon(reason).await?.read()?),
    };
    // A commit that did not take effect leaves the outcome as unknown as it was.
    match outcome {
        settled @ (Outcome::Executed(_) | Outcome::Replayed(_)) => Ok(Found::Settled(reconciled, settled)),
        other => Ok(Found::Settled(Reconciled::Unclear, other)),
    }
}

#[cfg(test)]
mod tests;
