//! Stores that keep the watermarks of streams as well as records.

use std::time::Duration;

use super::{ItemOf, RefusedEffect, Store, StoreError};
use crate::protocol::watermark::Watermark;

/// A [`Store`] that also keeps watermarks, each under an id.
pub trait Watermarks: Store {
    /// Reads a watermark as it is now (strongly consistent).
    ///
    /// # Errors
    /// [`StoreError`] as of [`Store::read`].
    fn watermark(&self, id: &str) -> impl Future<Output = Result<Option<Watermark>, StoreError>> + Send;

    /// Writes a watermark and applies the effects, all or nothing, if the stored version is still the one before (none
    /// if that is 0). Where others are in the way it tries again for about `retry_budget`.
    ///
    /// # Errors
    /// [`StoreError`] as of [`Store::write`].
    fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<Self::Effect>,
        retry_budget: Duration,
    ) -> impl Future<Output = Result<Advanced<ItemOf<Self>>, StoreError>> + Send;

    /// About how many bytes of a request an effect takes.
    fn bytes(effect: &Self::Effect) -> usize;

    /// Whether two effects write one item, as far as the effects show it. A transaction takes an item once.
    fn collide(one: &Self::Effect, other: &Self::Effect) -> bool;
}

/// What became of a watermark's move.
#[derive(Debug)]
pub enum Advanced<I = ()> {
    /// It took effect.
    Applied,
    /// Somebody else has moved it, or our own lost reply did: this is where it stands.
    Refused(Option<Watermark>),
    /// The condition of an effect did not hold. Nothing was written.
    EffectRefused(RefusedEffect<I>),
    /// The service does not take these effects together, or one of them at all. Nothing was written.
    Rejected(StoreError),
}

/// The most effects that one transaction carries besides the watermark.
pub const MAX_EFFECTS: usize = 99;

/// About how many bytes of effects one run carries: well under the 4 MB that a transaction may have, so that a request
/// ends within the client's time-out.
pub const MAX_BYTES: usize = 1024 * 1024;
