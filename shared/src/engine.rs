//! The engine: claim → run → commit.

mod answer;
mod attempt;
mod builder;
mod cache;
mod claim;
mod clock;
mod consumer;
mod driver;
mod entropy;
mod evidence;
mod input;
mod into_verdict;
mod margin;
mod observer;
mod on_failure;
mod operation;
mod outcome;
mod request_log;
mod response_codec;
mod running;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;
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
pub use input::{InputKey, InvalidInput};
pub use into_verdict::IntoVerdict;
pub use observer::{Fenced, NoObserver, Observer};
pub use on_failure::OnFailure;
pub use operation::{Call, Operation};
pub use outcome::{Answered, Error, ErrorKind, NoAnswer, Outcome, Reason, Verdict};

use crate::protocol::machine::{Action, Machine, Terms};
use crate::protocol::{
    ClaimRequest, EpochMs, LeaseLimit, OwnerToken, Record, RecordId, Resolution, Trace, TransactionId,
};
use crate::store::{Store, TransactionalEffect};
use crate::telemetry::metrics::{Metric, Metrics};
use crate::telemetry::span;

pub(crate) use crate::telemetry::timings::{self, Timings, timed};
pub(crate) use consumer::{Consumer, Mode, Ready, Settlement, refused};
pub(crate) use driver::Driver;

/// Runs operations so that each takes effect once and all its callers get the same answer.
///
/// A clone is another handle to the same engine. One engine serves any number of concurrent calls; between calls it
/// keeps only a [cache of settled records](EngineBuilder::cache_bytes) and, for one second, the records that were in
/// progress elsewhere.
#[derive_where(Clone, Debug)]
pub struct Engine<S> {
    parts: Arc<Parts<S>>,
}

#[derive_where(Debug)]
struct Parts<S> {
    #[derive_where(skip)]
    store: S,
    #[derive_where(skip)]
    clock: Arc<dyn Clock>,
    #[derive_where(skip)]
    entropy: Arc<dyn Entropy>,
    #[derive_where(skip)]
    metrics: Arc<dyn Metrics>,
    #[derive_where(skip)]
    observer: Arc<dyn Observer>,
    margin: margin::Margin,
    lease_margin: Duration,
    /// Whether protection is off, so that each call gets its own record.
    is_unprotected: bool,
    #[derive_where(skip)]
    cache: cache::Cache,
    #[derive_where(skip)]
    running: running::Running,
}

impl<S: Store> Engine<S> {
    /// Starts building an engine on a store, with the system's clock and random source.
    #[cfg(feature = "system")]
    pub fn builder(store: S) -> EngineBuilder<S> {
        EngineBuilder::new(store, SystemClock, SystemEntropy)
    }

    /// Starts building an engine on a store, with your own clock and random source.
    pub fn builder_with(store: S, clock: impl Clock + 'static, entropy: impl Entropy + 'static) -> EngineBuilder<S> {
        EngineBuilder::new(store, clock, entropy)
    }

    /// Claims the call's record, runs `run` under that exclusive claim, and commits its answer and effects in one
    /// transaction.
    ///
    /// A duplicate does not run: it gets the recorded answer, or [`Outcome::InProgress`] while the first call is still
    /// running. If `run` panics, or is still running at the end of [its time limit](Operation::run_within) or a
    /// [margin](EngineBuilder::margin) before the call's deadline, the record becomes UNKNOWN.
    ///
    /// # Errors
    /// [`Error`] if there is no outcome: [`Error::kind`] shows whether nothing ran, or it ran and its outcome is
    /// unknown. A duplicate, a mismatch and a business refusal are [`Outcome`]s, not errors.
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

    /// Runs a call in single-write mode, for operations whose effects are all transactional: it runs without a claim,
    /// then writes the settled record and the effects in one transaction. For a duplicate the record's condition fails,
    /// and the call is answered from the record.
    ///
    /// `run` must have no effects except those it adds to the attempt: it may run for a duplicate, without effect, and
    /// it may run twice in one call. [`Verdict::Unknown`], a panic and the deadline therefore mean that nothing
    /// happened.
    ///
    /// # Errors
    /// [`Error`] if the store could not be reached or nothing was executed. Repeating the call is safe.
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

    /// Like [`run`](Engine::run), but if the outcome of an earlier attempt is uncertain, calls `resolver` for evidence.
    /// The evidence settles the record, lets this call run, or leaves the outcome unknown.
    ///
    /// # Errors
    /// The same as for [`run`](Engine::run).
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

    /// Claims the record of a call without running anything, for callers that run the operation themselves.
    ///
    /// # Errors
    /// [`Error`] if nothing could be claimed. Nothing ran.
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
        let (now, retention) = (self.now(), call.operation().kept_for());
        let terms = Terms {
            retention,
            start_by: self.stop_at(call.deadline),
            // In whole seconds, rounded down, as records store it.
            write_by: EpochMs(now.seconds().0.saturating_mul(1000)).plus(retention),
            wait: call.wait.until(now, self.wait_by(call.operation(), call.deadline)),
        };
        let machine = machine(request, terms);
        let machine = if call.is_redelivery { machine.looking_up() } else { machine };
        Ok(Box::new(Driver::new(self, machine, call.operation().clone(), call.deadline)))
    }

    pub(crate) fn request(&self, call: &Call) -> Result<ClaimRequest, Error> {
        let (owner, transaction) = self.identity()?;
        let id = match self.parts.is_unprotected {
            false => call.record_id(),
            true => self.unprotected(call)?,
        };
        Ok(ClaimRequest {
            id,
            operation: Arc::clone(&call.operation().name),
            principal: Some(call.principal.digest()),
            subject: call.subject.clone(),
            invocation: call.request,
            trace: call.trace,
            fingerprint: call.fingerprint,
            owner,
            transaction,
            lease: self.lease(call.operation(), call.deadline),
            uncertain: call.operation().uncertain,
        })
    }

    /// A record id that no other call has.
    fn unprotected(&self, call: &Call) -> Result<RecordId, Error> {
        let mut random = [0; 16];
        self.parts.entropy.fill(&mut random)?;
        let operation = call.operation().name();
        self.count(Metric::Unprotected, operation);
        tracing::warn!(operation, "protection is off: the call runs, whether it ran before or not");
        Ok(call.record_id().only_once(random))
    }

    /// A new owner token and a new transaction id, from a single read of random bytes.
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

    /// How long a claim of this operation holds: long enough for its outcome to be recorded.
    pub(crate) fn lease(&self, operation: &Operation, deadline: EpochMs) -> LeaseLimit {
        LeaseLimit {
            at_most: operation.run_within.unwrap_or(Duration::MAX).saturating_add(self.margin(deadline)),
            by: deadline.plus(self.parts.lease_margin),
        }
    }

    /// How long a write may wait for concurrent writes: until the margin begins, and at least for half the margin.
    pub(crate) fn retry_budget(&self, deadline: EpochMs) -> Duration {
        self.stop_at(deadline).since(self.now()).max(self.margin(deadline) / 2)
    }

    /// The latest time until which a call may wait for another and still run itself.
    pub(crate) fn wait_by(&self, operation: &Operation, deadline: EpochMs) -> EpochMs {
        self.stop_at(deadline).minus(operation.run_within.unwrap_or_default())
    }

    /// The record as this process remembers it: settled, or in progress less than a second ago.
    fn recall(&self, id: &RecordId) -> Option<Arc<Record>> {
        let (now, parts) = (self.now(), &self.parts);
        parts.cache.recall(id, now).or_else(|| parts.running.recall(id, now))
    }

    pub(crate) fn store(&self) -> &S {
        &self.parts.store
    }

    /// An attempt that has no record.
    pub(crate) fn attempt_of(
        &self,
        transaction: TransactionId,
        trace: Option<Trace>,
        deadline: EpochMs,
    ) -> Attempt<S::Effect> {
        Attempt {
            record: None,
            transaction,
            number: 1,
            trace,
            stop_at: self.stop_at(deadline),
            clock: Arc::clone(&self.parts.clock),
            effects_with_record: S::EFFECTS_WITH_RECORD,
            effects: Arc::default(),
        }
    }

    /// An attempt at a record that the call holds.
    fn attempt(&self, record: &Record, trace: Option<Trace>, deadline: EpochMs) -> Attempt<S::Effect> {
        let attempt = self.attempt_of(record.transaction, trace, held_until(record, deadline));
        Attempt { record: Some(record.id.clone()), number: record.attempt, ..attempt }
    }

    /// When a run is stopped: a margin before this time, which leaves time to record its outcome.
    fn stop_at(&self, deadline: EpochMs) -> EpochMs {
        deadline.minus(self.margin(deadline))
    }

    fn margin(&self, deadline: EpochMs) -> Duration {
        self.parts.margin.with_left(deadline.since(self.now()))
    }

    /// The time by the engine's clock.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        self.parts.clock.now()
    }

    pub(crate) fn count(&self, metric: Metric, operation: &str) {
        self.parts.metrics.count(metric, operation);
    }

    /// Records the duration of something that began at `started` and ends now.
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
        let has_succeeded =
            matches!(outcome, Ok(Outcome::Executed(answered)) if answered.resolution == Resolution::Success);
        self.count(if has_succeeded { Metric::RetrySucceeded } else { Metric::RetryFailed }, operation);
    }

    /// Writes out metrics and spans before the sandbox may freeze.
    ///
    /// The layer does so at the end of each request, and queues, streams and follow-ups at the end of each batch. Call
    /// it yourself at the end of an invocation that uses the engine directly, through [`run`](Self::run) or
    /// [`reconcile`](Self::reconcile): otherwise the collected metrics and spans wait for the next invocation, or are
    /// lost.
    pub fn flush(&self) {
        self.parts.metrics.flush();
        span::flush();
    }

    /// The metrics sink that the engine reports to.
    pub fn metrics(&self) -> &dyn Metrics {
        &*self.parts.metrics
    }

    /// Whether more than the margin is left before this deadline, so that a run could still begin.
    #[must_use]
    pub fn has_time(&self, deadline: EpochMs) -> bool {
        deadline.since(self.now()) > self.margin(deadline)
    }
}

/// When the call's time under its claim is over: at the end of the lease, or at the function's deadline.
fn held_until(record: &Record, deadline: EpochMs) -> EpochMs {
    record.holder().map_or(deadline, |holder| holder.lease.min(deadline))
}

/// Runs until the attempt must stop. The error is a panic or the time limit, after which the outcome is unknown.
pub(crate) async fn until_deadline<E: TransactionalEffect, V, F, R>(attempt: &Attempt<E>, run: F) -> Result<V, Reason>
where
    F: FnOnce(Attempt<E>) -> R,
    R: Future<Output = V>,
{
    let handle = attempt.clone();
    // Boxed: the future may be large, and would otherwise be moved with every future around it.
    let run = AssertUnwindSafe(Box::pin(async move { run(handle).await })).catch_unwind();
    match clock::timeout(&*attempt.clock, attempt.remaining(), run).await {
        Ok(Ok(verdict)) => Ok(verdict),
        Ok(Err(_panic)) => Err("the run panicked".into()),
        Err(_elapsed) => Err("the run was stopped: its time was over".into()),
    }
}

#[cfg(test)]
#[cfg(feature = "system")]
pub(crate) mod tests;
