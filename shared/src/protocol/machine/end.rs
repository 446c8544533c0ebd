//! The ends of a call.

use std::sync::Arc;
use std::time::Duration;

use crate::protocol::{Record, Resolution, TransactionId};

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// This call ran or found evidence; its answer is recorded.
    Executed(Arc<Record>, Resolution),
    /// An earlier call is settled, and its whole answer is in this record.
    Replayed(Arc<Record>, Resolution),
    /// Like [`Replayed`](Self::Replayed), from this process's cache.
    Recalled(Arc<Record>, Resolution),
    /// This call ran and executed nothing.
    NotExecuted,
    /// Another call is running, for at most this long.
    InProgress(Duration),
    /// Concurrent calls were faster in every round, so one of them makes progress.
    Contended,
    /// The key was used for another request.
    Mismatch,
    /// The subject of an effect was already used for something else. Nothing was written.
    Conflict,
    /// It is unknown whether the operation happened.
    Unknown(TransactionId),
    /// A reconciliation released the record: the next call with its key runs.
    Reopened,
    /// A reconciliation had nothing to do, or a lock was taken over: another process holds the record or has settled
    /// it.
    NotOpen,
    /// The call could not be executed, or its result is unknown.
    Failed(Failure),
}

/// The reason that a call has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// The store did not answer. Nothing ran.
    StoreUnavailable,
    /// Too little time is left. Nothing ran.
    DeadlineAtHand,
    /// It ran or was resolved under this transaction id, but the result could not be recorded or read.
    NotRecorded(TransactionId),
    /// The condition of this effect did not hold. Nothing was written.
    EffectRefused(usize),
    /// In single-write mode: the run ended without a verdict. Nothing was written.
    NothingHappened,
    /// The call has taken as long as records are kept, so that it cannot know whether another has run. Nothing was
    /// written.
    Outlived,
    /// It is settled under this transaction id, but its answer is not complete.
    AnswerIncomplete(TransactionId),
}
