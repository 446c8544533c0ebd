//! How a call ends.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{Record, Resolution, TransactionId};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// This call ran or resolved; its answer is recorded.
    Executed(Arc<Record>, Resolution),
    /// An earlier call is settled, and its whole answer is in this record.
    Replayed(Arc<Record>, Resolution),
    /// As [`Replayed`](Self::Replayed), from what this process remembers.
    Recalled(Arc<Record>, Resolution),
    /// This call ran and executed nothing.
    NotExecuted,
    /// Another call is running, for so long at most.
    InProgress(Duration),
    /// Others were faster each time, so one of them makes progress.
    Contended,
    /// The key was used for another request.
    Mismatch,
    /// What an effect is about was used for something else. Nothing was written.
    Conflict,
    /// Whether it happened is not known.
    Unknown(TransactionId),
    /// A reconciliation released the record: the next call with its key runs.
    Reopened,
    /// A reconciliation had nothing to do, or a lock was taken over: somebody else holds the record or has settled it.
    NotOpen,
    /// It could not be done, or is not known.
    Failed(Failure),
}

/// Why a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The store did not answer. Nothing ran.
    StoreUnavailable,
    /// Too little time is left. Nothing ran.
    DeadlineAtHand,
    /// It ran or was resolved under this transaction id, but what came of it could not be recorded or read.
    NotRecorded(TransactionId),
    /// The condition of this effect did not hold. Nothing was written.
    EffectRefused(usize),
    /// In single-write mode: the run ended without a verdict. Nothing was written.
    NothingHappened,
    /// It is settled under this transaction id, but its answer is not complete.
    AnswerIncomplete(TransactionId),
}
