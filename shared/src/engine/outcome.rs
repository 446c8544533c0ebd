//! The verdict that a run returns, and the outcome that a caller gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, NoEntropy, UnreadableAnswer, response_codec};
use crate::protocol::{EpochMs, InvocationId, Record, Resolution, Response, Trace, TransactionId};
use crate::store::{BoxError, StoreError};

/// The verdict of a run on its operation.
#[derive(Clone, Debug)]
pub enum Verdict<T> {
    /// It happened. Final: the answer is recorded together with the effects, and replayed.
    Success(T),
    /// It did not happen and will not: a business refusal. Final: the answer is recorded and replayed.
    Failed(T),
    /// Nothing was executed. The claim is released, and a retry runs, even with a corrected request.
    NotExecuted(T),
    /// It is unknown whether it happened: for example, a request to another system got no reply.
    Unknown(Reason),
}

/// The reason that an outcome is unknown: any error, or a text.
#[derive(Clone)]
pub struct Reason(Arc<dyn std::error::Error + Send + Sync>);

impl<E: Into<BoxError>> From<E> for Reason {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl Reason {
    /// The underlying error.
    #[must_use]
    pub fn error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
        &*self.0
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The outcome of a call for its caller. None of these is an error.
///
/// Exhaustive on purpose: a caller must answer each of them differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// This call settled the operation, and its answer is recorded. Either it ran, or it found evidence about an
    /// earlier attempt, as [`run_or_reconcile`](super::Engine::run_or_reconcile) does, and nothing ran.
    Executed(Answered<T>),
    /// An earlier call ran; this is its answer.
    Replayed(Answered<T>),
    /// This call ran but executed nothing; nothing is recorded.
    NotExecuted(T),
    /// Another call is running the operation.
    InProgress {
        /// The rest of that call's lease.
        retry_after: Duration,
    },
    /// The key was already used for another request, which is not affected.
    Mismatch,
    /// In single-write mode: the condition of an effect shows that its subject, a sequence number for example, was
    /// already used for something else ([`EffectRefusal::Conflict`](super::EffectRefusal::Conflict)). Nothing was
    /// written.
    Conflict,
    /// It is unknown whether the operation happened. It does not run again without evidence.
    Unknown {
        /// The id by which other systems know the operation.
        transaction: TransactionId,
        /// When to retry.
        retry_after: Duration,
    },
}

impl<T> Outcome<T> {
    /// Returns the answer, whichever call ran and whatever its verdict; every other outcome becomes an error.
    ///
    /// A recorded failure ([`Verdict::Failed`]) is an answer, too, and so is the answer of [`Verdict::NotExecuted`],
    /// which is not recorded: if a caller must retry after it, the answer must show that, or the caller must match the
    /// [`Outcome`].
    ///
    /// # Errors
    /// [`NoAnswer`] if there is none (yet).
    pub fn into_result(self) -> Result<T, NoAnswer> {
        match self {
            Self::Executed(answered) | Self::Replayed(answered) => Ok(answered.answer),
            Self::NotExecuted(answer) => Ok(answer),
            Self::InProgress { retry_after } => Err(NoAnswer::InProgress { retry_after }),
            Self::Mismatch => Err(NoAnswer::Mismatch),
            Self::Conflict => Err(NoAnswer::Conflict),
            Self::Unknown { transaction, retry_after } => Err(NoAnswer::Unknown { transaction, retry_after }),
        }
    }
}

/// The reason that an [`Outcome`] has no answer.
///
/// Exhaustive on purpose, like [`Outcome`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// Another call is running the operation.
    #[error("another call is running the operation; retry after {retry_after:?}")]
    InProgress {
        /// The rest of that call's lease.
        retry_after: Duration,
    },
    /// The key was already used for another request.
    #[error("the key was used for another request")]
    Mismatch,
    /// The subject of an effect, a sequence number for example, was already used for something else.
    #[error("its number was used for something else")]
    Conflict,
    /// It is unknown whether the operation happened.
    #[error("it is unknown whether transaction {transaction} happened; retry after {retry_after:?}")]
    Unknown {
        /// The id by which other systems know the operation.
        transaction: TransactionId,
        /// When to retry.
        retry_after: Duration,
    },
}

/// A recorded answer, with the attempt and the transaction that it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// Success or failure.
    pub resolution: Resolution,
    /// The answer.
    pub answer: T,
    /// The id under which other systems know the operation.
    pub transaction: TransactionId,
    /// The number of the attempt that was settled.
    pub attempt: u64,
    /// When the first attempt began.
    pub created: EpochMs,
    /// The invocation in which the first attempt ran, if known: the `requestId` of its log lines.
    pub original_request: Option<InvocationId>,
    /// The trace of that invocation, if known.
    pub original_trace: Option<Trace>,
}

impl<T> Answered<T> {
    pub(super) fn new(resolution: Resolution, answer: T, record: &Record) -> Self {
        let original_request = record.history.entries().first().and_then(|step| step.request);
        Self {
            resolution,
            answer,
            transaction: record.transaction,
            attempt: record.attempt,
            created: record.created,
            original_request,
            original_trace: record.trace,
        }
    }

    /// Converts the answer with `read` and keeps the rest.
    pub(crate) fn try_map<U, E>(self, read: impl FnOnce(T) -> Result<U, E>) -> Result<Answered<U>, E> {
        let Self { resolution, answer, transaction, attempt, created, original_request, original_trace } = self;
        let answer = read(answer)?;
        Ok(Answered { resolution, answer, transaction, attempt, created, original_request, original_trace })
    }
}

/// The reason that there is no outcome: the call could not be executed, or its outcome is unknown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store could not be reached or refused the claim. Nothing ran (guarantee G10).
    #[error("the store of idempotency records is not available; nothing ran")]
    StoreUnavailable(#[source] StoreError),
    /// Too little time was left before the function's deadline. Nothing ran.
    #[error(
        "nothing ran, because the function has {left_ms} ms left and needs more than {margin_ms} ms, the engine's margin \
         for recording an outcome: give the function a longer time-out"
    )]
    DeadlineAtHand {
        /// The time until the function's deadline, in milliseconds.
        left_ms: u64,
        /// The engine's [margin](super::EngineBuilder::margin), in milliseconds.
        margin_ms: u64,
    },
    /// There were no random bytes for an owner token. Nothing ran.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// It ran, but its outcome could not be recorded. The claim ends with its lease, and the outcome is then uncertain.
    #[error("it ran as transaction {transaction}, but its outcome could not be recorded")]
    NotRecorded {
        /// The id by which other systems know the operation.
        transaction: TransactionId,
        /// The store's error.
        #[source]
        source: StoreError,
    },
    /// In single-write mode: the condition of an effect did not hold. Nothing was written.
    #[error("the condition of effect {index} did not hold; nothing was written")]
    EffectRefused {
        /// The index of the effect, in the order in which the run added them.
        index: usize,
    },
    /// In single-write mode: the run ended without a verdict, or the call took as long as its records are
    /// [kept](super::Operation::retention). Nothing was written.
    #[error("the run ended without a verdict, nothing was written: {0}")]
    NothingHappened(Reason),
    /// It is settled, but the recorded answer cannot be returned. It does not run again because of that.
    #[error("it is settled as transaction {transaction}, but its answer cannot be given again")]
    UnreadableAnswer {
        /// The id by which other systems know the operation.
        transaction: TransactionId,
        /// The reason that the answer cannot be read.
        #[source]
        source: UnreadableAnswer,
    },
}

/// The meaning of an [`Error`] for its caller.
///
/// Exhaustive on purpose: these are all the cases that a caller can act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Nothing ran, or nothing that ran took effect. Retry later.
    NothingRan,
    /// It ran, and it is unknown whether it took effect. Retry with the same key, never with another one: after the end
    /// of the lease, the retry reconciles.
    OutcomeUnknown,
    /// It is settled, but its answer cannot be returned. A retry is safe and gives the same error; look the operation
    /// up by its transaction id.
    Settled,
}

impl Error {
    /// Returns whether nothing ran, the outcome is unknown, or the operation is settled.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::StoreUnavailable(_)
            | Self::DeadlineAtHand { .. }
            | Self::NoEntropy(_)
            | Self::EffectRefused { .. }
            | Self::NothingHappened(_) => ErrorKind::NothingRan,
            Self::NotRecorded { .. } => ErrorKind::OutcomeUnknown,
            Self::UnreadableAnswer { .. } => ErrorKind::Settled,
        }
    }
}

/// An answer as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored(pub(super) Vec<u8>);

impl Outcome<Stored> {
    /// Deserializes the recorded answer.
    ///
    /// # Errors
    /// [`Error::UnreadableAnswer`] if it is too long, incomplete or of another form.
    pub fn read<T: Answer>(self) -> Result<Outcome<T>, Error> {
        Ok(match self {
            Self::Executed(answered) => Outcome::Executed(answered.read()?),
            Self::Replayed(answered) => Outcome::Replayed(answered.read()?),
            Self::NotExecuted(stored) => Outcome::NotExecuted(
                response_codec::unpack(&stored.0)
                    .map_err(|error| Error::NothingHappened(BoxError::from(error).into()))?,
            ),
            Self::InProgress { retry_after } => Outcome::InProgress { retry_after },
            Self::Mismatch => Outcome::Mismatch,
            Self::Conflict => Outcome::Conflict,
            Self::Unknown { transaction, retry_after } => Outcome::Unknown { transaction, retry_after },
        })
    }
}

impl Answered<Stored> {
    /// The answer of a settled record.
    pub(super) fn stored(resolution: Resolution, record: &Record) -> Result<Self, Error> {
        match record.settled().map(|(_, settled)| &settled.response) {
            Some(Response::Whole(bytes)) => Ok(Self::new(resolution, Stored(bytes.clone()), record)),
            Some(Response::Parts(_)) | None => {
                Err(Error::UnreadableAnswer { transaction: record.transaction, source: UnreadableAnswer::Incomplete })
            }
        }
    }

    pub(super) fn read<T: Answer>(self) -> Result<Answered<T>, Error> {
        let transaction = self.transaction;
        self.try_map(|stored| {
            response_codec::unpack(&stored.0).map_err(|source| Error::UnreadableAnswer { transaction, source })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::EpochMs;

    #[test]
    fn every_error_tells_its_caller_what_to_do() {
        let transaction = TransactionId::new(EpochMs(1), [7; 10]);
        let lost = || StoreError::Uncertain("lost".into());
        let errors = [
            (Error::StoreUnavailable(lost()), ErrorKind::NothingRan),
            (Error::DeadlineAtHand { left_ms: 1, margin_ms: 2 }, ErrorKind::NothingRan),
            (Error::NoEntropy(NoEntropy("none".into())), ErrorKind::NothingRan),
            (Error::EffectRefused { index: 0 }, ErrorKind::NothingRan),
            (Error::NothingHappened("a panic".into()), ErrorKind::NothingRan),
            (Error::NotRecorded { transaction, source: lost() }, ErrorKind::OutcomeUnknown),
            (Error::UnreadableAnswer { transaction, source: UnreadableAnswer::Incomplete }, ErrorKind::Settled),
        ];
        for (error, kind) in errors {
            assert_eq!(error.kind(), kind, "{error}");
        }
    }
}
