//! Stores that keep the watermarks of streams as well as records.

use std::time::Duration;

use super::{ItemOf, RefusedEffect, Store, StoreError};
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

/// The maximum number of effects in one transaction, in addition to the watermark.
pub const MAX_EFFECTS: usize = 99;

/// The approximate maximum size of one run's effects in bytes: well under a transaction's 4 MB, so that a request ends
/// within the client's time-out.
pub const MAX_BYTES: usize = 1024 * 1024;
