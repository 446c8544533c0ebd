//! What is promised, as the judge sees it.

use super::Standing;
use super::state::World;

/// A promise. Broken by a state, or by the step that led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Promise {
    /// G1.
    InsideEffectsAtMostOnce,
    /// G8: with a provider that deduplicates by the transaction id.
    OutsideEffectsAtMostOnce,
    /// SUCCESS and its effects are one transaction.
    SuccessHasItsEffects,
    /// FAILED and released records have no effect, and will have none.
    WhatIsFailedOrReleasedHasNoEffect,
    /// G2.
    OneAnswer,
    /// G3.
    LateOwnersChangeNothing,
    /// A settled record is not written any more while it lives.
    WhatIsSettledStays,
    /// G4: own writes are recognised.
    OwnWritesAreRecognised,
    /// G4: and nothing else is.
    ForeignWritesAreNotTakenForOwn,
    /// G5.
    NothingRunsAgainWithoutEvidence,
    /// G6: it does not alter the record.
    OtherRequestsAlterNothing,
    /// G6, G7: and is not answered with its answer.
    OtherRequestsAreNotAnswered,
    /// G8: the same transaction id over all attempts.
    TheTransactionStays,
    /// The attempt number is a fencing token.
    TheAttemptGrows,
    /// An expired record counts as absent.
    WhatIsExpiredIsNotReplayed,
    /// An answer is final only when it is recorded.
    NoAnswerBeforeTheCommit,
}

impl Promise {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::InsideEffectsAtMostOnce,
        Self::OutsideEffectsAtMostOnce,
        Self::SuccessHasItsEffects,
        Self::WhatIsFailedOrReleasedHasNoEffect,
        Self::OneAnswer,
        Self::LateOwnersChangeNothing,
        Self::WhatIsSettledStays,
        Self::OwnWritesAreRecognised,
        Self::ForeignWritesAreNotTakenForOwn,
        Self::NothingRunsAgainWithoutEvidence,
        Self::OtherRequestsAlterNothing,
        Self::OtherRequestsAreNotAnswered,
        Self::TheTransactionStays,
        Self::TheAttemptGrows,
        Self::WhatIsExpiredIsNotReplayed,
        Self::NoAnswerBeforeTheCommit,
    ];

    /// Whether it is kept.
    pub fn is_kept(self, world: &World, outside: bool) -> bool {
        let judge = &world.judge;
        if judge.broken & self.bit() != 0 {
            return false;
        }
        match (self, &world.record) {
            (Self::InsideEffectsAtMostOnce, _) => judge.effects.iter().all(|count| *count <= 1),
            (Self::OutsideEffectsAtMostOnce, _) => judge.charges.iter().all(|count| *count <= 1),
            (Self::SuccessHasItsEffects, Some(record)) if matches!(record.state, Standing::Success(..)) => {
                let life = usize::from(record.life);
                judge.effects[life] == 1 && (!outside || judge.charges[life] == 1)
            }
            (Self::WhatIsFailedOrReleasedHasNoEffect, Some(record))
                if matches!(record.state, Standing::Failed(..) | Standing::Released(_)) =>
            {
                let life = usize::from(record.life);
                judge.effects[life] == 0 && judge.charges[life] == 0
            }
            _ => true,
        }
    }

    /// Its bit among those that a step has broken.
    pub const fn bit(self) -> u16 {
        1 << self as u16
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InsideEffectsAtMostOnce => "G1: inside effects at most once",
            Self::OutsideEffectsAtMostOnce => "G8: outside effects at most once",
            Self::SuccessHasItsEffects => "SUCCESS has its effects",
            Self::WhatIsFailedOrReleasedHasNoEffect => "FAILED and released have no effect",
            Self::OneAnswer => "G2: one answer",
            Self::LateOwnersChangeNothing => "G3: late owners change nothing",
            Self::WhatIsSettledStays => "what is settled stays",
            Self::OwnWritesAreRecognised => "G4: own writes are recognised",
            Self::ForeignWritesAreNotTakenForOwn => "G4: foreign writes are not taken for own",
            Self::NothingRunsAgainWithoutEvidence => "G5: nothing runs again without evidence",
            Self::OtherRequestsAlterNothing => "G6: other requests alter nothing",
            Self::OtherRequestsAreNotAnswered => "G6: other requests are not answered",
            Self::TheTransactionStays => "G8: the transaction stays",
            Self::TheAttemptGrows => "the attempt grows",
            Self::WhatIsExpiredIsNotReplayed => "what is expired is not replayed",
            Self::NoAnswerBeforeTheCommit => "no answer before the commit",
        }
    }
}

/// What must really occur, or the model proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Event {
    /// A claim was taken over to run again.
    Takeover,
    /// A record was taken over to reconcile it.
    HeldAsUnknown,
    /// A late owner was answered from the record.
    FencedAndReplayed,
    /// A duplicate was answered from the record.
    Replayed,
    /// The lost reply of an own write was recognised.
    Recognised,
    /// A lost commit was found out to have taken effect.
    FoundOut,
    /// Evidence: it happened.
    Happened,
    /// Evidence: it was refused.
    Refused,
    /// Evidence: it was prevented, and the call went on under a new transaction id to success.
    RestartedAndSettled,
    /// Evidence: it was prevented, and the record released.
    Reopened,
    /// No evidence: left UNKNOWN.
    LeftUnknown,
    /// A late charge met a tombstone.
    LateChargeRefused,
    /// A charge was deduplicated.
    ChargeDeduplicated,
    /// Another request was told so.
    Mismatch,
    /// A duplicate was told that the first is running.
    InProgress,
    /// Nothing was executed, and the next call began.
    BegunAfterRelease,
    /// The key began again after its retention.
    SecondLife,
    /// A late write of an earlier owner was refused.
    LateWriteRefused,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::Takeover,
        Self::HeldAsUnknown,
        Self::FencedAndReplayed,
        Self::Replayed,
        Self::Recognised,
        Self::FoundOut,
        Self::Happened,
        Self::Refused,
        Self::RestartedAndSettled,
        Self::Reopened,
        Self::LeftUnknown,
        Self::LateChargeRefused,
        Self::ChargeDeduplicated,
        Self::Mismatch,
        Self::InProgress,
        Self::BegunAfterRelease,
        Self::SecondLife,
        Self::LateWriteRefused,
    ];
}
