//! The conditions that guard writes: stated once, evaluated by the memory store and the model, and written
//! as expressions by the DynamoDB store. The conformance suite holds the two readings together.

use super::{EpochMs, EpochS, OwnerToken, Record, Status, TransactionId};

/// What must hold of the stored record for a write to take effect. No write goes without one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// There is no record, or its expiration has passed (`attribute_not_exists(id) OR expiration <= :now`).
    Vacant {
        /// The time of the claim.
        now: EpochS,
    },
    /// The record is still as it was seen: a takeover races with its owner and with other takeovers.
    Unchanged(RecordVersion),
    /// Our claim holds it. A late owner, whose record was taken over or settled, changes nothing (guarantee G3).
    Owned {
        /// Our token.
        owner: OwnerToken,
    },
}

impl Condition {
    /// Whether the condition holds of what is stored.
    #[must_use]
    pub fn holds(&self, found: Option<&Record>) -> bool {
        match self {
            Self::Vacant { now } => {
                found.is_none_or(|record| record.expiration().is_some_and(|expiration| expiration <= *now))
            }
            Self::Unchanged(seen) => found.is_some_and(|record| RecordVersion::of(record) == *seen),
            Self::Owned { owner } => found.and_then(Record::holder).is_some_and(|holder| holder.owner == *owner),
        }
    }
}

/// What identifies one version of an unsettled record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordVersion {
    /// PROCESSING or UNKNOWN.
    pub status: Status,
    /// Which life of the key it is: a record that expired and began again has another.
    pub transaction: TransactionId,
    /// Which attempt.
    pub attempt: u64,
    /// Who held it.
    pub owner: Option<OwnerToken>,
    /// Until when.
    pub lease: Option<EpochMs>,
}

impl RecordVersion {
    /// The version of a record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self {
            status: record.state.status(),
            transaction: record.transaction,
            attempt: record.attempt,
            owner: record.holder().map(|holder| holder.owner),
            lease: record.holder().map(|holder| holder.lease),
        }
    }
}
