//! What a call wants done.

use super::End;
use crate::protocol::{EpochMs, Record, RecordId, Write};

/// What is to be done next. Each is answered by the [input](super::Input) that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Look whether this process remembers the settled record: [`Recalled`](super::Input::Recalled).
    Recall(&'a RecordId),
    /// Wait a little, at most until then: [`Elapsed`](super::Input::Elapsed).
    Wait {
        /// The latest time to look again.
        until: EpochMs,
    },
    /// Read the record: [`Read`](super::Input::Read) or [`NotRead`](super::Input::NotRead).
    Read(&'a RecordId),
    /// Read the parts of an answer that is stored beside its record: [`Parts`](super::Input::Parts) or
    /// [`NotRead`](super::Input::NotRead).
    ReadParts(&'a Record, u32),
    /// Write under the condition, with the effects of the attempt if the [purpose](Purpose::carries_effects) says so:
    /// [`Written`](super::Input::Written).
    Write {
        /// The record and the condition.
        write: &'a Write,
        /// What it is for.
        purpose: Purpose,
    },
    /// Run the attempt of this record: [`Ran`](super::Input::Ran). While a lock is held also
    /// [`Renew`](super::Input::Renew).
    Run(&'a Record),
    /// Ask the resolver what became of the operation: [`Evidence`](super::Input::Evidence).
    Resolve(&'a Record),
    /// Draw an owner token for the next round: [`Token`](super::Input::Token).
    Draw,
    /// Nothing: this is how the call ended.
    Done(&'a End),
}

/// What a write is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// To claim the record.
    Claim,
    /// To make an uncertain record UNKNOWN, for others to reconcile.
    Mark,
    /// To go on after evidence, as a further attempt.
    Restart,
    /// To hold a lock for another lease.
    Renew,
    /// To settle, with the effects.
    Commit,
    /// To put the settled record without a claim, with the effects.
    Settle,
    /// As [`Settle`](Self::Settle), without the effects: they were applied before.
    SettleAlone,
    /// To release.
    Release,
    /// To release after evidence, with the effects.
    Reopen,
    /// To make UNKNOWN what may have happened, and to find out what became of a commit without a reply.
    Abandon,
    /// To give up a claim whose reply was lost. Worth trying, and no reason to keep the caller waiting: whatever comes of
    /// it, the call ends.
    GiveUp,
}

impl Purpose {
    /// Whether the effects of the attempt are written in the same transaction.
    #[must_use]
    pub const fn carries_effects(self) -> bool {
        match self {
            Self::Commit | Self::Settle | Self::Reopen => true,
            Self::Claim
            | Self::Mark
            | Self::Restart
            | Self::Renew
            | Self::SettleAlone
            | Self::Release
            | Self::Abandon
            | Self::GiveUp => false,
        }
    }

    /// Whether the write comes before the run.
    #[must_use]
    pub const fn is_before_the_run(self) -> bool {
        match self {
            Self::Claim | Self::Mark | Self::Restart | Self::Renew => true,
            Self::Commit
            | Self::Settle
            | Self::SettleAlone
            | Self::Release
            | Self::Reopen
            | Self::Abandon
            | Self::GiveUp => false,
        }
    }
}
