//! Breakages of the engine's environment, which the simulation must detect.

use strum::VariantArray;

/// A deliberate breakage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Breakage {
    /// The store does not check the owner.
    OwnerIgnored,
    /// The store does not check whether a record still has the version that was read.
    SeenIgnored,
    /// The store does not check whether there is a record.
    VacantIgnored,
    /// The store applies effects although the condition of the record does not hold.
    EffectsBesideTheRecord,
    /// The store mistakes every record that it finds for the result of the write.
    EverythingRecognised,
    /// The resolver mistakes "not found" for "refused".
    NotFoundIsRefused,
    /// The resolver mistakes "not found" for "prevented".
    NotFoundIsPrevented,
    /// The resolver mistakes an id that the provider may have forgotten for one that was never used.
    TombstoneBeyondTheMemory,
    /// The run mistakes a missing reply for a refusal.
    SilenceIsRefused,
    /// The run mistakes a missing reply for "nothing was executed".
    SilenceIsNotExecuted,
    /// Each attempt has its own transaction id.
    ChargesUnderTheAttempt,
}
