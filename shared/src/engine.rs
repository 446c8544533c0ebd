//! The engine: claim → run → commit.

mod answer;
mod attempt;
mod builder;
mod cache;
mod claim;
mod clock;
mod driver;
mod entropy;
mod evidence;
mod observer;
mod on_failure;
mod operation;
mod outcome;
mod request_log;
mod response_codec;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

pub use crate::protocol::machine::EffectRefusal;
pub use answer::{Answer, UnreadableAnswer};
pub use attempt::Attempt;
pub(crate) use attempt::Effects;
pub use builder::EngineBuilder;
pub use claim::{Claim, Claimed};
pub use clock::Clock;
#[cfg(feature = "system")]
pub use clock::SystemClock;
#[cfg(feature = "system")]
pub use entropy::SystemEntropy;
pub use entropy::{Entropy, NoEntropy};
pub use evidence::{Evidence, Resolver};
pub use observer::{Fenced, NoObserver, Observer};
pub use on_failure::OnFailure;
pub use operation::{Call, Operation};
pub use outcome::{Answered, Error, ErrorKind, Outcome, Reason, Verdict};

use crate::protocol::machine::{Action, Machine, Terms};
use crate::protocol::{ClaimRequest, EpochMs, OwnerToken, Record, Resolution, Trace, TransactionId};
use crate::store::{Store, TransactionalEffect};
use crate::telemetry::metrics::{Metric, Metrics};
use crate::telemetry::span;

pub(crate) use crate::telemetry::timings::{self, Timings, timed};
pub(crate) use driver::Driver;

/// Runs operations so that each takes effect once, and answers each of its callers alike.
///
/// A clone is another handle to the same engine. An engine serves any number of calls at once; of one call it keeps
/// nothing for the next but the [settled record](EngineBuilder::cache_bytes).
pub struct Engine<S> {
    parts: Arc<Parts<S>>,
}

impl<S> fmt::Debug for Engine<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Engine")
            .field("margin", &self.parts.margin)
            .field("lease_margin", &self.parts.lease_margin)
            .finish_non_exhaustive()
    }
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
            Claimed::Acquired(claim) => claim.run(run).await,
            Claimed::Answered(outcome) => outcome.read(),
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
        let mut driver = self.drive(Machine::single_write, call)?;
        let mut answer = None;
        loop {
            driver.advance().await?;
            let Some(attempt) = driver.attempt() else { return driver.outcome(answer) };
            answer = driver.run(&attempt, &run).await;
        }
    }

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
        let mut driver = self.drive(Machine::resolving_call, call)?;
        driver.advance().await?;
        let mut answer = None;
        if let Action::Resolve(record) = driver.machine().poll() {
            answer = driver.resolve(record.clone(), resolver).await;
            driver.advance().await?;
        }
        match Claim::of(driver) {
            Ok(claim) => claim.run(run).await,
            Err(driver) => driver.outcome(answer),
        }
    }

    /// Claims the record of a call without running anything, for callers that run in their own way.
    ///
    /// # Errors
    /// [`Error`] where nothing could be claimed. Nothing ran.
    pub async fn claim(&self, call: &Call) -> Result<Claimed<S>, Error> {
        let mut driver = self.drive(Machine::call, call)?;
        driver.advance().await?;
        match Claim::of(driver) {
            Ok(claim) => Ok(Claimed::Acquired(Box::new(claim))),
            Err(driver) => driver.stored_outcome().map(Claimed::Answered),
        }
    }

    fn drive(&self, machine: fn(ClaimRequest, Terms) -> Machine, call: &Call) -> Result<Box<Driver<S>>, Error> {
        let request = self.request(call)?;
        let (now, start_by) = (self.now(), self.stop_at(call.deadline()));
        let wait_until = now.plus(call.wait.min(start_by.since(now)));
        let terms = Terms { retention: call.operation().kept_for(), start_by, wait_until };
        Ok(Box::new(Driver::new(self, machine(request, terms), call.operation().clone(), call.deadline())))
    }

    pub(crate) fn request(&self, call: &Call) -> Result<ClaimRequest, Error> {
        let (owner, transaction) = self.identity()?;
        Ok(ClaimRequest {
            id: call.record_id(),
            operation: Arc::clone(&call.operation().name),
            principal: Some(call.principal()),
            subject: call.subject(),
            invocation: call.request(),
            trace: call.trace(),
            fingerprint: call.fingerprint(),
            owner,
            transaction,
            lease: self.lease(call.deadline()),
            uncertain: call.operation().uncertain,
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

    /// How long a call can wait: not into the time in which it would have to record what it ran itself.
    pub(crate) fn longest_wait(&self, deadline: EpochMs) -> Duration {
        self.stop_at(deadline).since(self.now())
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

    /// The time by the engine's clock.
    #[must_use]
    pub fn now(&self) -> EpochMs {
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

    /// An invocation ends: what was counted, measured and traced is written out, before the sandbox may freeze.
    pub fn flush(&self) {
        self.parts.metrics.flush();
        span::flush();
    }

    /// Where the engine reports to.
    pub fn metrics(&self) -> &dyn Metrics {
        &*self.parts.metrics
    }

    /// Whether a run could still begin before this deadline.
    #[must_use]
    pub fn has_time(&self, deadline: EpochMs) -> bool {
        deadline.since(self.now()) > self.parts.margin
    }
}

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

#[cfg(test)]
#[cfg(feature = "system")]
pub(crate) mod tests;
