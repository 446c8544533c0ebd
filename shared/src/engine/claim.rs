//! The exclusive right to run one attempt, and its three ends.

use super::Reason;
use super::outcome::Stored;
use super::{Answer, Answered, Attempt, Engine, Error, Fenced, Operation, Outcome, UNKNOWN_RETRY_AFTER};
use crate::protocol::{
    ClaimRequest, Decision, EpochMs, Holder, Record, Resolution, Write, abandon, decide, release, reopen, restart,
    settle,
};
use crate::reconcile::Reconciled;
use crate::store::{ItemOf, Store, StoreError, Written};
use crate::telemetry::metrics::Metric;

/// What came of a claim.
pub enum Claimed<S: Store> {
    /// The claim is ours: run, then end it.
    Acquired(Box<Claim<S>>),
    /// There is nothing to run.
    Answered(Outcome<Stored>),
}

/// What came of going on after evidence.
pub(crate) enum Restarted<S: Store> {
    /// The claim is still ours: run.
    Run(Box<Claim<S>>),
    /// It was taken over; this is the answer.
    Answered(Outcome<Stored>),
}

/// The exclusive right to run one attempt.
///
/// It ends by [`commit`](Self::commit), [`release`](Self::release) or [`abandon`](Self::abandon), each of which
/// consumes it. Dropping it does nothing: a sandbox can freeze before any clean-up, so what counts is the lease.
#[must_use = "a claim that is not ended blocks its key until the lease is over, and leaves the outcome uncertain"]
pub struct Claim<S: Store> {
    engine: Engine<S>,
    record: Record,
    follows_uncertain: bool,
    request: ClaimRequest,
    operation: Operation,
    deadline: EpochMs,
}

impl<S: Store> Claim<S> {
    pub(super) const fn new(
        engine: Engine<S>,
        record: Record,
        follows_uncertain: bool,
        request: ClaimRequest,
        operation: Operation,
        deadline: EpochMs,
    ) -> Self {
        Self { engine, record, follows_uncertain, request, operation, deadline }
    }

    /// The record as it was claimed.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    /// A handle of the attempt, for what runs under the claim.
    #[must_use]
    pub fn attempt(&self) -> Attempt<S::Effect> {
        self.engine.attempt(&self.record, self.request.trace, self.deadline)
    }

    /// As [`Claim::attempt`], for whoever looks for evidence: what it finds was made by the first call.
    pub(crate) fn attempt_of_first(&self) -> Attempt<S::Effect> {
        self.engine.attempt(&self.record, self.record.trace, self.deadline)
    }

    /// Whether an earlier attempt may have had its effects. Such a claim is not to be [released](Self::release).
    #[must_use]
    pub const fn follows_uncertain(&self) -> bool {
        self.follows_uncertain
    }

    /// Settles the record with its answer and writes the effects, in one transaction.
    ///
    /// If the claim was taken over meanwhile, nothing is written and the recorded outcome is the answer, never
    /// our own.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn commit<T: Answer>(
        self,
        resolution: Resolution,
        answer: T,
        effects: Vec<S::Effect>,
    ) -> Result<Outcome<T>, Error> {
        let now = self.engine.now();
        let settled = self.operation.settled(&answer, now, S::max_response_bytes(&effects));
        let write = settle(self.record.clone(), self.request.owner, resolution, settled, now);
        match self.engine.write_until(&write, effects, Metric::CommitMs, self.deadline).await {
            Ok(Written::Applied | Written::Recognised) => Ok(self.executed(&write.record, resolution, answer)),
            Ok(Written::Refused(found)) => self.fenced(found, Some(resolution)).await?.read(),
            Ok(Written::EffectRefused(refused)) => {
                self.note_abandoned(&format!("the condition of effect {} did not hold", refused.index));
                self.find_out(&write, resolution, answer).await
            }
            Err(error) => self.commit_lost(error, &write, resolution, answer).await,
        }
    }

    /// Releases the claim: nothing was executed, and anybody may begin again under the same transaction id, even with
    /// another request.
    ///
    /// If an earlier attempt may have had its effects ([`follows_uncertain`](Self::follows_uncertain)), the claim is
    /// abandoned instead: one attempt cannot speak for another.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn release(self) -> Result<(), Error> {
        if self.follows_uncertain {
            return self.abandon("an earlier attempt may have had its effects".into()).await.map(|_| ());
        }
        let now = self.engine.now();
        let write = release(self.record.clone(), self.request.owner, self.operation.expiration(now), now);
        match self.engine.write_release(&write).await {
            Ok(Written::Applied | Written::Recognised | Written::EffectRefused(_)) => Ok(()),
            // Taken over meanwhile: whoever did that decides now. We executed nothing, so there is nothing to audit.
            Ok(Written::Refused(_)) => {
                self.note_fenced();
                Ok(())
            }
            Err(source) => Err(self.not_recorded(source)),
        }
    }

    /// Abandons the claim: whether anything was executed is not known. The record becomes UNKNOWN.
    ///
    /// # Errors
    /// [`Error::NotRecorded`] if the store cannot be reached.
    pub async fn abandon(self, reason: Reason) -> Result<Outcome<Stored>, Error> {
        self.note_abandoned(&reason);
        match self.write_unknown().await {
            Ok(Written::Applied | Written::Recognised) => Ok(self.unknown()),
            Ok(Written::Refused(found)) => self.fenced(found, None).await,
            Ok(Written::EffectRefused(_)) => Ok(self.unknown()),
            Err(source) => Err(self.not_recorded(source)),
        }
    }

    /// Goes on to run, after evidence that the effect was prevented: as a further attempt under a new transaction id.
    ///
    /// It carries no effects: its condition holds again after it, so a repeat of the request would apply them twice.
    pub(crate) async fn restart(self) -> Result<Restarted<S>, Error> {
        let transaction = self.engine.transaction()?;
        let holder = Holder { owner: self.request.owner, lease: self.request.lease };
        let write = restart(self.record.clone(), holder, transaction, self.engine.now());
        match self.engine.write_claim(&write, &self.operation, self.deadline).await? {
            Written::Applied | Written::Recognised => {
                Ok(Restarted::Run(Box::new(Self { record: write.record, follows_uncertain: false, ..self })))
            }
            Written::Refused(found) => Ok(Restarted::Answered(self.fenced(found, None).await?)),
            Written::EffectRefused(_) => Ok(Restarted::Answered(self.unknown())),
        }
    }

    /// Releases the record and writes the effects, after evidence that the effect was prevented: a later call begins
    /// under a new transaction id.
    pub(crate) async fn reopen(self, effects: Vec<S::Effect>) -> Result<Reconciled, Error> {
        let (now, transaction) = (self.engine.now(), self.engine.transaction()?);
        let expiration = self.operation.expiration(now);
        let write = reopen(self.record.clone(), self.request.owner, transaction, expiration, now);
        match self.engine.write(&write, effects, Metric::CommitMs).await {
            Ok(Written::Applied | Written::Recognised) => Ok(Reconciled::Prevented),
            Ok(Written::Refused(_)) => {
                self.note_fenced();
                Ok(Reconciled::NotOpen)
            }
            Ok(Written::EffectRefused(refused)) => {
                self.note_abandoned(&format!("the condition of effect {} did not hold", refused.index));
                match self.write_unknown().await {
                    Ok(Written::Refused(Some(found))) if write.made(&found) => Ok(Reconciled::Prevented),
                    Ok(Written::Refused(_)) => {
                        self.note_fenced();
                        Ok(Reconciled::NotOpen)
                    }
                    Ok(Written::Applied | Written::Recognised | Written::EffectRefused(_)) => Ok(Reconciled::Unclear),
                    Err(source) => Err(self.not_recorded(source)),
                }
            }
            Err(source) => {
                // If it took effect, this is refused; else the record is free to be reconciled again.
                let end = abandon(self.record.clone(), self.request.owner, self.engine.now());
                self.engine.write_in_time(&end, self.deadline).await;
                Err(Error::StoreUnavailable(source))
            }
        }
    }

    /// The store did not say whether it committed.
    async fn commit_lost<T: Answer>(
        self,
        error: StoreError,
        commit: &Write,
        resolution: Resolution,
        answer: T,
    ) -> Result<Outcome<T>, Error> {
        self.engine.count(Metric::CommitFailed, &self.record.operation);
        tracing::error!(
            record = self.record.id.digest(),
            transaction = %self.record.transaction,
            error = &error as &dyn std::error::Error,
            "could not commit",
        );
        self.find_out(commit, resolution, answer).await
    }

    /// Abandons after a commit of which it is not certain that it did not take effect, and so finds out: it is refused if
    /// the commit did, and otherwise it keeps a delayed one from taking effect later.
    async fn find_out<T: Answer>(self, commit: &Write, resolution: Resolution, answer: T) -> Result<Outcome<T>, Error> {
        match self.write_unknown().await {
            Ok(Written::Refused(Some(found))) if commit.made(&found) => {
                Ok(self.executed(&commit.record, resolution, answer))
            }
            Ok(Written::Refused(found)) => self.fenced(found, Some(resolution)).await?.read(),
            Ok(Written::Applied | Written::Recognised | Written::EffectRefused(_)) => self.unknown().read(),
            Err(source) => Err(self.not_recorded(source)),
        }
    }

    async fn write_unknown(&self) -> Result<Written<ItemOf<S>>, StoreError> {
        let write = abandon(self.record.clone(), self.request.owner, self.engine.now());
        let written = self.engine.write(&write, Vec::new(), Metric::CommitMs).await?;
        if matches!(written, Written::Applied | Written::Recognised) {
            self.engine.count(Metric::UnknownEntered, &self.record.operation);
        }
        Ok(written)
    }

    /// The claim was taken over: the answer is what the record says, never what we would have said.
    async fn fenced(&self, found: Option<Box<Record>>, said: Option<Resolution>) -> Result<Outcome<Stored>, Error> {
        self.note_fenced();
        let now = self.engine.now();
        let fenced = Fenced { late: &self.record, found: found.as_deref(), said, at: now };
        self.engine.observer().fenced(fenced).await;
        let Some(found) = found.filter(|found| found.transaction == self.record.transaction) else {
            return Ok(self.unknown());
        };
        match decide(Some(&found), &self.request, now) {
            Decision::Replay(found, ..) => match self.engine.replay(found.clone()).await {
                Err(Error::StoreUnavailable(source)) => Err(self.not_recorded(source)),
                replayed => replayed,
            },
            Decision::InProgress(lease) => Ok(Outcome::InProgress { retry_after: lease.since(now) }),
            Decision::Begin(_) | Decision::Acquired(_) | Decision::Mismatch | Decision::Reconcile(_) => {
                Ok(self.unknown())
            }
        }
    }

    fn note_abandoned(&self, reason: &(impl std::fmt::Display + ?Sized)) {
        tracing::warn!(
            record = self.record.id.digest(),
            transaction = %self.record.transaction,
            attempt = self.record.attempt,
            %reason,
            "the outcome is not known",
        );
    }

    fn note_fenced(&self) {
        self.engine.count(Metric::Fenced, &self.record.operation);
        tracing::warn!(
            record = self.record.id.digest(),
            transaction = %self.record.transaction,
            attempt = self.record.attempt,
            "a late owner was fenced",
        );
    }

    fn executed<T>(&self, settled: &Record, resolution: Resolution, answer: T) -> Outcome<T> {
        self.engine.parts.cache.remember(settled);
        self.engine.count(Metric::Executed, &self.record.operation);
        Outcome::Executed(Answered::new(resolution, answer, &self.record))
    }

    const fn unknown(&self) -> Outcome<Stored> {
        Outcome::Unknown { transaction: self.record.transaction, retry_after: UNKNOWN_RETRY_AFTER }
    }

    fn not_recorded(&self, source: StoreError) -> Error {
        Error::NotRecorded { transaction: self.record.transaction, source }
    }
}
