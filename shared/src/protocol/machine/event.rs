//! Events of a call, for metrics and logs.

use std::time::Duration;

use crate::protocol::{Record, Resolution};

/// An event of a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The call claimed a record whose outcome is uncertain.
    TookOver,
    /// The record became UNKNOWN.
    EnteredUnknown,
    /// The claim had been taken over: a commit or an abandon was refused.
    Fenced(Box<FencedClaim>),
    /// The claim had been taken over: a release was refused.
    ReleasedTooLate,
    /// The store did not answer whether the commit took effect.
    CommitUnanswered,
    /// The condition of this effect did not hold, so the outcome is unknown.
    EffectRefused(usize),
    /// The store rejected the settling write, which is repeated with the short form of the answer.
    AnswerShortened,
    /// Evidence settled the record with this resolution.
    Resolved(Resolution),
    /// There is evidence that it did not happen and can no longer happen.
    Prevented,
    /// The outcome is still unknown, or another process settled the record meanwhile.
    NotResolved,
    /// The lease of a lock was ignored, because it ended this much later than any lease of this lock can: the clock
    /// that wrote it was ahead.
    LeaseIgnored(Duration),
}

/// A fenced claim, and the record that fenced it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FencedClaim {
    /// The record as the late owner had claimed it.
    pub late: Record,
    /// The record as it is now; `None` if it is gone.
    pub found: Option<Record>,
    /// The resolution that the late owner tried to record; `None` if it did not know the outcome.
    pub resolution: Option<Resolution>,
}
