//! The conditions that guard writes: defined once, evaluated by the memory store and the model, and translated into
//! expressions by the DynamoDB store. The conformance suite checks that both agree.

use super::{EpochMs, EpochS, OwnerToken, Record, Status, TransactionId};

/// The condition on the stored record under which a write takes effect. Every write has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// There is no record, or its expiration has passed (`attribute_not_exists(id) OR expiration <= :now`).
    Vacant {
        /// The time of the claim.
        now: EpochS,
    },
    /// The record still has the version that was seen: a takeover races with the owner and with other takeovers.
    Unchanged(RecordVersion),
    /// Our claim still holds the record. A late owner, whose record was taken over or settled, changes nothing
    /// (guarantee G3).
    Owned {
        /// The token of our claim.
        owner: OwnerToken,
    },
}

impl Condition {
    /// Whether the condition holds for the stored record.
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

/// The values that identify one version of an unsettled record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RecordVersion {
    /// PROCESSING or UNKNOWN.
    pub status: Status,
    /// The transaction id. It differs between two uses of a key, since an expired record begins again under a new one.
    pub transaction: TransactionId,
    /// The attempt number.
    pub attempt: u64,
    /// The owner token of the holder, if any.
    pub owner: Option<OwnerToken>,
    /// The end of the holder's lease, if any.
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
