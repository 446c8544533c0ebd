//! Breakages of the world around the engine: the simulation must notice them, too.

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// The store does not look at the owner.
    OwnerIgnored,
    /// The store does not look whether a record is still as it was seen.
    SeenIgnored,
    /// The store does not look whether there is a record.
    VacantIgnored,
    /// The store applies effects though the condition of the record does not hold.
    EffectsBesideTheRecord,
    /// The store takes every record in the way for the result of the write.
    EverythingRecognised,
    /// The resolver takes "not found" for "refused".
    NotFoundIsRefused,
    /// The resolver takes "not found" for "prevented".
    NotFoundIsPrevented,
    /// The resolver takes an id that the other system may have forgotten for one that was never used.
    TombstoneBeyondTheMemory,
    /// The run takes silence for a refusal.
    SilenceIsRefused,
    /// The run takes silence for "nothing was executed".
    SilenceIsNotExecuted,
    /// A transaction id of its own for each attempt.
    ChargesUnderTheAttempt,
}

impl Breakage {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::OwnerIgnored,
        Self::SeenIgnored,
        Self::VacantIgnored,
        Self::EffectsBesideTheRecord,
        Self::EverythingRecognised,
        Self::NotFoundIsRefused,
        Self::NotFoundIsPrevented,
        Self::TombstoneBeyondTheMemory,
        Self::SilenceIsRefused,
        Self::SilenceIsNotExecuted,
        Self::ChargesUnderTheAttempt,
    ];
}
