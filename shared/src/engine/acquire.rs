//! How a claim is acquired: look, decide, write, and look again where somebody was faster.

use std::time::Duration;

use super::outcome::Stored;
use super::wait::Waited;
use super::{Answered, Call, Claim, Engine, Error, Operation, Outcome, ROUNDS, UNKNOWN_RETRY_AFTER, UnreadableAnswer};
use crate::protocol::{ClaimRequest, Condition, Decision, EpochMs, Record, Resolution, Response, State, Status, Write};
use crate::protocol::{decide, give_up, mark_unknown};
use crate::store::{ItemOf, Store, StoreError, Written};
use crate::telemetry::metrics::Metric;
use crate::telemetry::span::Span;

/// What to do about a record whose outcome is uncertain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnUncertain {
    /// Mark it as UNKNOWN, for others to reconcile.
    Leave,
    /// Hold it as UNKNOWN, to reconcile it now.
    Hold,
}

/// What was acquired.
pub(crate) enum Taken<S: Store> {
    /// A claim to run under.
    Run(Box<Claim<S>>),
    /// A claim on a record whose outcome is not known: look for evidence.
    Reconcile(Box<Claim<S>>),
    /// Nothing; this is the answer.
    Answered(Outcome<Stored>),
}

/// The step after a look at the record.
pub(super) enum Next {
    Begin(Write),
    Uncertain(Write),
    Acquired(Record),
    Replay(Record),
    Held(EpochMs),
    Answered(Outcome<Stored>),
}

/// What came of marking a record as UNKNOWN.
pub(super) enum Marked {
    Unknown(Outcome<Stored>),
    /// Somebody was faster: look again.
    Changed(Option<Record>),
}

impl<S: Store> Engine<S> {
    pub(crate) async fn take(
        &self,
        request: ClaimRequest,
        call: &Call,
        uncertain: OnUncertain,
    ) -> Result<Taken<S>, Error> {
        if let Some(outcome) = self.remembered(&request) {
            return Ok(Taken::Answered(outcome));
        }
        let (operation, deadline) = (call.operation(), call.deadline());
        let claim = |record, follows_uncertain, request| {
            Box::new(Claim::new(self.clone(), record, follows_uncertain, request, operation.clone(), deadline))
        };
        let waits_until = self.waits_until(call.waits(), deadline);
        let mut found = None;
        for _ in 0..ROUNDS {
            let write = match (self.next(found.as_ref(), &request), uncertain) {
                (Next::Begin(write), _) | (Next::Uncertain(write), OnUncertain::Hold) => write,
                (Next::Uncertain(takeover), OnUncertain::Leave) => match self.mark_unknown(takeover).await? {
                    Marked::Unknown(outcome) => return Ok(Taken::Answered(outcome)),
                    Marked::Changed(record) => {
                        found = record;
                        continue;
                    }
                },
                (Next::Acquired(record), _) => {
                    let follows_uncertain = record.attempt > 1;
                    return Ok(taken(claim(record, follows_uncertain, request)));
                }
                (Next::Replay(record), _) => return Ok(Taken::Answered(self.replay(record).await?)),
                (Next::Held(lease), _) => match self.wait(&request, waits_until).await? {
                    Waited::Over(record) => {
                        found = record.map(|record| *record);
                        continue;
                    }
                    Waited::InVain => return Ok(Taken::Answered(self.in_progress(&request.operation, lease))),
                },
                (Next::Answered(outcome), _) => return Ok(Taken::Answered(outcome)),
            };
            if !self.has_time(deadline) {
                return Err(Error::DeadlineAtHand);
            }
            match self.write_claim(&write, operation, deadline).await? {
                Written::Applied | Written::Recognised => {
                    let follows_uncertain = write.follows_uncertain();
                    if follows_uncertain {
                        self.count(Metric::Takeover, &write.record.operation);
                    }
                    return Ok(taken(claim(write.record, follows_uncertain, request)));
                }
                Written::Refused(record) => found = record.map(|record| *record),
                Written::EffectRefused(refused) => return Err(Error::EffectRefused { index: refused.index }),
            }
        }
        // Others were faster every time, so somebody makes progress.
        Ok(Taken::Answered(Outcome::InProgress { retry_after: Duration::from_secs(1) }))
    }

    /// Writes what claims the record. Where its reply is lost, the claim is given up as far as that can be done in time, for
    /// the caller hears that nothing ran, and asks again.
    pub(super) async fn write_claim(
        &self,
        claim: &Write,
        operation: &Operation,
        deadline: EpochMs,
    ) -> Result<Written<ItemOf<S>>, Error> {
        let written = self.write_until(claim, Vec::new(), Metric::ClaimMs, deadline).await;
        if let Err(StoreError::Uncertain(_)) = &written {
            let now = self.now();
            if let Some(end) = give_up(claim.clone(), operation.expiration(now), now) {
                self.write_in_time(&end, deadline).await;
            }
        }
        written.map_err(Error::StoreUnavailable)
    }

    /// Ends a claim under which nothing was executed. Where the reply is lost it is made again: otherwise the key is blocked
    /// until the lease is over.
    pub(crate) async fn write_release(&self, release: &Write) -> Result<Written<ItemOf<S>>, StoreError> {
        match self.write(release, Vec::new(), Metric::CommitMs).await {
            Err(StoreError::Uncertain(_)) => self.write(release, Vec::new(), Metric::CommitMs).await,
            written => written,
        }
    }

    /// Makes a write that is worth trying and that nobody waits for: no longer than there is time to answer, nor than half
    /// the margin if that is over.
    pub(crate) async fn write_in_time(&self, write: &Write, deadline: EpochMs) {
        let retry_budget = self.retry_budget(deadline);
        let written = self.parts.store.write_within(write, Vec::new(), retry_budget);
        let written = super::clock::timeout(&*self.parts.clock, retry_budget, written).await;
        if !matches!(written, Ok(Ok(_))) {
            tracing::warn!(
                record = write.record.id.digest(),
                transaction = %write.record.transaction,
                "a claim could not be given up, and blocks its key until its lease is over",
            );
        }
    }

    /// The write that takes over this record, if it is open to that.
    pub(crate) fn takeover(&self, record: &Record, request: &ClaimRequest) -> Option<Write> {
        match decide(Some(record), request, self.now()) {
            Decision::Reconcile(takeover) => Some(takeover),
            Decision::Begin(_)
            | Decision::Acquired(_)
            | Decision::Mismatch
            | Decision::Replay(..)
            | Decision::InProgress(_) => None,
        }
    }

    /// Takes over a record to reconcile it; nothing if somebody was faster.
    pub(crate) async fn hold(
        &self,
        takeover: Write,
        request: ClaimRequest,
        operation: &Operation,
        deadline: EpochMs,
    ) -> Result<Option<Claim<S>>, Error> {
        match self.write_claim(&takeover, operation, deadline).await? {
            Written::Applied | Written::Recognised => {
                Ok(Some(Claim::new(self.clone(), takeover.record, true, request, operation.clone(), deadline)))
            }
            Written::Refused(_) | Written::EffectRefused(_) => Ok(None),
        }
    }

    /// What to do about what was found.
    pub(super) fn next(&self, found: Option<&Record>, request: &ClaimRequest) -> Next {
        let now = self.now();
        let operation = &request.operation;
        match decide(found, request, now) {
            Decision::Begin(write) => Next::Begin(write),
            Decision::Reconcile(takeover) => Next::Uncertain(takeover),
            Decision::Acquired(record) => Next::Acquired(record.clone()),
            Decision::Mismatch => {
                self.count(Metric::Mismatch, operation);
                Next::Answered(Outcome::Mismatch)
            }
            Decision::Replay(record, ..) => {
                self.count(Metric::Replayed, operation);
                Next::Replay(record.clone())
            }
            Decision::InProgress(lease) => Next::Held(lease),
        }
    }

    /// Turns a duplicate of a running call away.
    pub(super) fn in_progress(&self, operation: &str, lease: EpochMs) -> Outcome<Stored> {
        self.count(Metric::InProgress, operation);
        Outcome::InProgress { retry_after: lease.since(self.now()) }
    }

    /// Answers from what this process remembers, without a look at the store: a replay or a mismatch, as from the
    /// record itself, which cannot have changed.
    pub(super) fn remembered(&self, request: &ClaimRequest) -> Option<Outcome<Stored>> {
        let record = self.parts.cache.get(&request.id)?;
        match self.next(Some(&record), request) {
            Next::Replay(record) => {
                self.count(Metric::ReplayedLocal, &request.operation);
                Span::step("replay").linked(record.trace).end();
                let (resolution, settled) = record.settled()?;
                replayed(resolution, &settled.response, &record)
            }
            Next::Answered(outcome) => Some(outcome),
            // It has expired.
            Next::Begin(_) | Next::Uncertain(_) | Next::Acquired(_) | Next::Held(_) => {
                self.parts.cache.forget(&request.id);
                None
            }
        }
    }

    /// The answer of a settled record, of which a long one is fetched first.
    pub(super) async fn replay(&self, record: Record) -> Result<Outcome<Stored>, Error> {
        let transaction = record.transaction;
        let record = Span::step("replay").linked(record.trace).of(self.whole(record)).await?;
        let outcome = record.as_ref().and_then(|record| {
            let (resolution, settled) = record.settled()?;
            self.parts.cache.remember(record);
            replayed(resolution, &settled.response, record)
        });
        outcome.ok_or(Error::UnreadableAnswer { transaction, source: UnreadableAnswer::Incomplete })
    }

    /// The record with all of its response; nothing if a part of it is missing or belongs to another transaction.
    async fn whole(&self, mut record: Record) -> Result<Option<Record>, Error> {
        let parts = match &record.state {
            State::Success(settled) | State::Failed(settled) => match settled.response {
                Response::Whole(_) => return Ok(Some(record)),
                Response::Parts(parts) => parts,
            },
            State::Processing(_) | State::Released { .. } | State::Unknown(_) => return Ok(Some(record)),
        };
        let whole = self.parts.store.read_parts(&record, parts).await.map_err(Error::StoreUnavailable)?;
        Ok(whole.map(|whole| {
            if let State::Success(settled) | State::Failed(settled) = &mut record.state {
                settled.response = whole.into();
            }
            record
        }))
    }

    /// Makes a record whose outcome is uncertain visible as UNKNOWN. Nothing runs without evidence.
    pub(super) async fn mark_unknown(&self, takeover: Write) -> Result<Marked, Error> {
        let transaction = takeover.record.transaction;
        let unknown = Outcome::Unknown { transaction, retry_after: UNKNOWN_RETRY_AFTER };
        if is_marked(&takeover.condition) {
            return Ok(Marked::Unknown(unknown));
        }
        let write = mark_unknown(takeover);
        match self.write(&write, Vec::new(), Metric::ClaimMs).await.map_err(Error::StoreUnavailable)? {
            Written::Applied | Written::Recognised => {
                self.count(Metric::UnknownEntered, &write.record.operation);
                Ok(Marked::Unknown(unknown))
            }
            Written::Refused(record) => Ok(Marked::Changed(record.map(|record| *record))),
            Written::EffectRefused(refused) => Err(Error::EffectRefused { index: refused.index }),
        }
    }
}

fn replayed(resolution: Resolution, response: &Response, record: &Record) -> Option<Outcome<Stored>> {
    match response {
        Response::Whole(bytes) => Some(Outcome::Replayed(Answered::new(resolution, Stored(bytes.clone()), record))),
        Response::Parts(_) => None,
    }
}

fn taken<S: Store>(claim: Box<Claim<S>>) -> Taken<S> {
    match claim.record().state.status() {
        Status::Unknown => Taken::Reconcile(claim),
        Status::Processing | Status::Success | Status::Failed => Taken::Run(claim),
    }
}

/// Whether the record that the takeover saw is UNKNOWN already, and nobody's.
fn is_marked(condition: &Condition) -> bool {
    match condition {
        Condition::Unchanged(seen) => seen.status == Status::Unknown && seen.owner.is_none(),
        Condition::Vacant { .. } | Condition::Owned { .. } => false,
    }
}
