//! Stores for records: one trait; stores on DynamoDB, on Valkey and in memory; and a conformance suite for all stores.

#[cfg(any(all(test, feature = "system"), feature = "test-util"))]
pub mod conformance;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(all(test, feature = "system"), feature = "test-util"))]
pub mod fault;
mod fields;
mod form;
mod history;
pub mod memory;
mod names;
mod parts;
mod recording;
pub mod unsettled;
#[cfg(feature = "valkey")]
pub mod valkey;
pub mod watermarks;

pub use parts::{MAX_RECORD_RESPONSE_BYTES, PART_BYTES, cut};
pub use recording::RecordingStore;

use std::fmt::Debug;
use std::time::Duration;

use crate::protocol::{Record, RecordId, Write};

/// A store that can write one record, together with effects, under a condition.
///
/// Every implementation must pass the suite in the module `conformance` (feature `test-util`).
pub trait Store: Send + Sync + 'static {
    /// An application's write, which is made in the same transaction as the record.
    type Effect: TransactionalEffect;

    /// Whether effects are written in one transaction with the record, all or nothing. If not, an unknown outcome
    /// proves nothing about them.
    const EFFECTS_WITH_RECORD: bool = true;

    /// The maximum length in bytes of an answer that can be written together with these effects.
    fn max_response_bytes(effects: &[Self::Effect]) -> usize;

    /// Writes a record and applies the effects, all or nothing, if the write's condition holds.
    ///
    /// An answer that is too long for the record is written next to it, in [parts](crate::protocol::Response::Parts).
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if certainly nothing was written, [`StoreError::Rejected`] if in addition the same
    /// write would never be accepted, [`StoreError::Uncertain`] if it is unknown whether anything was written,
    /// [`StoreError::Unreadable`] if this version cannot read the stored record.
    fn write(
        &self,
        write: &Write,
        effects: Vec<Self::Effect>,
    ) -> impl Future<Output = Result<Written<ItemOf<Self>>, StoreError>> + Send;

    /// Like [`Store::write`], but retries for about `retry_budget`, instead of about a second, while concurrent writes
    /// interfere (conflicting transactions, throttling).
    ///
    /// # Errors
    /// The same as for [`Store::write`].
    fn write_within(
        &self,
        write: &Write,
        effects: Vec<Self::Effect>,
        _retry_budget: Duration,
    ) -> impl Future<Output = Result<Written<ItemOf<Self>>, StoreError>> + Send {
        self.write(write, effects)
    }

    /// Reads a record with strong consistency, even an expired one.
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if the store did not answer, [`StoreError::Unreadable`] if this version cannot read
    /// the stored record.
    fn read(&self, id: &RecordId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Reads a record with eventual consistency: it may return an older version, or none. Default: [`Store::read`].
    ///
    /// The result affects only the cost of a call. A store whose consistent reads cost no more than others therefore
    /// need not implement it.
    ///
    /// # Errors
    /// The same as for [`Store::read`].
    fn look_up(&self, id: &RecordId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        self.read(id)
    }

    /// Reads an answer that is stored in parts. `None` if a part is missing, or was written with another record because
    /// the key has expired and been used again.
    ///
    /// # Errors
    /// The same as for [`Store::read`].
    fn read_parts(
        &self,
        record: &Record,
        parts: u32,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// An application's write that a store makes in the transaction of a record.
pub trait TransactionalEffect: Clone + Send + 'static {
    /// The item that the store returns if the effect's own condition does not hold.
    type Item: Clone + Debug + PartialEq + Send + Sync + 'static;
}

/// For stores that write only records.
impl TransactionalEffect for () {
    type Item = ();
}

/// The item that a store returns if the condition of an effect does not hold.
pub type ItemOf<S> = <<S as Store>::Effect as TransactionalEffect>::Item;

/// The result of a write. Every variant is definite; everything else is an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Written<I = ()> {
    /// It took effect now.
    Applied,
    /// It had already taken effect: the reply to our own write was lost, and its retry found the write (guarantee G4).
    Recognised,
    /// The condition did not hold, and nothing was written. Contains the stored record, if any.
    Refused(Option<Box<Record>>),
    /// The record's condition held, but that of an effect did not. Nothing was written.
    EffectRefused(RefusedEffect<I>),
}

/// The effect whose condition did not hold; the first of them, if there are several.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedEffect<I = ()> {
    /// The index of the effect, in the order in which the effects were added.
    pub index: usize,
    /// The item that broke the condition, if the store returned it.
    pub found: Option<Box<I>>,
}

impl<I> Written<I> {
    /// Interprets a failed condition: the found record is either our own write or another writer's.
    ///
    /// Every store needs this after its conditional write was refused.
    #[must_use]
    pub fn refused(write: &Write, found: Option<Record>) -> Self {
        match found {
            Some(found) if write.made(&found) => Self::Recognised,
            other => Self::Refused(other.map(Box::new)),
        }
    }

    /// The result of a write that had no effects, for a store with effects of another type.
    pub(crate) fn without_effects<J>(self) -> Result<Written<J>, StoreError> {
        Ok(match self {
            Self::Applied => Written::Applied,
            Self::Recognised => Written::Recognised,
            Self::Refused(found) => Written::Refused(found),
            Self::EffectRefused(_) => return Err(StoreError::Uncertain(NO_EFFECT.into())),
        })
    }
}

const NO_EFFECT: &str = "an effect was refused, and none was written";

/// The reason that a store request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Certainly nothing was written: the service refused, throttled, or was not reached.
    #[error("the store did not accept the request; nothing was written")]
    NotApplied(#[source] BoxError),
    /// The service rejects the request itself, for example because it is too large. Certainly nothing was written, and
    /// the same request would be rejected again.
    #[error("the store rejects the request; nothing was written")]
    Rejected(#[source] BoxError),
    /// The request may or may not have taken effect, because no reply arrived.
    #[error("the store did not answer; it is unknown whether the write took effect")]
    Uncertain(#[source] BoxError),
    /// This version cannot read the stored record. The record stays as it is, and nothing runs.
    #[error("the stored record {digest} cannot be read: {problem}")]
    Unreadable {
        /// Twelve characters of the record's hash.
        digest: String,
        /// The reason that the record cannot be read.
        problem: String,
    },
}

/// Any error, as the source of another.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
