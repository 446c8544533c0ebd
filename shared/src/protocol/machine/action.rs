//! The actions of a call.

use super::End;
use crate::protocol::{EpochMs, Record, RecordId, Write};

/// The next action. Each one is answered by the [input](super::Input) that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// Look up the record in this process's memory: [`Recalled`](super::Input::Recalled).
    Recall(&'a RecordId),
    /// Read the record with eventual consistency: [`Read`](super::Input::Read) or [`NotRead`](super::Input::NotRead).
    LookUp(&'a RecordId),
    /// Wait a little, at most until this time: [`Elapsed`](super::Input::Elapsed).
    Wait {
        /// The latest time to read again.
        until: EpochMs,
    },
    /// Read the record: [`Read`](super::Input::Read) or [`NotRead`](super::Input::NotRead).
    Read(&'a RecordId),
    /// Read the parts of an answer that is stored next to its record: [`Parts`](super::Input::Parts) or
    /// [`NotRead`](super::Input::NotRead).
    ReadParts(&'a Record, u32),
    /// Write under the condition, together with the attempt's effects if the [purpose](Purpose::carries_effects)
    /// requires it: [`Written`](super::Input::Written).
    Write {
        /// The record and the condition.
        write: &'a Write,
        /// The purpose of the write.
        purpose: Purpose,
    },
    /// Run the attempt of this record: [`Ran`](super::Input::Ran). While a lock is held, also
    /// [`Renew`](super::Input::Renew).
    Run(&'a Record),
    /// Call the resolver for evidence: [`Evidence`](super::Input::Evidence).
    Resolve(&'a Record),
    /// Draw an owner token for the next round: [`Token`](super::Input::Token).
    Draw,
    /// The call has ended in this way.
    Done(&'a End),
}

/// The purpose of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// To claim the record.
    Claim,
    /// To make an uncertain record UNKNOWN, for others to reconcile.
    Mark,
    /// To continue after evidence, as a further attempt.
    Restart,
    /// To hold a lock for another lease.
    Renew,
    /// To settle, with the effects.
    Commit,
    /// To write the settled record without a claim, with the effects.
    Settle,
    /// Like [`Settle`](Self::Settle), without the effects: they have already been applied.
    SettleAlone,
    /// To release the claim.
    Release,
    /// To release the record after evidence, with the effects.
    Reopen,
    /// To make the record UNKNOWN, or to find out whether a commit without a reply took effect.
    Abandon,
    /// To give up a claim whose reply was lost. The call ends whatever the result is, so the caller does not wait long
    /// for it.
    GiveUp,
}

impl Purpose {
    /// Whether the effects of the attempt are written in the same transaction.
    #[must_use]
    pub const fn carries_effects(self) -> bool {
        self.properties().carries_effects
    }

    /// Whether the write records an answer.
    #[must_use]
    pub const fn settles(self) -> bool {
        self.properties().settles
    }

    /// Whether the write comes before the run.
    #[must_use]
    pub const fn is_before_the_run(self) -> bool {
        self.properties().is_before_the_run
    }

    const fn properties(self) -> Properties {
        let (carries_effects, settles, is_before_the_run) = match self {
            Self::Claim | Self::Mark | Self::Restart | Self::Renew => (false, false, true),
            Self::Commit | Self::Settle => (true, true, false),
            Self::SettleAlone => (false, true, false),
            Self::Reopen => (true, false, false),
            Self::Release | Self::Abandon | Self::GiveUp => (false, false, false),
        };
        Properties { carries_effects, settles, is_before_the_run }
    }
}

struct Properties {
    carries_effects: bool,
    settles: bool,
    is_before_the_run: bool,
}
