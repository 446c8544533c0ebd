//! What a run knows of its claim, and where it puts its effects.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Clock;
use crate::protocol::{EpochMs, Record, TransactionId};

/// One run under a claim.
///
/// A cheap handle: clones share the list of effects, so that it can travel in the extensions of a request.
/// Effects that are added after the run has ended are ignored.
pub struct Attempt<E> {
    transaction: TransactionId,
    number: u64,
    stop_at: EpochMs,
    clock: Arc<dyn Clock>,
    effects: Arc<Mutex<Vec<E>>>,
}

impl<E> Attempt<E> {
    pub(super) fn new(record: &Record, stop_at: EpochMs, clock: Arc<dyn Clock>) -> Self {
        Self { transaction: record.transaction, number: record.attempt, stop_at, clock, effects: Arc::default() }
    }

    /// The transaction id: the same over all attempts of one operation. Hand it to every other system as its
    /// idempotency key.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The number of this attempt, from 1: a fencing token that only grows.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The time of day, for what the run writes.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        self.clock.now()
    }

    /// How long the run may still take. Give calls to others a time-out below it.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.stop_at.since(self.clock.now())
    }

    /// Adds an effect *inside*: it is written in the transaction that settles the record, or not at all.
    ///
    /// At most 99 beside the record, which is what one `TransactWriteItems` carries; each on another item.
    pub fn add_effect(&self, effect: E) {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).push(effect);
    }

    pub(crate) fn take_effects(&self) -> Vec<E> {
        std::mem::take(&mut *self.effects.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<E> Clone for Attempt<E> {
    fn clone(&self) -> Self {
        Self { clock: Arc::clone(&self.clock), effects: Arc::clone(&self.effects), ..*self }
    }
}

impl<E> fmt::Debug for Attempt<E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Attempt")
            .field("transaction", &self.transaction)
            .field("number", &self.number)
            .field("stop_at", &self.stop_at)
            .finish_non_exhaustive()
    }
}
