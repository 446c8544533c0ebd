//! What a run says of itself, and what a caller is told.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Answer, NoEntropy, UnreadableAnswer, response_codec};
use crate::protocol::{InvocationId, Record, Resolution, Response, Trace, TransactionId};
use crate::store::{BoxError, StoreError};

/// What a run says of itself.
#[derive(Clone, Debug)]
pub enum Verdict<T> {
    /// It happened. Final: recorded with its effects, and replayed.
    Success(T),
    /// It did not happen and will not: a business refusal. Final: recorded and replayed.
    Failed(T),
    /// Nothing was executed. The claim is released, and a retry runs, even with a corrected request.
    NotExecuted(T),
    /// Whether it happened is not known: a call to another system went out and no answer came back.
    Unknown(Reason),
}

/// Why an outcome is not known: any error, or a text.
#[derive(Clone)]
pub struct Reason(Arc<dyn std::error::Error + Send + Sync>);

impl<E: Into<BoxError>> From<E> for Reason {
    fn from(error: E) -> Self {
        Self(Arc::from(error.into()))
    }
}

impl Reason {
    /// The error behind it.
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

/// What a caller is told. None of these is an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<T> {
    /// This call ran, and its answer is recorded.
    Executed(Answered<T>),
    /// An earlier call ran; this is its answer.
    Replayed(Answered<T>),
    /// This call ran and executed nothing; nothing is recorded.
    NotExecuted(T),
    /// Another call is running.
    InProgress {
        /// The rest of its lease.
        retry_after: Duration,
    },
    /// The key was used for another request, which is untouched.
    Mismatch,
    /// In single-write mode: the condition of an effect says that what it is about, a sequence number for example, was used
    /// for something else ([`EffectRefusal::Conflict`](super::EffectRefusal::Conflict)). Nothing was written.
    Conflict,
    /// Whether it happened is not known. It does not run again without evidence.
    Unknown {
        /// The id under which other systems know it.
        transaction: TransactionId,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// A recorded answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// Success or failure.
    pub resolution: Resolution,
    /// The answer.
    pub answer: T,
    /// The id under which other systems know the operation.
    pub transaction: TransactionId,
    /// The attempt that was settled.
    pub attempt: u64,
    /// The invocation in which the first attempt ran, where that is known: the `requestId` of its lines in the log.
    pub original_request: Option<InvocationId>,
    /// The trace of which that was a part, likewise.
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
            original_request,
            original_trace: record.trace,
        }
    }
}

/// Why there is no outcome: "could not", or "do not know".
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store could not be reached or refused the claim. Nothing ran (guarantee G10).
    #[error("the store of idempotency records is not available; nothing ran")]
    StoreUnavailable(#[source] StoreError),
    /// Too little time is left before the function's deadline. Nothing ran.
    #[error("too little time is left before the deadline; nothing ran")]
    DeadlineAtHand,
    /// There is no randomness for an owner token. Nothing ran.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
    /// It ran, but what became of it could not be recorded. The claim ends with its lease; the outcome is then
    /// uncertain.
    #[error("it ran as transaction {transaction}, but its outcome could not be recorded")]
    NotRecorded {
        /// The id under which other systems know it.
        transaction: TransactionId,
        /// What the store said.
        #[source]
        source: StoreError,
    },
    /// In single-write mode: the condition of an effect did not hold. Nothing was written.
    #[error("the condition of effect {index} did not hold; nothing was written")]
    EffectRefused {
        /// Which one, in the order in which they were added.
        index: usize,
    },
    /// In single-write mode: the run ended without a verdict. Nothing was written.
    #[error("the run ended without a verdict, nothing was written: {0}")]
    NothingHappened(Reason),
    /// It happened, but the recorded answer cannot be given again. It does not run again for that.
    #[error("it is settled as transaction {transaction}, but its answer cannot be given again")]
    UnreadableAnswer {
        /// The id under which other systems know it.
        transaction: TransactionId,
        /// Why.
        #[source]
        source: UnreadableAnswer,
    },
}

/// An answer as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored(pub(super) Vec<u8>);

impl Outcome<Stored> {
    /// Reads the recorded answer.
    ///
    /// # Errors
    /// [`Error::UnreadableAnswer`].
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
        let Self { resolution, answer, transaction, attempt, original_request, original_trace } = self;
        match response_codec::unpack(&answer.0) {
            Ok(answer) => Ok(Answered { resolution, answer, transaction, attempt, original_request, original_trace }),
            Err(source) => Err(Error::UnreadableAnswer { transaction, source }),
        }
    }
}
