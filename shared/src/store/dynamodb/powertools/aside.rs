//! The outcome of a call that did not run because of the old function.

use std::time::Duration;

use crate::engine::{Answer, Error, Outcome, UnreadableAnswer};
use crate::store::StoreError;

/// The reason that nothing ran. A retry must look again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotRun {
    /// The old function is running the operation.
    #[error("the old function is running the operation; retry after {retry_after:?}")]
    InProgress {
        /// The rest of its running time.
        retry_after: Duration,
    },
    /// The old function validated something else under the same key.
    #[error("the old function has used the key for another request")]
    Mismatch,
    /// The old table did not answer, or its item cannot be read.
    #[error("the old function's attempt cannot be looked up")]
    Store(#[source] StoreError),
}

/// The reason that the call did not run, as it was found in the old table.
pub(crate) enum Aside {
    /// An answer of the old function.
    Replayed,
    NotRun(NotRun),
}

impl Aside {
    /// The outcome for the caller. It replaces the engine's outcome if that shows only that this call recorded an
    /// answer or executed nothing. Any other outcome belongs to an earlier attempt of ours and stays.
    pub(crate) fn over<T>(outcome: Result<Outcome<T>, Error>, aside: Option<Self>) -> Result<Outcome<T>, Error> {
        match (outcome, aside) {
            (Ok(Outcome::Executed(answered)), Some(Self::Replayed)) => Ok(Outcome::Replayed(answered)),
            (Ok(Outcome::NotExecuted(_)), Some(Self::NotRun(not_run))) => match not_run {
                NotRun::InProgress { retry_after } => Ok(Outcome::InProgress { retry_after }),
                NotRun::Mismatch => Ok(Outcome::Mismatch),
                NotRun::Store(error) => Err(Error::StoreUnavailable(error)),
            },
            (outcome, _) => outcome,
        }
    }
}

/// An answer; `None` if nothing ran, which is never recorded.
pub(super) struct Forwarded<T>(pub(super) Option<T>);

impl<T: Answer> Answer for Forwarded<T> {
    fn write(&self, limit_bytes: usize) -> Vec<u8> {
        self.0.as_ref().map(|answer| answer.write(limit_bytes)).unwrap_or_default()
    }

    fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer> {
        T::read(bytes).map(|answer| Self(Some(answer)))
    }
}

impl<T> Forwarded<T> {
    /// The outcome with its answer.
    pub(super) fn unwrapped(outcome: Result<Outcome<Self>, Error>) -> Result<Outcome<T>, Error> {
        let none =
            || Error::NothingHappened("nothing ran, because the old function has an attempt at the operation".into());
        Ok(match outcome? {
            Outcome::Executed(answered) => Outcome::Executed(answered.try_map(|answer| answer.0.ok_or_else(none))?),
            Outcome::Replayed(answered) => Outcome::Replayed(answered.try_map(|answer| answer.0.ok_or_else(none))?),
            Outcome::NotExecuted(answer) => Outcome::NotExecuted(answer.0.ok_or_else(none)?),
            Outcome::InProgress { retry_after } => Outcome::InProgress { retry_after },
            Outcome::Mismatch => Outcome::Mismatch,
            Outcome::Conflict => Outcome::Conflict,
            Outcome::Unknown { transaction, retry_after } => Outcome::Unknown { transaction, retry_after },
        })
    }
}
