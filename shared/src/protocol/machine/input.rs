//! What came of an action.

use std::sync::Arc;

use crate::protocol::{EpochMs, OwnerToken, Record, Resolution, Settled, TransactionId};

/// What came of the last [action](super::Action).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// What this process remembers.
    Recalled(Option<Arc<Record>>),
    /// Some time has passed.
    Elapsed,
    /// What is stored.
    Read(Option<Box<Record>>),
    /// The whole answer; nothing if a part of it is missing or was written with another record.
    Parts(Option<Vec<u8>>),
    /// The store did not answer the read.
    NotRead,
    /// What became of the write.
    Written(Reply),
    /// How the run ended.
    Ran(Ran),
    /// A lock is to be held until then.
    Renew {
        /// The end of the new lease.
        lease: EpochMs,
    },
    /// What the resolver found.
    Evidence(Proof),
    /// A token that no other claim has.
    Token(OwnerToken),
}

/// What became of a write, as far as the store says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It took effect now.
    Applied,
    /// It had taken effect before: the reply to our own write was lost, and the repeat found it (guarantee G4).
    Recognised,
    /// The condition did not hold. This is what is stored instead.
    Refused(Option<Box<Record>>),
    /// The condition of this effect did not hold. Nothing was written.
    EffectRefused(usize, EffectRefusal),
    /// Certainly nothing was written.
    NotApplied,
    /// Whether it took effect is not known.
    Lost,
}

/// What it means that the condition of an effect did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectRefusal {
    /// The effects have been applied before, under another record or one that has expired. The record is settled
    /// without them.
    AppliedBefore,
    /// They cannot be applied yet: something else must happen before. Nothing is recorded.
    NotYet,
    /// What they are about, a sequence number for example, was used before for something else. Nothing is recorded;
    /// people must see it.
    Conflict,
    /// Neither: an error.
    Unexpected,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// With a final answer.
    Settled(Resolution, Settled),
    /// Nothing was executed.
    NotExecuted,
    /// It did not begin: too little time is left.
    NotBegun,
    /// Whether anything was executed is not known.
    Unknown,
}

/// What a resolver found.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// It happened, or was refused for good.
    Settled(Resolution, Settled),
    /// It did not happen and cannot happen any more. What runs from now on runs under this new transaction id.
    Prevented(TransactionId),
    /// None of these is certain.
    Unclear,
}
