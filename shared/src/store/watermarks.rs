//! Stores that keep the watermarks of streams as well as records.

use std::time::Duration;

use super::{ItemOf, NO_EFFECT, RefusedEffect, Store, StoreError};
use crate::protocol::watermark::Watermark;

/// A [`Store`] that also stores watermarks, each under an id.
pub trait Watermarks: Store {
    /// Reads a watermark with strong consistency.
    ///
    /// # Errors
    /// [`StoreError`] as for [`Store::read`].
    fn watermark(&self, id: &str) -> impl Future<Output = Result<Option<Watermark>, StoreError>> + Send;

    /// Writes a watermark and applies the effects, all or nothing, if the stored version is the preceding one (for
    /// version 1: if there is none). While concurrent writes interfere, it retries for about `retry_budget`.
    ///
    /// # Errors
    /// The same as for [`Store::write`], in particular [`StoreError::Rejected`] if the store does not accept these
    /// effects together, or does not accept one of them at all. The caller then tries fewer at a time.
    fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<Self::Effect>,
        retry_budget: Duration,
    ) -> impl Future<Output = Result<Advanced<ItemOf<Self>>, StoreError>> + Send;

    /// The approximate size of an effect in a request, in bytes.
    fn bytes(effect: &Self::Effect) -> usize;

    /// Whether two effects write the same item, as far as they show their items. A transaction accepts each item only
    /// once.
    fn collide(one: &Self::Effect, other: &Self::Effect) -> bool;
}

/// The result of moving a watermark.
#[derive(Debug)]
pub enum Advanced<I = ()> {
    /// It took effect.
    Applied,
    /// Another process moved it, or our own earlier write, whose reply was lost. Contains the stored watermark.
    Refused(Option<Watermark>),
    /// The condition of an effect did not hold. Nothing was written.
    EffectRefused(RefusedEffect<I>),
}

impl<I> Advanced<I> {
    /// The result of a move that had no effects, for a store with effects of another type.
    pub(super) fn without_effects<J>(self) -> Result<Advanced<J>, StoreError> {
        Ok(match self {
            Self::Applied => Advanced::Applied,
            Self::Refused(found) => Advanced::Refused(found),
            Self::EffectRefused(_) => return Err(StoreError::Uncertain(NO_EFFECT.into())),
        })
    }
}

/// The maximum number of effects in one transaction, in addition to the watermark.
pub const MAX_EFFECTS: usize = 99;

/// The approximate maximum size of one run's effects in bytes: well under a transaction's 4 MB, so that a request ends
/// within the client's time-out.
pub const MAX_BYTES: usize = 1024 * 1024;

/// The names of a stored watermark's attributes or fields.
#[cfg(any(feature = "dynamodb", feature = "valkey"))]
pub(super) mod names {
    pub(in crate::store) const VERSION: &str = "version";
    pub(in crate::store) const POSITION: &str = "position";
    pub(in crate::store) const NEWEST: &str = "newest";
    pub(in crate::store) const UPDATED: &str = "updated";
    pub(in crate::store) const WITNESSES: &str = "witnesses";

    /// All of them: the attributes of an item besides its key.
    #[cfg(feature = "dynamodb")]
    pub(in crate::store) const ALL: [&str; 5] = [VERSION, POSITION, NEWEST, UPDATED, WITNESSES];
}
