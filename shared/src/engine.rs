//! The engine: claim → run → commit.

mod acquire;
mod answer;
mod attempt;
mod builder;
mod cache;
mod claim;
mod clock;
mod entropy;
mod observer;
mod on_failure;
mod operation;
mod outcome;
mod response_codec;
mod timings;
mod wait;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

pub use answer::{Answer, UnreadableAnswer};
pub(crate) use attempt::Effects;
pub use attempt::{Attempt, EffectRefusal};
pub use builder::EngineBuilder;
pub use claim::{Claim, Claimed};
pub use clock::Clock;
#[cfg(feature = "system")]
pub use clock::SystemClock;
#[cfg(feature = "system")]
pub use entropy::SystemEntropy;
pub use entropy::{Entropy, NoEntropy};
pub use observer::{Fenced, NoObserver, Observer};
pub use on_failure::OnFailure;
pub use operation::{Call, Operation};
pub use outcome::{Answered, Error, Outcome, Reason, Verdict};

use crate::protocol::{
    ClaimRequest, Condition, EpochMs, OwnerToken, Record, Resolution, Trace, TransactionId, Write, begin_settled,
};
use crate::store::{ItemOf, Store, TransactionalEffect, Written};
use crate::telemetry::metrics::{Metric, Metrics};
use crate::telemetry::span::{self, Span};
use acquire::{Marked, Next};

pub(crate) use acquire::{OnUncertain, Taken};
pub(crate) use claim::Restarted;
pub(crate) use timings::{Timings, timed};

/// Runs operations so that each takes effect once, and answers each of its callers alike.
///
/// A clone is another handle to the same engine. An engine serves any number of calls at once; of one call it keeps
/// nothing for the next but the [settled record](EngineBuilder::cache_bytes).
pub struct Engine<S> {
    parts: Arc<Parts<S>>,
}

struct Parts<S> {
    store: S,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<dyn Metrics>,
    observer: Arc<dyn Observer>,
    margin: Duration,
    lease_margin: Duration,
    cache: cache::Cache,
}

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl<S: Store> Engine<S> {
    /// Starts to build an engine on a store.
    #[cfg(feature = "system")]
    pub fn builder(store: S) -> EngineBuilder<S> {
        EngineBuilder::new(store, SystemClock, SystemEntropy)
    }

    /// Starts to build an engine on a store, with a clock and a random source of your own.
    pub fn builder_with(store: S, clock: impl Clock + 'static, entropy: impl Entropy + 'static) -> EngineBuilder<S> {
        EngineBuilder::new(store, clock, entropy)
    }

    /// Claims, runs and commits: `run` runs under an exclusive claim, its effects are written with its answer.
    ///
    /// A duplicate does not run; it gets the recorded answer, or is told that the first is still running. A run
    /// that does not end a margin before the deadline, or that panics, leaves the record UNKNOWN.
    ///
    /// # Errors
    /// [`Error`] where the store could not be reached: before the run nothing ran; after it the outcome is not
    /// known. A duplicate, a mismatch and a refusal are no errors but [`Outcome`]s.
    pub async fn run<T, F, R>(&self, call: &Call, run: F) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        match self.claim(call).await? {
            Claimed::Acquired(claim) => self.run_claimed(*claim, run).await,
            Claimed::Answered(outcome) => outcome.read(),
        }
    }

    pub(crate) async fn run_claimed<T, F, R>(&self, claim: Claim<S>, run: F) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let attempt = claim.attempt();
        if attempt.remaining().is_zero() {
            if let Err(error) = claim.release().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the claim blocks its key until its lease is over"
                );
            }
            return Err(Error::DeadlineAtHand);
        }
        let operation = claim.record().operation.clone();
        let outcome = self.run_until_settled(claim, &attempt, run).await;
        self.count_retry(attempt.number(), &operation, &outcome);
        outcome
    }

    async fn run_until_settled<T, F, R>(
        &self,
        claim: Claim<S>,
        attempt: &Attempt<S::Effect>,
        run: F,
    ) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        match Span::step("run").of(until_deadline(attempt, run)).await {
            Ok(Verdict::Success(answer)) => claim.commit(Resolution::Success, answer, attempt.take_effects()).await,
            Ok(Verdict::Failed(answer)) => claim.commit(Resolution::Failed, answer, attempt.take_effects()).await,
            Ok(Verdict::NotExecuted(_)) if claim.follows_uncertain() => {
                claim.abandon("this attempt executed nothing, but an earlier one may have".into()).await?.read()
            }
            Ok(Verdict::NotExecuted(answer)) => claim.release().await.map(|()| Outcome::NotExecuted(answer)),
            Ok(Verdict::Unknown(reason)) | Err(reason) => claim.abandon(reason).await?.read(),
        }
    }

    /// single-write mode, for operations whose effects are all inside: runs without a claim, then writes the settled
    /// record and the effects in one transaction. A duplicate loses the record's condition and is answered from
    /// the record.
    ///
    /// `run` must have no effect but those it adds to the attempt: for a duplicate it runs in vain, and it may
    /// run twice in one call. Its [`Verdict::Unknown`], a panic and the deadline therefore mean that nothing
    /// happened.
    ///
    /// # Errors
    /// [`Error`] where the store could not be reached or nothing was executed. Repeating the call is safe.
    pub async fn run_single_write<T, F, R>(&self, call: &Call, run: F) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: Fn(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let mut request = self.request(call)?;
        if let Some(outcome) = self.remembered(&request) {
            return outcome.read();
        }
        let mut found = None;
        for _ in 0..ROUNDS {
            let begin = match self.next(found.as_ref(), &request) {
                Next::Begin(write) => write,
                Next::Uncertain(takeover) => match self.mark_unknown(takeover).await? {
                    Marked::Unknown(outcome) => return outcome.read(),
                    Marked::Changed(record) => {
                        found = record;
                        continue;
                    }
                },
                Next::Acquired(_) => break,
                Next::Replay(record) => return self.replay(record).await?.read(),
                Next::Held(lease) => return self.in_progress(&request.operation, lease).read(),
                Next::Answered(outcome) => return outcome.read(),
            };
            let attempt = self.attempt(&begin.record, request.trace, call.deadline());
            let (resolution, answer) = match Span::step("run").of(until_deadline(&attempt, &run)).await {
                Ok(Verdict::Success(answer)) => (Resolution::Success, answer),
                Ok(Verdict::Failed(answer)) => (Resolution::Failed, answer),
                Ok(Verdict::NotExecuted(answer)) => return Ok(Outcome::NotExecuted(answer)),
                Ok(Verdict::Unknown(reason)) | Err(reason) => return Err(Error::NothingHappened(reason)),
            };
            let guarded = attempt.take_guarded_effects();
            let settled = call.operation().settled(&answer, self.now(), S::max_response_bytes(&guarded.effects));
            let write = begin_settled(begin, resolution, settled);
            match self.settle_in_single_write(&write, guarded, call.deadline()).await? {
                Settling::Settled => {
                    self.parts.cache.remember(&write.record);
                    self.count(Metric::Executed, &write.record.operation);
                    return Ok(Outcome::Executed(Answered::new(resolution, answer, &write.record)));
                }
                Settling::NotYet => return Ok(Outcome::NotExecuted(answer)),
                Settling::Conflict => return Ok(Outcome::Conflict),
                Settling::Changed(record) => {
                    found = record.map(|record| *record);
                    // The next write is another one, and has a token of its own.
                    request.owner = self.identity()?.0;
                }
            }
        }
        Ok(Outcome::InProgress { retry_after: Duration::from_secs(1) })
    }

    async fn settle_in_single_write(
        &self,
        write: &Write,
        mut guarded: Effects<S::Effect>,
        deadline: EpochMs,
    ) -> Result<Settling, Error> {
        let operation = &write.record.operation;
        loop {
            let effects = std::mem::take(&mut guarded.effects);
            let without_effects = effects.is_empty();
            match self.write_until(write, effects, Metric::CommitMs, deadline).await {
                Ok(Written::Applied | Written::Recognised) => return Ok(Settling::Settled),
                Ok(Written::Refused(record)) => return Ok(Settling::Changed(record)),
                Ok(Written::EffectRefused(refused)) => match guarded.read(&refused) {
                    // Once more, without them: the record then answers the next duplicate.
                    EffectRefusal::AppliedBefore if !without_effects => self.count(Metric::DuplicateSkipped, operation),
                    EffectRefusal::NotYet => {
                        self.count(Metric::GapHeld, operation);
                        return Ok(Settling::NotYet);
                    }
                    EffectRefusal::Conflict => {
                        self.count(Metric::SequenceConflict, operation);
                        return Ok(Settling::Conflict);
                    }
                    EffectRefusal::AppliedBefore | EffectRefusal::Unexpected => {
                        return Err(Error::EffectRefused { index: refused.index });
                    }
                },
                Err(source) => return Err(Error::NotRecorded { transaction: write.record.transaction, source }),
            }
        }
    }

    /// Claims the record of a call without running anything, for callers that run in their own way.
    ///
    /// # Errors
    /// [`Error`] where nothing could be claimed. Nothing ran.
    pub async fn claim(&self, call: &Call) -> Result<Claimed<S>, Error> {
        match self.take(self.request(call)?, call, OnUncertain::Leave).await? {
            Taken::Run(claim) => Ok(Claimed::Acquired(claim)),
            // Not held where it is to be left; were it, nothing would run over it.
            Taken::Reconcile(claim) => Ok(Claimed::Answered(claim.abandon("nobody reconciles it".into()).await?)),
            Taken::Answered(outcome) => Ok(Claimed::Answered(outcome)),
        }
    }

    /// As [`Engine::write_until`], where no deadline is known.
    pub(crate) async fn write(
        &self,
        write: &Write,
        effects: Vec<S::Effect>,
        duration: Metric,
    ) -> Result<Written<ItemOf<S>>, crate::store::StoreError> {
        self.write_until(write, effects, duration, EpochMs(0)).await
    }

    /// Writes, and waits for others that are in the way until a margin before the deadline, or for half the margin if
    /// there is less time.
    pub(crate) async fn write_until(
        &self,
        write: &Write,
        effects: Vec<S::Effect>,
        duration: Metric,
        deadline: EpochMs,
    ) -> Result<Written<ItemOf<S>>, crate::store::StoreError> {
        let started = self.now();
        let step = if duration == Metric::ClaimMs { Span::step("claim") } else { Span::step("commit") };
        let written = step.of(self.parts.store.write_within(write, effects, self.retry_budget(deadline))).await;
        let operation = &write.record.operation;
        self.took(duration, operation, started);
        match &written {
            Ok(Written::Recognised) => self.count(Metric::OwnWriteRecognised, operation),
            Ok(Written::Refused(_)) if matches!(write.condition, Condition::Unchanged(_)) => {
                self.count(Metric::Conflict, operation);
            }
            Ok(Written::Applied | Written::Refused(_) | Written::EffectRefused(_)) => {}
            Err(_) => self.count(Metric::StoreError, operation),
        }
        written
    }

    pub(crate) fn request(&self, call: &Call) -> Result<ClaimRequest, Error> {
        let (owner, transaction) = self.identity()?;
        Ok(ClaimRequest {
            id: call.record_id(),
            operation: call.operation().shared_name(),
            principal: Some(call.principal()),
            subject: call.subject(),
            request: call.request(),
            trace: call.trace(),
            fingerprint: call.fingerprint(),
            owner,
            transaction,
            lease: self.lease(call.deadline()),
            uncertain: call.operation().uncertain_policy(),
        })
    }

    /// A new owner and a new transaction, for which the kernel is asked only once.
    pub(crate) fn identity(&self) -> Result<(OwnerToken, TransactionId), Error> {
        let mut random = [0; 26];
        self.parts.entropy.fill(&mut random)?;
        let (mut owner, mut transaction) = ([0; 16], [0; 10]);
        owner.copy_from_slice(&random[..16]);
        transaction.copy_from_slice(&random[16..]);
        Ok((OwnerToken(owner), TransactionId::new(self.now(), transaction)))
    }

    pub(crate) fn transaction(&self) -> Result<TransactionId, Error> {
        let mut random = [0; 10];
        self.parts.entropy.fill(&mut random)?;
        Ok(TransactionId::new(self.now(), random))
    }

    pub(crate) fn lease(&self, deadline: EpochMs) -> EpochMs {
        deadline.plus(self.parts.lease_margin)
    }

    /// How long a write may wait for others.
    pub(crate) fn retry_budget(&self, deadline: EpochMs) -> Duration {
        self.stop_at(deadline).since(self.now()).max(self.parts.margin / 2)
    }

    pub(crate) fn store(&self) -> &S {
        &self.parts.store
    }

    /// An attempt without a record.
    pub(crate) fn attempt_of(
        &self,
        transaction: TransactionId,
        trace: Option<Trace>,
        deadline: EpochMs,
    ) -> Attempt<S::Effect> {
        Attempt::new(transaction, 1, trace, self.stop_at(deadline), Arc::clone(&self.parts.clock))
    }

    fn attempt(&self, record: &Record, trace: Option<Trace>, deadline: EpochMs) -> Attempt<S::Effect> {
        let (stop_at, clock) = (self.stop_at(deadline), Arc::clone(&self.parts.clock));
        Attempt::new(record.transaction, record.attempt, trace, stop_at, clock)
    }

    /// When a run is stopped: a margin before the deadline, so that there is time to record what became of it.
    fn stop_at(&self, deadline: EpochMs) -> EpochMs {
        let margin_ms = u64::try_from(self.parts.margin.as_millis()).unwrap_or(u64::MAX);
        EpochMs(deadline.0.saturating_sub(margin_ms))
    }

    pub(crate) fn now(&self) -> EpochMs {
        self.parts.clock.now()
    }

    pub(crate) fn count(&self, metric: Metric, operation: &str) {
        self.parts.metrics.count(metric, operation);
    }

    /// Something began then and ends now.
    pub(crate) fn took(&self, metric: Metric, operation: &str, started: EpochMs) -> Duration {
        let duration = self.now().since(started);
        self.parts.metrics.duration(metric, operation, duration);
        timings::add(metric, duration);
        duration
    }

    fn count_retry<T>(&self, attempt: u64, operation: &str, outcome: &Result<Outcome<T>, Error>) {
        if attempt == 1 {
            return;
        }
        let metric = match outcome {
            Ok(Outcome::Executed(answered)) => match answered.resolution {
                Resolution::Success => Metric::RetrySucceeded,
                Resolution::Failed => Metric::RetryFailed,
            },
            Ok(
                Outcome::Replayed(_)
                | Outcome::NotExecuted(_)
                | Outcome::InProgress { .. }
                | Outcome::Mismatch
                | Outcome::Conflict
                | Outcome::Unknown { .. },
            )
            | Err(_) => Metric::RetryFailed,
        };
        self.count(metric, operation);
    }

    pub(crate) fn observer(&self) -> &dyn Observer {
        &*self.parts.observer
    }

    /// An invocation ends: what was counted, measured and traced is written out, before the sandbox may freeze.
    pub fn flush(&self) {
        self.parts.metrics.flush();
        span::flush();
    }

    /// Where the engine reports to.
    pub fn metrics(&self) -> &dyn Metrics {
        &*self.parts.metrics
    }

    /// The time by the engine's clock.
    #[must_use]
    pub fn time(&self) -> EpochMs {
        self.now()
    }

    /// Whether a run could still begin before this deadline.
    #[must_use]
    pub fn has_time(&self, deadline: EpochMs) -> bool {
        deadline.since(self.now()) > self.parts.margin
    }
}

/// What came of the one write of single-write mode.
enum Settling {
    Settled,
    /// The effects cannot be applied yet.
    NotYet,
    /// What the effects are about was used for something else.
    Conflict,
    /// Somebody was faster: look again.
    Changed(Option<Box<Record>>),
}

/// How often a claim looks again after another was faster.
pub(crate) const ROUNDS: usize = 8;

/// When a caller may ask again about an outcome that is not known.
const UNKNOWN_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Runs until the attempt must stop. An error is a panic or the end of time: nobody knows what happened.
pub(crate) async fn until_deadline<E: TransactionalEffect, V, F, R>(attempt: &Attempt<E>, run: F) -> Result<V, Reason>
where
    F: FnOnce(Attempt<E>) -> R,
    R: Future<Output = V>,
{
    let handle = attempt.clone();
    // Boxed: what runs may be large, and would be moved with every future around it.
    let run = AssertUnwindSafe(Box::pin(async move { run(handle).await })).catch_unwind();
    match clock::timeout(attempt.clock(), attempt.remaining(), run).await {
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(_panic)) => Err("the run panicked".into()),
        Err(_elapsed) => Err("the run was stopped before the deadline of the function".into()),
    }
}

#[cfg(all(test, feature = "system"))]
pub(crate) mod tests;
