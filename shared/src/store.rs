//! Where records live: one trait, one DynamoDB store, one memory store, one conformance suite for all.

#[cfg(any(all(test, feature = "system"), feature = "test-util"))]
pub mod conformance;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(all(test, feature = "system"), feature = "test-util"))]
pub mod fault;
pub mod memory;
mod parts;
pub mod watermarks;

pub use parts::{MAX_RECORD_RESPONSE_BYTES, PART_BYTES};

use std::fmt::Debug;
use std::time::Duration;

use crate::protocol::{Record, RecordId, Write};

/// A place for records that can write one of them, together with effects, under a condition.
///
/// The module `conformance` (feature `test-util`) is what every implementation must pass.
pub trait Store: Send + Sync + 'static {
    /// A write of the business, made in the same transaction as the record.
    type Effect: TransactionalEffect;

    /// The longest answer that can be written together with these effects.
    fn max_response_bytes(effects: &[Self::Effect]) -> usize;

    /// Writes a record and applies the effects, all or nothing, if the write's condition holds.
    ///
    /// An answer that is too long for the record is written next to it, in [parts](crate::protocol::Response::Parts).
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if certainly nothing was written, [`StoreError::Uncertain`] if that is not
    /// known, [`StoreError::Unreadable`] if a record is in the way that this version cannot read.
    fn write(
        &self,
        write: &Write,
        effects: Vec<Self::Effect>,
    ) -> impl Future<Output = Result<Written<ItemOf<Self>>, StoreError>> + Send;

    /// As [`Store::write`], but where others are in the way (conflicting transactions, throttling) it tries again for
    /// about this long, instead of for about a second.
    ///
    /// # Errors
    /// As [`Store::write`].
    fn write_within(
        &self,
        write: &Write,
        effects: Vec<Self::Effect>,
        _patience: Duration,
    ) -> impl Future<Output = Result<Written<ItemOf<Self>>, StoreError>> + Send {
        self.write(write, effects)
    }

    /// Reads a record as it is now (strongly consistent), expired or not.
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if the store did not answer, [`StoreError::Unreadable`] if it holds something
    /// that this version cannot read.
    fn read(&self, id: &RecordId) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Reads an answer that is stored in parts. Nothing, if one of them is missing or was written with another record
    /// than this one: the key has expired and been used again.
    ///
    /// # Errors
    /// As [`Store::read`].
    fn read_parts(
        &self,
        record: &Record,
        parts: u32,
    ) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>> + Send;
}

/// A write of the business that a store makes in the transaction of a record.
pub trait TransactionalEffect: Send + 'static {
    /// What the store finds where the effect's own condition does not hold.
    type Item: Clone + Debug + PartialEq + Send + Sync + 'static;
}

/// For stores that write records only.
impl TransactionalEffect for () {
    type Item = ();
}

/// What a store finds where the condition of an effect does not hold.
pub type ItemOf<S> = <<S as Store>::Effect as TransactionalEffect>::Item;

/// What became of a write. All of these are answers; an error is "could not" or "do not know".
#[derive(Clone, Debug, PartialEq)]
pub enum Written<I = ()> {
    /// It took effect now.
    Applied,
    /// It had taken effect before: the reply to our own write was lost, and the repeat found it (guarantee G4).
    Recognised,
    /// The condition did not hold. Nothing was written. This is what is stored instead.
    Refused(Option<Box<Record>>),
    /// The record's condition held, but that of an effect did not. Nothing was written.
    EffectRefused(RefusedEffect<I>),
}

/// The effect whose condition did not hold; the first of them, if there are several.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedEffect<I = ()> {
    /// Which one, in the order in which they were added.
    pub index: usize,
    /// What broke the condition, if the store returned it.
    pub found: Option<Box<I>>,
}

impl<I> Written<I> {
    /// Reads the failure of the record's condition: our own write, or somebody else's.
    pub(crate) fn refused(write: &Write, found: Option<Record>) -> Self {
        match found {
            Some(found) if write.made(&found) => Self::Recognised,
            other => Self::Refused(other.map(Box::new)),
        }
    }
}

/// Why a store gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Certainly nothing was written: the service refused, throttled, or was not reached.
    #[error("the store did not accept the request, nothing was written")]
    NotApplied(#[source] BoxError),
    /// The request may or may not have taken effect: its reply did not arrive.
    #[error("the store did not answer, whether the write took effect is not known")]
    Uncertain(#[source] BoxError),
    /// What is stored cannot be read by this version. It is left as it is, and nothing runs.
    #[error("the stored record {digest} cannot be read: {problem}")]
    Unreadable {
        /// Twelve characters of the record's hash.
        digest: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Any error, as the cause of another.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
