//! The promises, as the oracle checks them.

use idempotency::protocol::State;
use stateright::Property;
use strum::VariantArray;

use super::state::World;
use super::{Model, clock};

/// Expands the table of promises into [`Promise`] and the properties of a model: each promise is one line.
macro_rules! promises {
    ($($(#[doc = $what:literal])+ $promise:ident: $name:literal,)+) => {
        /// A promise, which a state breaks, or the step that led to it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Promise {
            $($(#[doc = $what])+ $promise,)+
        }

        impl Promise {
            /// All promises, as properties. A property is a function that captures nothing, so each is written out.
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
    /// A settled record is not written again before it expires.
    WhatIsSettledStays: "what is settled stays",
    /// G4: own writes are recognised.
    OwnWritesAreRecognised: "G4: own writes are recognised",
    /// G4: no other write counts as our own.
    ForeignWritesAreNotTakenForOwn: "G4: foreign writes are not taken for own",
    /// G5.
    NothingRunsAgainWithoutEvidence: "G5: nothing runs again without evidence",
    /// G6: another request does not alter the record.
    OtherRequestsAlterNothing: "G6: other requests alter nothing",
    /// G6, G7: another request does not get its answer.
    OtherRequestsAreNotAnswered: "G6: other requests are not answered",
    /// G8: the same transaction id over all attempts.
    TheTransactionStays: "G8: the transaction stays",
    /// The attempt number is a fencing token.
    TheAttemptGrows: "the attempt grows",
    /// An expired record counts as absent.
    WhatIsExpiredIsNotReplayed: "what is expired is not replayed",
    /// An answer is final only after it is recorded.
    NoAnswerBeforeTheCommit: "no answer before the commit",
    /// No two acquisitions of a lock have the same fence.
    NoFenceTwice: "no fence twice",
    /// A later acquisition of a lock has a higher fence.
    FencesGrow: "fences grow",
}

impl Promise {
    /// Whether the promise is kept.
    pub fn is_kept(self, world: &World, is_external: bool) -> bool {
        let counts = &world.counts;
        if counts.broken & self.bit() != 0 {
            return false;
        }
        let life = world.record.as_deref().map_or(0, clock::life);
        match (self, world.record.as_deref().map(|record| &record.state)) {
            (Self::TransactionalEffectsAtMostOnce, _) => counts.effects.iter().all(|count| *count <= 1),
            (Self::ExternalEffectsAtMostOnce, _) => counts.charges.iter().all(|count| *count <= 1),
            (Self::SuccessHasItsEffects, Some(State::Success(_))) => {
                counts.effects[life] == 1 && (!is_external || counts.charges[life] == 1)
            }
            (Self::WhatIsFailedOrReleasedHasNoEffect, Some(State::Failed(_) | State::Released { .. })) => {
                counts.effects[life] == 0 && counts.charges[life] == 0
            }
            _ => true,
        }
    }

    /// The promise's bit in the set of those that a step has broken.
    pub const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// An event that must occur at least once; otherwise the model proves nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
#[repr(u8)]
pub enum Event {
    /// A claim was taken over to run the operation again.
    Takeover,
    /// A record was taken over to reconcile it.
    HeldAsUnknown,
    /// A late owner was answered from the record.
    FencedAndReplayed,
    /// A duplicate was answered from the record.
    Replayed,
    /// The lost reply of an own write was recognised.
    Recognised,
    /// A check showed that a commit without a reply had taken effect.
    FoundOut,
    /// Evidence: it happened.
    Happened,
    /// Evidence: it was refused.
    Refused,
    /// Evidence: it was prevented, and the call continued under a new transaction id to SUCCESS.
    RestartedAndSettled,
    /// Evidence: it was prevented, and the record released.
    Reopened,
    /// No evidence: left UNKNOWN.
    LeftUnknown,
    /// No tombstone was made, because the provider may have forgotten that the id was used.
    BeyondTheMemory,
    /// A late charge met a tombstone.
    LateChargeRefused,
    /// A charge was deduplicated.
    ChargeDeduplicated,
    /// Another request got a mismatch.
    Mismatch,
    /// A duplicate got the answer that the first call is running.
    InProgress,
    /// Nothing was executed, and the next call began.
    BegunAfterRelease,
    /// The key began again after its retention.
    SecondLife,
    /// A late write of an earlier owner was refused.
    LateWriteRefused,
    /// A duplicate waited for the running call.
    Waited,
    /// A duplicate waited until the lease of the running call was over, and took over in the same call.
    WaitedAndTookOver,
    /// A duplicate was answered from its process's cache.
    Recalled,
    /// A redelivery was answered from an eventually consistent read.
    LookedUp,
    /// An eventually consistent read returned an older version, or none.
    LookedUpOlder,
    /// The parts of an answer were gone, or another record's, when they were read.
    AnswerGone,
    /// The store rejected a settling write, and the call repeated it with the short form of its answer.
    AnswerShortened,
    /// A lock was extended by another lease.
    Renewed,
}

impl Event {
    /// All events.
    pub const ALL: &[Self] = Self::VARIANTS;
}
