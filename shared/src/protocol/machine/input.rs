//! The results of actions.

use std::sync::Arc;

use crate::protocol::{OwnerToken, Record, Resolution, Settled, TransactionId};

/// The result of the last [action](super::Action).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// The record as this process remembers it, if it does: its settled version, or a version that was in progress less
    /// than a second ago.
    Recalled(Option<Arc<Record>>),
    /// Some time has passed.
    Elapsed,
    /// The stored record, if any.
    Read(Option<Box<Record>>),
    /// The whole answer; `None` if a part of it is missing or was written with another record.
    Parts(Option<Vec<u8>>),
    /// The store did not answer the read.
    NotRead,
    /// The result of the write.
    Written(Reply),
    /// The store rejects the settling write itself, perhaps because of the answer's length, and certainly wrote
    /// nothing. Contains the short form of the answer, with which the write is repeated. Only for a
    /// [`Purpose`](super::Purpose) that [settles](super::Purpose::settles).
    Rejected(Vec<u8>),
    /// How the run ended.
    Ran(Ran),
    /// The holder of a lock requests another lease.
    Renew,
    /// The result of the resolver.
    Evidence(Proof),
    /// A token that no other claim has.
    Token(OwnerToken),
}

impl Input {
    /// The stored record, if the store has returned one.
    #[must_use]
    pub fn found(&self) -> Option<&Record> {
        match self {
            Self::Read(found) | Self::Written(Reply::Refused(found)) => found.as_deref(),
            Self::Written(
                Reply::Applied | Reply::Recognised | Reply::EffectRefused(..) | Reply::NotApplied | Reply::Lost,
            )
            | Self::Rejected(_)
            | Self::Recalled(_)
            | Self::Elapsed
            | Self::Parts(_)
            | Self::NotRead
            | Self::Ran(_)
            | Self::Renew
            | Self::Evidence(_)
            | Self::Token(_) => None,
        }
    }
}

/// The result of a write, as far as the store reports it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// It took effect now.
    Applied,
    /// It had already taken effect: the reply to our own write was lost, and its retry found the write (guarantee G4).
    Recognised,
    /// The condition did not hold. Contains the stored record, if any.
    Refused(Option<Box<Record>>),
    /// The condition of this effect did not hold. Nothing was written.
    EffectRefused(usize, EffectRefusal),
    /// Certainly nothing was written.
    NotApplied,
    /// It is unknown whether the write took effect.
    Lost,
}

/// The meaning of an effect's failed condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EffectRefusal {
    /// The effects have already been applied, under another record or an expired one. The record is settled without
    /// them.
    AppliedBefore,
    /// They cannot be applied yet, because something else must happen first. Nothing is recorded.
    NotYet,
    /// Their subject, a sequence number for example, was already used for something else. Nothing is recorded;
    /// operators must see it.
    Conflict,
    /// None of the above: an error.
    Unexpected,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ran {
    /// With a final answer.
    Settled(Resolution, Settled),
    /// Nothing was executed.
    NotExecuted,
    /// It did not begin, because too little time was left.
    NotBegun,
    /// It is unknown whether anything was executed.
    Unknown,
}

/// The evidence of a resolver, as the machine needs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Proof {
    /// It happened, or was refused for good.
    Settled(Resolution, Settled),
    /// It did not happen and can no longer happen. Later runs use this new transaction id.
    Prevented(TransactionId),
    /// None of these is certain.
    Unclear,
}
