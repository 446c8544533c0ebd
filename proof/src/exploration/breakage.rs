//! Breakages of the library's environment, each as if a safeguard were missing: every one must be detected.

use super::Scenario;

/// A deliberate breakage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The store does not check the owner of a record.
    OwnerIgnored,
    /// A record is taken over even if it has changed since it was read.
    TakeoverWithoutCondition,
    /// The parts of an answer are written even if its record is refused.
    PartsBesideTheRecord,
    /// The parts of an answer are marked like those of an earlier answer.
    MarksOfAnEarlierLife,
    /// The mapping of the records' stream leaves out new items, and therefore the claims.
    ClaimsFilteredOut,
    /// The last of the follow-ups that are sent together is dropped.
    FollowUpsDropped,
    /// A change of a table has a different event id at each delivery.
    EventIdsChange,
    /// A watermark is written regardless of its version.
    WatermarkWithoutCondition,
    /// Effects are applied even if the watermark has moved.
    EffectsBesideTheWatermark,
    /// The watermark is not read, and a position that was done runs again.
    PositionsForgotten,
    /// A watermark keeps no witnesses, so another record at an old position is not detected.
    WitnessesForgotten,
    /// A watermark counts as moved, and a follow-up as sent, although no reply came.
    SilenceTakenForDone,
    /// The checkpoint moves past the record that failed.
    CheckpointPastTheFailed,
    /// The batch's response is always empty, even if a record failed.
    ResponseAlwaysEmpty,
    /// A message that was not begun in time counts as settled.
    NotBegunTakenForSettled,
    /// A message group continues after a failure.
    GroupsForgotten,
    /// A gap is accepted although it must be held.
    GapsAccepted,
    /// A device's mark moves regardless of its value.
    GateWithoutCondition,
    /// The digests of entries are lost, so a used number is a duplicate whatever its content.
    DigestsForgotten,
    /// Effects are applied even if the sequence gate refuses them.
    EffectsBesideTheGate,
    /// A versioned item is stored regardless of its version.
    VersionIgnored,
    /// A versioned item's store whose reply was lost counts as another writer's, and the change is made again.
    StampsForgotten,
}

impl Breakage {
    /// All breakages, each with the scenario that must detect it.
    pub const ALL: [(Self, Scenario); 32] = [
        (Self::OwnerIgnored, Scenario::Repeated),
        (Self::OwnerIgnored, Scenario::ThreeCallers),
        (Self::TakeoverWithoutCondition, Scenario::ThreeCallers),
        (Self::TakeoverWithoutCondition, Scenario::TwoCallersBesideAReconciler),
        (Self::PartsBesideTheRecord, Scenario::LongAnswers),
        (Self::MarksOfAnEarlierLife, Scenario::LongAnswersExpire),
        (Self::OwnerIgnored, Scenario::GivenUp),
        (Self::TakeoverWithoutCondition, Scenario::GivenUp),
        (Self::ClaimsFilteredOut, Scenario::GivenUp),
        (Self::FollowUpsDropped, Scenario::GivenUp),
        (Self::SilenceTakenForDone, Scenario::GivenUp),
        (Self::ResponseAlwaysEmpty, Scenario::GivenUp),
        (Self::CheckpointPastTheFailed, Scenario::GivenUp),
        (Self::EventIdsChange, Scenario::TableStream),
        (Self::ResponseAlwaysEmpty, Scenario::TableStream),
        (Self::CheckpointPastTheFailed, Scenario::TableStreamInSingleWrite),
        (Self::WatermarkWithoutCondition, Scenario::Stream),
        (Self::EffectsBesideTheWatermark, Scenario::Stream),
        (Self::PositionsForgotten, Scenario::Stream),
        (Self::WitnessesForgotten, Scenario::StreamCreatedAnew),
        (Self::SilenceTakenForDone, Scenario::Stream),
        (Self::CheckpointPastTheFailed, Scenario::Stream),
        (Self::ResponseAlwaysEmpty, Scenario::Fifo),
        (Self::NotBegunTakenForSettled, Scenario::FifoInSingleWrite),
        (Self::GroupsForgotten, Scenario::FifoInSingleWrite),
        (Self::GapsAccepted, Scenario::GateHolds),
        (Self::GateWithoutCondition, Scenario::GateHolds),
        (Self::DigestsForgotten, Scenario::GateMeetsOtherContent),
        (Self::DigestsForgotten, Scenario::StreamMeetsOtherContent),
        (Self::EffectsBesideTheGate, Scenario::GateHolds),
        (Self::VersionIgnored, Scenario::Versioned),
        (Self::StampsForgotten, Scenario::Versioned),
    ];
}
