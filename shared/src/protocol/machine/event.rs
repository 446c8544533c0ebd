//! What happened in a call, for metrics and logs.

use std::time::Duration;

use crate::protocol::{Record, Resolution};

/// What happened in a call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// A claim was made over one whose outcome is uncertain.
    TookOver,
    /// The record became UNKNOWN.
    EnteredUnknown,
    /// The claim had been taken over: a commit or an abandon was refused.
    Fenced(Box<FencedClaim>),
    /// The claim had been taken over: a release was refused.
    ReleasedTooLate,
    /// The store did not say whether it committed.
    CommitUnanswered,
    /// The condition of this effect did not hold, which leaves the outcome unknown.
    EffectRefused(usize),
    /// Evidence settled the record as this.
    Resolved(Resolution),
    /// Evidence says that it cannot happen any more.
    Prevented,
    /// The record is as unknown as before, or somebody else settled it meanwhile.
    NotResolved,
    /// The lease of a lock ends so much later than any that this lock gives: its clock was ahead. It is taken over.
    LeaseIgnored(Duration),
}

/// What is known of a claim that was fenced.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FencedClaim {
    /// The record as the late owner had claimed it.
    pub late: Record,
    /// The record as it is now; nothing if it is gone.
    pub found: Option<Record>,
    /// What the late owner would have settled it as; nothing if it did not know.
    pub resolution: Option<Resolution>,
}
