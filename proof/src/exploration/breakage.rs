//! Breakages of what is around the library, each as if a part of it were missing: every one must be noticed.

use super::Scenario;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The store does not look at the owner of a record.
    OwnerIgnored,
    /// A record is taken over whatever became of it since it was seen.
    TakeoverWithoutCondition,
    /// The parts of an answer are put though its record was refused.
    PartsBesideTheRecord,
    /// The parts of an answer are marked as those that were there before.
    MarksOfAnEarlierLife,
    /// A change of a table has another event id each time that it is delivered.
    EventIdsChange,
    /// A watermark is written whatever its version is.
    WatermarkWithoutCondition,
    /// Effects are applied though the watermark had moved.
    EffectsBesideTheWatermark,
    /// Where the watermark is, is not seen, and a position that was done runs again.
    PositionsForgotten,
    /// A watermark has no evidence of another record at an old place.
    WitnessesForgotten,
    /// A watermark counts as moved though no reply came.
    SilenceTakenForDone,
    /// The checkpoint moves past the record that failed.
    CheckpointPastTheFailed,
    /// The batch's response is empty, whatever failed.
    ResponseAlwaysEmpty,
    /// A message that was not begun in time counts as settled.
    NotBegunTakenForSettled,
    /// After a failure its message group goes on.
    GroupsForgotten,
    /// A gap is accepted though it is to be held.
    GapsAccepted,
    /// The mark of a device moves whatever it is.
    GateWithoutCondition,
    /// The digests of entries are gone, and a number that was used is a duplicate whatever it says.
    DigestsForgotten,
    /// Effects are applied though the gate was shut.
    EffectsBesideTheGate,
    /// A versioned item is stored whatever its version is.
    VersionIgnored,
    /// The lost reply of a versioned item's store is taken for somebody else's, and the change made again.
    StampsForgotten,
}

impl Breakage {
    /// All of them, each with where it must be noticed.
    pub const ALL: [(Self, Scenario); 25] = [
        (Self::OwnerIgnored, Scenario::Repeated),
        (Self::OwnerIgnored, Scenario::ThreeCallers),
        (Self::TakeoverWithoutCondition, Scenario::ThreeCallers),
        (Self::TakeoverWithoutCondition, Scenario::TwoCallersBesideAReconciler),
        (Self::PartsBesideTheRecord, Scenario::LongAnswers),
        (Self::MarksOfAnEarlierLife, Scenario::LongAnswersExpire),
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
