//! How a message of a queue or a record of a stream runs: as one call, with one line in the log.

use std::error::Error as StdError;
use std::time::Duration;

use super::{Attempt, Call, Engine, Error, IntoVerdict, OnFailure, Outcome, timed};
use crate::protocol::EpochMs;
use crate::reconcile::AnyResolver;
use crate::store::Store;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;

/// The settings under which the messages or records of one batch run.
pub(crate) struct Consumer<'c, S: Store> {
    pub(crate) engine: &'c Engine<S>,
    pub(crate) mode: Mode,
    pub(crate) resolver: Option<&'c AnyResolver<S::Effect, ()>>,
    pub(crate) on_failure: OnFailure,
    /// The function's.
    pub(crate) deadline: EpochMs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Claim,
    SingleWrite,
}

/// The call of a message or a record, and what its handler gets; or why it does not run.
pub(crate) type Ready<I> = Result<(Call, I), Box<LogSummary>>;

/// Makes an error the reason for which a message or a record does not run.
pub(crate) fn refused<E: StdError>(outcome: LogOutcome) -> impl Fn(E) -> Box<LogSummary> {
    move |reason| Box::new(LogSummary::failed(outcome, &reason))
}

/// What becomes of a message or a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// It is settled, and is not delivered again.
    Done,
    /// The same, and it had been settled before.
    Duplicate,
    /// It is delivered again.
    Returned,
    /// It is delivered again, ideally after this time.
    InProgress(Duration),
}

impl Settlement {
    pub(crate) const fn is_returned(self) -> bool {
        match self {
            Self::Done | Self::Duplicate => false,
            Self::Returned | Self::InProgress(_) => true,
        }
    }
}

impl<S: Store> Consumer<'_, S> {
    /// Runs a message or a record, unless there is no time for it or a reason against it. `line` says which it is.
    pub(crate) async fn handle<I: Clone, R: Future<Output: IntoVerdict>>(
        &self,
        ready: &Ready<I>,
        handler: impl Fn(Attempt<S::Effect>, I) -> R,
        line: RequestLog<'_>,
    ) -> Settlement {
        let summary = match ready {
            _ if !self.engine.has_time(self.deadline) => LogSummary::new(LogOutcome::NoTimeToBegin),
            Err(reason) => LogSummary::clone(reason),
            Ok((call, item)) => return self.run(call, |attempt| handler(attempt, item.clone()), line).await,
        };
        let settlement = match summary.outcome {
            // It is only a test of the service that sends the messages, and is deleted.
            LogOutcome::Test => Settlement::Done,
            _ => Settlement::Returned,
        };
        RequestLog { returned: Some(settlement.is_returned()), summary, ..line }.write();
        settlement
    }

    async fn run<R: Future<Output: IntoVerdict>>(
        &self,
        call: &Call,
        handler: impl Fn(Attempt<S::Effect>) -> R,
        line: RequestLog<'_>,
    ) -> Settlement {
        let (engine, started) = (self.engine, self.engine.now());
        let run = |attempt| {
            let handling = handler(attempt);
            async { handling.await.into_verdict() }
        };
        let span = Span::message(line.operation).linked(call.trace);
        // A batch holds many of these futures, and one of the two is twice as large as the other.
        let (outcome, timings) = match (self.mode, self.resolver) {
            (Mode::Claim, None) => span.of(timed(engine.run(call, run))).await,
            (Mode::Claim, Some(resolver)) => span.of(timed(engine.run_or_reconcile(call, run, resolver))).await,
            (Mode::SingleWrite, _) => span.of(timed(engine.run_single_write(call, run))).await,
        };
        let settlement = self.settlement(&outcome);
        let (record, returned) = (call.record_id(), Some(settlement.is_returned()));
        let (summary, total) = (LogSummary::of(&outcome, engine.now()), engine.now().since(started));
        RequestLog { record: Some(record.name()), returned, summary, timings, total, ..line }.write();
        settlement
    }

    const fn settlement(&self, outcome: &Result<Outcome<()>, Error>) -> Settlement {
        match outcome {
            Ok(Outcome::Executed(answered)) if self.on_failure.is_done(answered.resolution) => Settlement::Done,
            Ok(Outcome::Replayed(answered)) if self.on_failure.is_done(answered.resolution) => Settlement::Duplicate,
            Ok(Outcome::InProgress { retry_after }) => Settlement::InProgress(*retry_after),
            Ok(
                Outcome::Executed(_)
                | Outcome::Replayed(_)
                | Outcome::NotExecuted(())
                | Outcome::Mismatch
                | Outcome::Conflict
                | Outcome::Unknown { .. },
            )
            | Err(_) => Settlement::Returned,
        }
    }
}
