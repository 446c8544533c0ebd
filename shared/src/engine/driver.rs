//! The driver of the state machine: performs its actions and reports events as spans, metrics and logs.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};

use super::outcome::Stored;
use super::{
    Answer, Answered, Attempt, Effects, Engine, Error, Evidence, Fenced, Operation, Outcome, Reason, Resolver,
    UnreadableAnswer, Verdict, clock, held_until, response_codec, until_deadline,
};
use crate::backoff::backoff;
use crate::protocol::machine::{
    Action, EffectRefusal, End, Event, Failure, FencedClaim, Input, Machine, Proof, Purpose, Ran, Reply,
};
use crate::protocol::{Condition, EpochMs, Record, Resolution, Response, Settled, Write};
use crate::store::{ItemOf, MAX_RECORD_RESPONSE_BYTES, Store, StoreError, Written};
use crate::telemetry::metrics::Metric;
use crate::telemetry::span::Span;

/// A call in progress: its machine, and what the driver needs to perform the machine's actions.
pub(crate) struct Driver<S: Store> {
    engine: Engine<S>,
    machine: Machine,
    operation: Operation,
    deadline: EpochMs,
    /// The effects that the last run added.
    effects: Effects<S::Effect>,
    /// The short form of the last answer, if the answer is long.
    short: Option<Vec<u8>>,
    /// The reason that the last run or the last evidence left the outcome unknown.
    reason: Option<Reason>,
    /// The last error of the store.
    error: Option<StoreError>,
    waiting: Option<Waiting>,
    /// Whether the claim was taken over. The call then counts as fenced, whatever its outcome.
    is_fenced: bool,
}

/// A duplicate's wait for the running call.
struct Waiting {
    since: EpochMs,
    pauses: ExponentialBackoff,
}

impl<S: Store> Driver<S> {
    pub(crate) fn new(engine: &Engine<S>, machine: Machine, operation: Operation, deadline: EpochMs) -> Self {
        let (effects, engine) = (Effects::none(), engine.clone());
        Self {
            engine,
            machine,
            operation,
            deadline,
            effects,
            short: None,
            reason: None,
            error: None,
            waiting: None,
            is_fenced: false,
        }
    }

    pub(crate) const fn engine(&self) -> &Engine<S> {
        &self.engine
    }

    pub(crate) const fn machine(&self) -> &Machine {
        &self.machine
    }

    // --- actions

    /// Performs actions until the next one is not the driver's: run, resolve, or done.
    pub(crate) async fn advance(&mut self) -> Result<(), Error> {
        loop {
            let time_limit = self.time_limit();
            let Self { engine, machine, .. } = self;
            let input = match machine.poll() {
                Action::Recall(id) => Input::Recalled(engine.recall(id)),
                Action::LookUp(id) => read(engine.parts.store.look_up(id).await, &mut self.error),
                Action::Wait { until } => {
                    let now = engine.now();
                    let waiting = self.waiting.get_or_insert_with(|| Waiting { since: now, pauses: pauses() });
                    let pause = waiting.pauses.next().unwrap_or_default();
                    engine.parts.clock.sleep(pause.min(until.since(now))).await;
                    Input::Elapsed
                }
                Action::Read(id) => read(engine.parts.store.read(id).await, &mut self.error),
                Action::ReadParts(record, parts) => {
                    let reading = engine.parts.store.read_parts(record, parts);
                    match Span::step("read parts").linked(record.trace).of(reading).await {
                        Ok(whole) => Input::Parts(whole),
                        Err(error) => {
                            self.error = Some(error);
                            Input::NotRead
                        }
                    }
                }
                Action::Write { write, purpose: Purpose::GiveUp } => {
                    engine.give_up(write, time_limit).await;
                    Input::Written(Reply::NotApplied)
                }
                Action::Write { write, purpose } => {
                    let short = self.short.take_if(|_| purpose.settles());
                    let effects = match (purpose.carries_effects(), &short) {
                        (true, None) => std::mem::take(&mut self.effects.effects),
                        (true, Some(_)) => self.effects.effects.clone(),
                        (false, _) => Vec::new(),
                    };
                    match (engine.write(write, purpose, effects, time_limit).await, short) {
                        (Err(StoreError::Rejected(error)), Some(short)) => {
                            self.error = Some(StoreError::Rejected(error));
                            Input::Rejected(short)
                        }
                        (written, _) => {
                            let reply = engine.read_reply(written, write, purpose, &self.effects, &mut self.error);
                            Input::Written(reply)
                        }
                    }
                }
                Action::Draw => Input::Token(engine.identity()?.0),
                Action::Run(_) | Action::Resolve(_) | Action::Done(_) => break,
            };
            self.handle(input).await;
        }
        Ok(())
    }

    /// The time at which the call must have ended.
    fn time_limit(&self) -> EpochMs {
        self.machine.held().map_or(self.deadline, |held| held_until(held, self.deadline))
    }

    /// Passes an input to the machine and reports the resulting events.
    pub(crate) async fn handle(&mut self, input: Input) {
        let now = self.engine.now();
        if let Some(found) = input.found() {
            self.engine.parts.running.saw(found, now);
        }
        self.machine.handle(input, now);
        if !matches!(self.machine.poll(), Action::Wait { .. } | Action::Read(_)) {
            self.end_waiting();
        }
        for event in self.machine.take_events() {
            self.report(event, now).await;
        }
    }

    /// Runs the attempt that the machine is waiting for. Returns the answer, if the verdict has one.
    pub(crate) async fn run<T, F, R>(&mut self, attempt: &Attempt<S::Effect>, run: F) -> Option<T>
    where
        T: Answer,
        F: FnOnce(Attempt<S::Effect>) -> R,
        R: Future<Output = Verdict<T>>,
    {
        let verdict = Span::step("run").of(until_deadline(attempt, run)).await;
        self.effects = attempt.take_guarded_effects();
        let (ran, answer) = match verdict {
            Ok(Verdict::Success(answer)) => (Ran::Settled(Resolution::Success, self.settled(&answer)), Some(answer)),
            Ok(Verdict::Failed(answer)) => (Ran::Settled(Resolution::Failed, self.settled(&answer)), Some(answer)),
            Ok(Verdict::NotExecuted(answer)) => (Ran::NotExecuted, Some(answer)),
            Ok(Verdict::Unknown(reason)) | Err(reason) => {
                self.reason = Some(reason);
                (Ran::Unknown, None)
            }
        };
        self.end_run(ran).await;
        answer
    }

    /// Ends the run with a verdict.
    pub(super) async fn end_run(&mut self, ran: Ran) {
        if matches!(ran, Ran::NotExecuted | Ran::NotBegun) && self.machine.follows_uncertain() {
            self.reason = Some("this attempt executed nothing, but an earlier one may have".into());
        }
        self.log_unknown();
        self.handle(Input::Ran(ran)).await;
    }

    /// Ends the run with an answer and effects.
    pub(super) async fn end_run_with<T: Answer>(
        &mut self,
        resolution: Resolution,
        answer: &T,
        effects: Vec<S::Effect>,
    ) {
        self.effects = Effects::of(effects);
        let ran = Ran::Settled(resolution, self.settled(answer));
        self.handle(Input::Ran(ran)).await;
    }

    /// Ends the run with an unknown outcome.
    pub(super) async fn end_run_unknown(&mut self, reason: Reason) {
        self.reason = Some(reason);
        self.end_run(Ran::Unknown).await;
    }

    /// Calls the resolver for the record that the machine is waiting for. Returns the answer, if there is evidence for
    /// one.
    pub(crate) async fn resolve<T: Answer>(
        &mut self,
        record: Record,
        resolver: &impl Resolver<S::Effect, T>,
    ) -> Option<T> {
        let attempt = self.engine.attempt(&record, record.trace, self.deadline);
        let resolving = until_deadline(&attempt, |attempt| resolver.resolve(&record, attempt));
        let evidence = Span::step("reconcile").linked(record.trace).of(resolving).await;
        self.effects = attempt.take_guarded_effects();
        let (proof, answer) = match evidence {
            Ok(Evidence::Happened(answer)) => {
                (Proof::Settled(Resolution::Success, self.settled(&answer)), Some(answer))
            }
            Ok(Evidence::Refused(answer)) => (Proof::Settled(Resolution::Failed, self.settled(&answer)), Some(answer)),
            Ok(Evidence::Prevented) => match self.engine.transaction() {
                Ok(transaction) => (Proof::Prevented(transaction), None),
                Err(error) => self.unclear(error.into()),
            },
            Ok(Evidence::Unclear(reason)) | Err(reason) => self.unclear(reason),
        };
        self.log_unknown();
        self.handle(Input::Evidence(proof)).await;
        answer
    }

    fn unclear<T>(&mut self, reason: Reason) -> (Proof, Option<T>) {
        self.reason = Some(reason);
        (Proof::Unclear, None)
    }

    /// The answer as the settled record keeps it, limited to the bytes that fit next to the effects.
    fn settled<T: Answer>(&mut self, answer: &T) -> Settled {
        let settled = self.operation.settled(answer, self.engine.now(), S::max_response_bytes(&self.effects.effects));
        let is_long = matches!(&settled.response, Response::Whole(whole) if whole.len() > MAX_RECORD_RESPONSE_BYTES);
        self.short = is_long.then(|| response_codec::pack(answer, 0));
        settled
    }

    /// A handle to the attempt that the machine wants to run.
    pub(crate) fn attempt(&self) -> Option<Attempt<S::Effect>> {
        let Action::Run(record) = self.machine.poll() else { return None };
        Some(self.engine.attempt(record, self.machine.request().trace, self.deadline))
    }

    // --- the end

    /// The outcome. `answer` is this call's own, if it has one.
    pub(crate) fn outcome<T: Answer>(self, answer: Option<T>) -> Result<Outcome<T>, Error> {
        self.outcome_read(answer, |resolution, record| Answered::stored(resolution, record)?.read())
    }

    /// The outcome, with the answer as it is stored.
    pub(super) fn stored_outcome(self) -> Result<Outcome<Stored>, Error> {
        self.outcome_read(None, Answered::stored)
    }

    fn outcome_read<T>(
        mut self,
        answer: Option<T>,
        read: impl FnOnce(Resolution, &Record) -> Result<Answered<T>, Error>,
    ) -> Result<Outcome<T>, Error> {
        Ok(match (self.end(), answer) {
            (End::Executed(record, resolution), Some(answer)) => {
                Outcome::Executed(Answered::new(resolution, answer, &record))
            }
            (End::Executed(record, resolution), None) => Outcome::Executed(read(resolution, &record)?),
            (End::Replayed(record, resolution) | End::Recalled(record, resolution), _) => {
                Outcome::Replayed(read(resolution, &record)?)
            }
            (End::NotExecuted, Some(answer)) => Outcome::NotExecuted(answer),
            (End::NotExecuted, None) => return Err(Error::NothingHappened("nothing was executed".into())),
            (End::InProgress(retry_after), _) => Outcome::InProgress { retry_after },
            // One of the concurrent calls has made progress, so a retry finds a settled or running call.
            (End::Contended | End::Reopened | End::NotOpen, _) => {
                Outcome::InProgress { retry_after: CONTENDED_RETRY_AFTER }
            }
            (End::Mismatch, _) => Outcome::Mismatch,
            (End::Conflict, _) => Outcome::Conflict,
            (End::Unknown(transaction), _) => {
                let age = transaction.made().map(|made| self.engine.now().since(made)).unwrap_or_default();
                Outcome::Unknown { transaction, retry_after: unknown_retry_after(age) }
            }
            (End::Failed(failure), _) => return Err(self.failed(failure)),
        })
    }

    /// How the call ended. Caches a settled record, and counts the end.
    pub(crate) fn end(&mut self) -> End {
        // Every caller has advanced to the end.
        let Action::Done(end) = self.machine.poll() else { return End::Contended };
        let end = end.clone();
        if !matches!(end, End::InProgress(_)) {
            self.engine.parts.running.forget(&self.machine.request().id);
        }
        match &end {
            End::Executed(record, _) => {
                self.engine.parts.cache.remember(record);
                self.count(Metric::Executed);
            }
            End::Replayed(record, _) => {
                self.engine.parts.observer.replayed(record);
                self.engine.parts.cache.remember(record);
                Span::step("replay").linked(record.trace).end();
                self.count_unless_fenced(Metric::Replayed);
            }
            End::Recalled(record, _) => {
                self.engine.parts.observer.replayed(record);
                Span::step("replay").linked(record.trace).end();
                self.count(Metric::Replayed);
                self.count(Metric::ReplayedLocal);
            }
            End::InProgress(_) => self.count_unless_fenced(Metric::InProgress),
            End::Mismatch => self.count(Metric::Mismatch),
            End::NotExecuted
            | End::Contended
            | End::Conflict
            | End::Unknown(_)
            | End::Reopened
            | End::NotOpen
            | End::Failed(_) => {}
        }
        end
    }

    /// Ends a claim or a lock under which nothing was executed.
    pub(crate) fn released(mut self) -> Result<(), Error> {
        let End::Failed(failure) = self.end() else { return Ok(()) };
        Err(self.failed(failure))
    }

    /// The error behind a failure.
    pub(crate) fn failed(&mut self, failure: Failure) -> Error {
        let source = || StoreError::Uncertain("the store gave no answer".into());
        match failure {
            Failure::StoreUnavailable => Error::StoreUnavailable(self.error.take().unwrap_or_else(source)),
            Failure::DeadlineAtHand => {
                let whole_ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
                let left_ms = whole_ms(self.deadline.since(self.engine.now()));
                Error::DeadlineAtHand { left_ms, margin_ms: whole_ms(self.engine.margin(self.deadline)) }
            }
            Failure::NotRecorded(transaction) => {
                Error::NotRecorded { transaction, source: self.error.take().unwrap_or_else(source) }
            }
            Failure::EffectRefused(index) => Error::EffectRefused { index },
            Failure::NothingHappened => {
                Error::NothingHappened(self.reason.take().unwrap_or_else(|| "it ended without a verdict".into()))
            }
            Failure::Outlived => Error::NothingHappened("the call took as long as its records are kept".into()),
            Failure::AnswerIncomplete(transaction) => {
                Error::UnreadableAnswer { transaction, source: UnreadableAnswer::Incomplete }
            }
        }
    }

    // --- reports

    async fn report(&mut self, event: Event, now: EpochMs) {
        match event {
            Event::TookOver => self.count(Metric::Takeover),
            Event::EnteredUnknown => self.count(Metric::UnknownEntered),
            Event::Resolved(Resolution::Success) => self.count(Metric::UnknownHappened),
            Event::Resolved(Resolution::Failed) => self.count(Metric::UnknownRefused),
            Event::Prevented => self.count(Metric::UnknownPrevented),
            Event::NotResolved => self.count(Metric::UnknownLeft),
            Event::ReleasedTooLate => self.log_fenced(),
            Event::Fenced(fenced) => {
                self.is_fenced = true;
                self.log_fenced();
                let FencedClaim { late, found, resolution } = &*fenced;
                let fenced = Fenced { late, found: found.as_ref(), said: *resolution, at: now };
                self.engine.parts.observer.fenced(fenced).await;
            }
            Event::CommitUnanswered => {
                self.count(Metric::CommitFailed);
                let error = self.error.as_ref().map(|error| error as &dyn std::error::Error);
                tracing::error!(record = self.record_name(), error, "could not commit");
            }
            Event::AnswerShortened => {
                let error = self.error.take();
                let error = error.as_ref().map(|error| error as &dyn std::error::Error);
                tracing::warn!(record = self.record_name(), error, "the answer is recorded in its short form");
            }
            Event::EffectRefused(index) => {
                self.reason = Some(format!("the condition of effect {index} did not hold").into());
                self.log_unknown();
            }
            Event::LeaseIgnored(ahead) => tracing::warn!(
                lock = &*self.machine.request().operation,
                ahead_s = ahead.as_secs(),
                "a clock that is ahead gave a lease that this lock does not give; it is taken over",
            ),
        }
    }

    fn count(&self, metric: Metric) {
        self.engine.count(metric, &self.machine.request().operation);
    }

    fn count_unless_fenced(&self, metric: Metric) {
        if !self.is_fenced {
            self.count(metric);
        }
    }

    fn log_fenced(&self) {
        self.count(Metric::Fenced);
        tracing::warn!(record = self.record_name(), "a late owner was fenced");
    }

    /// Logs the reason that the outcome of a claim is unknown. Without a claim nothing happened.
    fn log_unknown(&self) {
        let (Some(reason), Some(record)) = (&self.reason, self.machine.held()) else { return };
        tracing::warn!(
            record = self.record_name(),
            transaction = %record.transaction,
            attempt = record.attempt,
            %reason,
            "the outcome is not known",
        );
    }

    fn record_name(&self) -> &str {
        self.machine.request().id.name()
    }

    fn end_waiting(&mut self) {
        if let Some(Waiting { since, .. }) = self.waiting.take() {
            self.engine.took(Metric::WaitMs, &self.machine.request().operation, since);
        }
    }
}

/// The machine's input for the result of a read. An error is kept for the end.
fn read(found: Result<Option<Record>, StoreError>, unanswered: &mut Option<StoreError>) -> Input {
    match found {
        Ok(found) => Input::Read(found.map(Box::new)),
        Err(error) => {
            *unanswered = Some(error);
            Input::NotRead
        }
    }
}

impl<S: Store> Engine<S> {
    /// Writes, and retries while concurrent writes interfere: until a margin before the deadline if the call can
    /// continue only then, otherwise for half the margin.
    async fn write(
        &self,
        write: &Write,
        purpose: Purpose,
        effects: Vec<S::Effect>,
        deadline: EpochMs,
    ) -> Result<Written<ItemOf<S>>, StoreError> {
        let (step, metric) = match purpose.is_before_the_run() {
            true => (Span::step("claim"), Metric::ClaimMs),
            false => (Span::step("commit"), Metric::CommitMs),
        };
        let deadline = match purpose {
            Purpose::Claim | Purpose::Restart | Purpose::Commit | Purpose::Settle | Purpose::SettleAlone => deadline,
            Purpose::Mark
            | Purpose::Renew
            | Purpose::Release
            | Purpose::Reopen
            | Purpose::Abandon
            | Purpose::GiveUp => EpochMs(0),
        };
        let started = self.now();
        let written = step.of(self.parts.store.write_within(write, effects, self.retry_budget(deadline))).await;
        self.took(metric, &write.record.operation, started);
        written
    }

    /// The store's result, as far as the machine needs it.
    fn read_reply(
        &self,
        written: Result<Written<ItemOf<S>>, StoreError>,
        write: &Write,
        purpose: Purpose,
        effects: &Effects<S::Effect>,
        unanswered: &mut Option<StoreError>,
    ) -> Reply {
        let operation = &write.record.operation;
        match written {
            Ok(Written::Applied) => Reply::Applied,
            Ok(Written::Recognised) => {
                self.count(Metric::OwnWriteRecognised, operation);
                Reply::Recognised
            }
            Ok(Written::Refused(found)) => {
                if matches!(write.condition, Condition::Unchanged(_)) {
                    self.count(Metric::Conflict, operation);
                }
                Reply::Refused(found)
            }
            Ok(Written::EffectRefused(refused)) => {
                // If something ran under a claim, a refusal proves nothing about its external effects.
                let refusal =
                    if purpose == Purpose::Settle { effects.read(&refused) } else { EffectRefusal::Unexpected };
                match refusal {
                    EffectRefusal::AppliedBefore => self.count(Metric::DuplicateSkipped, operation),
                    EffectRefusal::NotYet => self.count(Metric::GapHeld, operation),
                    EffectRefusal::Conflict => self.count(Metric::SequenceConflict, operation),
                    EffectRefusal::Unexpected => {}
                }
                Reply::EffectRefused(refused.index, refusal)
            }
            Err(error) => {
                self.count(Metric::StoreError, operation);
                let reply = match &error {
                    StoreError::Uncertain(_) => Reply::Lost,
                    StoreError::NotApplied(_) | StoreError::Rejected(_) | StoreError::Unreadable { .. } => {
                        Reply::NotApplied
                    }
                };
                *unanswered = Some(error);
                reply
            }
        }
    }

    /// Tries to give up a claim, on which no caller depends: for as long as there is time to answer, or for half the
    /// margin if that time is over.
    async fn give_up(&self, write: &Write, deadline: EpochMs) {
        let retry_budget = self.retry_budget(deadline);
        let writing = self.parts.store.write_within(write, Vec::new(), retry_budget);
        if !matches!(clock::timeout(&*self.parts.clock, retry_budget, writing).await, Ok(Ok(_))) {
            tracing::warn!(
                record = write.record.id.name(),
                transaction = %write.record.transaction,
                "a claim could not be given up, and blocks its key until its lease is over",
            );
        }
    }
}

/// When a caller may retry an operation of this age whose outcome is unknown. The first retry usually finds evidence,
/// so it comes soon; if other retries did not, the next ones are rarer.
fn unknown_retry_after(age: Duration) -> Duration {
    (age / 4).clamp(Duration::from_secs(1), Duration::from_secs(30))
}

/// When a caller may retry after concurrent calls were faster in every round.
const CONTENDED_RETRY_AFTER: Duration = Duration::from_secs(1);

/// The pauses of a duplicate between its reads.
fn pauses() -> ExponentialBackoff {
    backoff(50, 500).with_factor(1.5).build()
}
