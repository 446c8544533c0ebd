//! What is promised, as the oracle sees it.

use idempotency::protocol::State;
use stateright::Property;

use super::state::World;
use super::{Model, clock};

/// Writes the table of promises out as [`Promise`] and as properties of a model: a line is all that a promise needs.
macro_rules! promises {
    ($($(#[doc = $what:literal])+ $promise:ident: $name:literal,)+) => {
        /// A promise. Broken by a state, or by the step that led to it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Promise {
            $($(#[doc = $what])+ $promise,)+
        }

        impl Promise {
            /// All of them, as properties. A property is a function without surroundings, so each is written out.
            pub(super) fn properties() -> Vec<Property<Model>> {
                vec![$(Property::always($name, |model: &Model, world: &World| {
                    Self::$promise.is_kept(world, model.settings.has_external_effects())
                })),+]
            }
        }
    };
}

promises! {
    /// G1.
    TransactionalEffectsAtMostOnce: "G1: transactional effects at most once",
    /// G8: with a provider that deduplicates by the transaction id.
    ExternalEffectsAtMostOnce: "G8: external effects at most once",
    /// SUCCESS and its effects are one transaction.
    SuccessHasItsEffects: "SUCCESS has its effects",
    /// FAILED and released records have no effect, and will have none.
    WhatIsFailedOrReleasedHasNoEffect: "FAILED and released have no effect",
    /// G2.
    OneAnswer: "G2: one answer",
    /// G3.
    LateOwnersChangeNothing: "G3: late owners change nothing",
    /// A settled record is not written any more while it lives.
    WhatIsSettledStays: "what is settled stays",
    /// G4: own writes are recognised.
    OwnWritesAreRecognised: "G4: own writes are recognised",
    /// G4: and nothing else is.
    ForeignWritesAreNotTakenForOwn: "G4: foreign writes are not taken for own",
    /// G5.
    NothingRunsAgainWithoutEvidence: "G5: nothing runs again without evidence",
    /// G6: it does not alter the record.
    OtherRequestsAlterNothing: "G6: other requests alter nothing",
    /// G6, G7: and is not answered with its answer.
    OtherRequestsAreNotAnswered: "G6: other requests are not answered",
    /// G8: the same transaction id over all attempts.
    TheTransactionStays: "G8: the transaction stays",
    /// The attempt number is a fencing token.
    TheAttemptGrows: "the attempt grows",
    /// An expired record counts as absent.
    WhatIsExpiredIsNotReplayed: "what is expired is not replayed",
    /// An answer is final only when it is recorded.
    NoAnswerBeforeTheCommit: "no answer before the commit",
    /// No two acquisitions of a lock have the same fence.
    NoFenceTwice: "no fence twice",
    /// A later acquisition of a lock has a higher fence.
    FencesGrow: "fences grow",
}

impl Promise {
    /// Whether it is kept.
    pub fn is_kept(self, world: &World, outside: bool) -> bool {
        let counts = &world.counts;
        if counts.broken & self.bit() != 0 {
            return false;
        }
        let life = world.record.as_deref().map_or(0, clock::life);
        match (self, world.record.as_deref().map(|record| &record.state)) {
            (Self::TransactionalEffectsAtMostOnce, _) => counts.effects.iter().all(|count| *count <= 1),
            (Self::ExternalEffectsAtMostOnce, _) => counts.charges.iter().all(|count| *count <= 1),
            (Self::SuccessHasItsEffects, Some(State::Success(_))) => {
                counts.effects[life] == 1 && (!outside || counts.charges[life] == 1)
            }
            (Self::WhatIsFailedOrReleasedHasNoEffect, Some(State::Failed(_) | State::Released { .. })) => {
                counts.effects[life] == 0 && counts.charges[life] == 0
            }
            _ => true,
        }
    }

    /// Its bit among those that a step has broken.
    pub const fn bit(self) -> u32 {
        1 << self as u32
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
    /// No tombstone was made, because the other side may have forgotten what was done.
    BeyondTheMemory,
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
    /// A duplicate waited for the running call.
    Waited,
    /// A duplicate was answered from what its process remembers.
    Recalled,
    /// The parts of an answer had gone or were another record's when they were read.
    AnswerGone,
    /// A lock was held for another lease.
    Renewed,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 23] = [
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
        Self::BeyondTheMemory,
        Self::LateChargeRefused,
        Self::ChargeDeduplicated,
        Self::Mismatch,
        Self::InProgress,
        Self::BegunAfterRelease,
        Self::SecondLife,
        Self::LateWriteRefused,
        Self::Waited,
        Self::Recalled,
        Self::AnswerGone,
        Self::Renewed,
    ];
}
