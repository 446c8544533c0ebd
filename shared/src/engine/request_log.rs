//! The outcome of a call, as the request log shows it.

use super::{Answered, Error, Outcome};
use crate::protocol::EpochMs;
use crate::telemetry::request_log::{LogOutcome, LogSummary};

impl LogSummary {
    /// The summary of the engine's outcome, which is known at `now`.
    pub(crate) fn of<T>(outcome: &Result<Outcome<T>, Error>, now: EpochMs) -> Self {
        match outcome {
            Ok(Outcome::Executed(answered)) => Self::answered(LogOutcome::Executed, answered),
            Ok(Outcome::Replayed(answered)) => {
                let Answered { created, original_request, original_trace, .. } = *answered;
                let age = Some(now.since(created));
                Self { age, original_request, original_trace, ..Self::answered(LogOutcome::Replayed, answered) }
            }
            Ok(Outcome::NotExecuted(_)) => Self::new(LogOutcome::NotExecuted),
            Ok(Outcome::InProgress { retry_after }) => {
                Self { retry_after: Some(*retry_after), ..Self::new(LogOutcome::InProgress) }
            }
            Ok(Outcome::Mismatch) => Self::new(LogOutcome::Mismatch),
            Ok(Outcome::Conflict) => Self::new(LogOutcome::Conflict),
            Ok(Outcome::Unknown { transaction, retry_after }) => {
                let (transaction, retry_after) = (Some(*transaction), Some(*retry_after));
                Self { transaction, retry_after, ..Self::new(LogOutcome::Unknown) }
            }
            Err(error) => Self::failed(LogOutcome::Error, error),
        }
    }

    fn answered<T>(outcome: LogOutcome, answered: &Answered<T>) -> Self {
        let (transaction, attempt) = (Some(answered.transaction), Some(answered.attempt));
        Self { transaction, attempt, ..Self::new(outcome) }
    }
}
