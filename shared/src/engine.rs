//! The engine: claim → run → commit.

mod answer;
mod attempt;
mod builder;
mod claim;
mod clock;
mod entropy;
mod operation;
mod outcome;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

pub use answer::{Answer, UnreadableAnswer};
pub use attempt::Attempt;
pub use builder::EngineBuilder;
pub use claim::{Claim, Claimed};
pub use clock::{Clock, SystemClock};
pub use entropy::{Entropy, NoEntropy, SystemEntropy};
pub use operation::{Call, Operation};
pub use outcome::{Answered, Error, Outcome, Reason, Verdict};

use crate::metrics::{Metric, Metrics};
use crate::protocol::{Decision, EpochMs, Finding, OwnerToken, Record, Request, State, TransactionId, Write};
use crate::protocol::{begin_settled, decide};
use crate::store::{Store, Written};
use outcome::Stored;

/// Runs operations so that each takes effect once, and answers each of its callers alike.
///
/// A clone is another handle to the same engine. An engine serves any number of calls at once; it keeps
/// nothing of one call for the next.
pub struct Engine<S> {
    parts: Arc<Parts<S>>,
}

struct Parts<S> {
    store: S,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    metrics: Arc<dyn Metrics>,
    margin: Duration,
    lease_margin: Duration,
}

impl<S> Clone for Engine<S> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl<S: Store> Engine<S> {
    /// Starts to build an engine on a store.
    pub fn builder(store: S) -> EngineBuilder<S> {
        EngineBuilder::new(store)
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
        let claim = match self.claim(call).await? {
            Claimed::Acquired(claim) => claim,
            Claimed::Answered(outcome) => return outcome.read(),
        };
        let attempt = self.attempt(claim.record(), call);
        if attempt.remaining().is_zero() {
            claim.release().await?;
            return Err(Error::DeadlineAtHand);
        }
        match until_deadline(&attempt, run).await {
            Verdict::Success(answer) => claim.commit(Finding::Success, answer, attempt.take_effects()).await,
            Verdict::Failed(answer) => claim.commit(Finding::Failed, answer, attempt.take_effects()).await,
            Verdict::NotExecuted(_) if claim.follows_uncertain() => {
                claim.abandon("this attempt executed nothing, but an earlier one may have".into()).await?.read()
            }
            Verdict::NotExecuted(answer) => claim.release().await.map(|()| Outcome::NotExecuted(answer)),
            Verdict::Unknown(reason) => claim.abandon(reason).await?.read(),
        }
    }

    /// One-trip mode, for operations whose effects are all inside: runs without a claim, then writes the settled
    /// record and the effects in one transaction. A duplicate loses the record's condition and is answered from
    /// the record.
    ///
    /// `run` must have no effect but those it adds to the attempt: for a duplicate it runs in vain, and it may
    /// run twice in one call. Its [`Verdict::Unknown`], a panic and the deadline therefore mean that nothing
    /// happened.
    ///
    /// # Errors
    /// [`Error`] where the store could not be reached or nothing was executed. Repeating the call is safe.
    pub async fn run_in_one_trip<T, F, R>(&self, call: &Call, run: F) -> Result<Outcome<T>, Error>
    where
        T: Answer,
        F: Fn(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let request = self.request(call)?;
        let mut found = None;
        for _ in 0..ROUNDS {
            let begin = match self.next(found.as_ref(), &request).await? {
                Next::Begin(write) => write,
                Next::Acquired(_) => break,
                Next::Answered(outcome) => return outcome.read(),
                Next::Changed(record) => {
                    found = record;
                    continue;
                }
            };
            let attempt = self.attempt(&begin.record, call);
            let (finding, answer) = match until_deadline(&attempt, &run).await {
                Verdict::Success(answer) => (Finding::Success, answer),
                Verdict::Failed(answer) => (Finding::Failed, answer),
                Verdict::NotExecuted(answer) => return Ok(Outcome::NotExecuted(answer)),
                Verdict::Unknown(reason) => return Err(Error::NothingHappened(reason)),
            };
            let settled = call.operation().settled(&answer, self.now(), S::MAX_RESPONSE_BYTES);
            let write = begin_settled(begin, finding, settled);
            match self.write(&write, attempt.take_effects(), Metric::CommitMs).await {
                Ok(Written::Applied | Written::Recognised) => {
                    self.count(Metric::Executed, &write.record.operation);
                    return Ok(Outcome::Executed(Answered::new(finding, answer, &write.record)));
                }
                Ok(Written::Refused(record)) => found = record.map(|record| *record),
                Ok(Written::EffectRefused(index)) => return Err(Error::EffectRefused { index }),
                Err(source) => return Err(Error::NotRecorded { transaction: write.record.transaction, source }),
            }
        }
        Ok(Outcome::InProgress { retry_after: Duration::from_secs(1) })
    }

    /// Claims the record of a call without running anything, for callers that run in their own way.
    ///
    /// # Errors
    /// [`Error`] where nothing could be claimed. Nothing ran.
    pub async fn claim(&self, call: &Call) -> Result<Claimed<S>, Error> {
        let request = self.request(call)?;
        if self.stop_at(call) <= self.now() {
            return Err(Error::DeadlineAtHand);
        }
        let mut found = None;
        for _ in 0..ROUNDS {
            let begin = match self.next(found.as_ref(), &request).await? {
                Next::Begin(write) => write,
                Next::Acquired(record) => {
                    let uncertain = record.attempt > 1;
                    return Ok(Claimed::Acquired(self.claimed(record, uncertain, request, call)));
                }
                Next::Answered(outcome) => return Ok(Claimed::Answered(outcome)),
                Next::Changed(record) => {
                    found = record;
                    continue;
                }
            };
            match self.write(&begin, Vec::new(), Metric::ClaimMs).await.map_err(Error::StoreUnavailable)? {
                Written::Applied | Written::Recognised => {
                    if begin.record.attempt > 1 {
                        self.count(Metric::Takeover, &begin.record.operation);
                    }
                    let uncertain = begin.follows_uncertain();
                    return Ok(Claimed::Acquired(self.claimed(begin.record, uncertain, request, call)));
                }
                Written::Refused(record) => found = record.map(|record| *record),
                Written::EffectRefused(index) => return Err(Error::EffectRefused { index }),
            }
        }
        // Others were faster every time, so somebody makes progress.
        Ok(Claimed::Answered(Outcome::InProgress { retry_after: Duration::from_secs(1) }))
    }

    /// What to do about what was found: a write to begin with, or an answer.
    async fn next(&self, found: Option<&Record>, request: &Request) -> Result<Next, Error> {
        let now = self.now();
        let operation = &request.operation;
        Ok(match (decide(found, request, now), found) {
            (Decision::Begin(write), _) => Next::Begin(write),
            (Decision::Acquired(record), _) => Next::Acquired(record.clone()),
            (Decision::Mismatch, _) => {
                self.count(Metric::Mismatch, operation);
                Next::Answered(Outcome::Mismatch)
            }
            (Decision::Replay(finding, settled), Some(record)) => {
                self.count(Metric::Replayed, operation);
                let stored = Stored(settled.response.clone());
                Next::Answered(Outcome::Replayed(Answered::new(finding, stored, record)))
            }
            (Decision::InProgress(lease), _) => {
                self.count(Metric::InProgress, operation);
                Next::Answered(Outcome::InProgress { retry_after: lease.since(now) })
            }
            (Decision::Reconcile(takeover), Some(record)) => self.leave_unknown(record, takeover).await?,
            (Decision::Replay(..) | Decision::Reconcile(_), None) => Next::Changed(None),
        })
    }

    /// Makes a record whose outcome is uncertain visible as UNKNOWN. Nothing runs without evidence.
    async fn leave_unknown(&self, found: &Record, takeover: Write) -> Result<Next, Error> {
        let unknown = Outcome::Unknown { transaction: found.transaction, retry_after: UNKNOWN_RETRY_AFTER };
        if matches!(found.state, State::Unknown(None)) {
            return Ok(Next::Answered(unknown));
        }
        let write = Write { record: Record { state: State::Unknown(None), ..takeover.record }, ..takeover };
        match self.write(&write, Vec::new(), Metric::ClaimMs).await.map_err(Error::StoreUnavailable)? {
            Written::Applied | Written::Recognised => {
                self.count(Metric::UnknownEntered, &write.record.operation);
                Ok(Next::Answered(unknown))
            }
            Written::Refused(record) => Ok(Next::Changed(record.map(|record| *record))),
            Written::EffectRefused(index) => Err(Error::EffectRefused { index }),
        }
    }

    async fn write(
        &self,
        write: &Write,
        effects: Vec<S::Effect>,
        duration: Metric,
    ) -> Result<Written, crate::store::StoreError> {
        let started = self.now();
        let written = self.parts.store.write(write, effects).await;
        let operation = &write.record.operation;
        self.parts.metrics.duration(duration, operation, self.now().since(started));
        match &written {
            Ok(Written::Recognised) => self.count(Metric::OwnWriteRecognised, operation),
            Ok(Written::Applied | Written::Refused(_) | Written::EffectRefused(_)) => {}
            Err(_) => self.count(Metric::StoreError, operation),
        }
        written
    }

    fn request(&self, call: &Call) -> Result<Request, Error> {
        let (mut owner, mut transaction) = ([0; 16], [0; 10]);
        self.parts.entropy.fill(&mut owner)?;
        self.parts.entropy.fill(&mut transaction)?;
        Ok(Request {
            id: call.record_id(),
            operation: call.operation().name().to_owned(),
            fingerprint: call.fingerprint(),
            owner: OwnerToken(owner),
            transaction: TransactionId::new(self.now(), transaction),
            lease: call.deadline().plus(self.parts.lease_margin),
            uncertain: call.operation().uncertain_policy(),
        })
    }

    fn claimed(&self, record: Record, follows_uncertain: bool, request: Request, call: &Call) -> Box<Claim<S>> {
        Box::new(Claim::new(self.clone(), record, follows_uncertain, request, call.operation().clone()))
    }

    fn attempt(&self, record: &Record, call: &Call) -> Attempt<S::Effect> {
        Attempt::new(record, self.stop_at(call), Arc::clone(&self.parts.clock))
    }

    /// When a run is stopped: a margin before the deadline, so that there is time to record what became of it.
    fn stop_at(&self, call: &Call) -> EpochMs {
        let margin_ms = u64::try_from(self.parts.margin.as_millis()).unwrap_or(u64::MAX);
        EpochMs(call.deadline().0.saturating_sub(margin_ms))
    }

    fn now(&self) -> EpochMs {
        self.parts.clock.now()
    }

    fn count(&self, metric: Metric, operation: &str) {
        self.parts.metrics.count(metric, operation);
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

/// How often a claim looks again after another was faster.
const ROUNDS: usize = 8;

/// When a caller may ask again about an outcome that is not known.
const UNKNOWN_RETRY_AFTER: Duration = Duration::from_secs(5);

/// The step after a look at the record.
enum Next {
    Begin(Write),
    Acquired(Record),
    Answered(Outcome<Stored>),
    /// The record changed meanwhile: look again.
    Changed(Option<Record>),
}

/// Runs until the attempt must stop. A panic or the end of time leaves the outcome unknown.
async fn until_deadline<E, T, F, R>(attempt: &Attempt<E>, run: F) -> Verdict<T>
where
    F: FnOnce(Attempt<E>) -> R,
    R: Future<Output = Verdict<T>>,
{
    let handle = attempt.clone();
    let run = AssertUnwindSafe(async move { run(handle).await }).catch_unwind();
    match tokio::time::timeout(attempt.remaining(), run).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_panic)) => Verdict::Unknown("the run panicked".into()),
        Err(_elapsed) => Verdict::Unknown("the run was stopped before the deadline of the function".into()),
    }
}

#[cfg(test)]
mod tests;
