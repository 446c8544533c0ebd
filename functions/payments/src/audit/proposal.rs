use super::Action;

/// An action on one version of a record, as an operator proposed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The record's full id.
    pub record: String,
    /// The version of the record that the operator saw.
    pub shown: RecordSnapshot,
    /// The action.
    pub action: Action,
    /// The operator's reason.
    pub reason: String,
}

/// One version of a record, and what people see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSnapshot {
    /// A digest that identifies the version. Equal for equal versions.
    pub version: String,
    /// The record's status.
    pub status: String,
    /// The number of its last attempt.
    pub attempt: u64,
    /// The time of its last write, in epoch milliseconds.
    pub updated: u64,
}
