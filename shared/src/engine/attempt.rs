//! What a run knows of its claim, and where it puts its effects.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Clock, EffectRefusal};
use crate::protocol::{EpochMs, Trace, TransactionId};
use crate::store::{Item, RefusedEffect};

/// One run under a claim.
///
/// A cheap handle: clones share the list of effects, so that it can travel in the extensions of a request.
/// Effects that are added after the run has ended are ignored.
pub struct Attempt<E> {
    transaction: TransactionId,
    number: u64,
    trace: Option<Trace>,
    stop_at: EpochMs,
    clock: Arc<dyn Clock>,
    effects: Arc<Mutex<Vec<Guarded<E>>>>,
}

struct Guarded<E> {
    effect: E,
    refusal: Option<ReadRefusal>,
}

type ReadRefusal = Box<dyn Fn(Option<&Item>) -> EffectRefusal + Send>;

/// The effects of an attempt, and what a refusal of each means.
pub(crate) struct Effects<E> {
    pub(crate) effects: Vec<E>,
    refusals: Vec<Option<ReadRefusal>>,
}

impl<E> Effects<E> {
    pub(crate) const fn none() -> Self {
        Self::of(Vec::new())
    }

    pub(super) const fn of(effects: Vec<E>) -> Self {
        Self { effects, refusals: Vec::new() }
    }

    pub(crate) fn read(&self, refused: &RefusedEffect) -> EffectRefusal {
        match self.refusals.get(refused.index) {
            Some(Some(read)) => read(refused.found.as_deref()),
            Some(None) | None => EffectRefusal::Unexpected,
        }
    }
}

impl<E> Attempt<E> {
    pub(super) fn new(
        transaction: TransactionId,
        number: u64,
        trace: Option<Trace>,
        stop_at: EpochMs,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { transaction, number, trace, stop_at, clock, effects: Arc::default() }
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

    /// The trace of which the call is a part; while evidence is looked for, that of the first call. Hand it on as
    /// `traceparent`, to systems that are called and in messages that are written.
    #[must_use]
    pub const fn trace(&self) -> Option<Trace> {
        self.trace
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

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Adds an effect *inside*: it is written in the transaction that settles the record, or not at all.
    ///
    /// At most 99 beside the record, which is what one `TransactWriteItems` carries; each on another item.
    pub fn add_effect(&self, effect: E) {
        self.add(Guarded { effect, refusal: None });
    }

    /// As [`Attempt::add_effect`], for an effect whose own condition is part of the business: `refusal` reads, from
    /// the item that broke the condition, what that means.
    ///
    /// It is asked in single-write mode and in streams, where the run has no effect but the ones it adds. Under a claim a
    /// refused effect leaves the outcome unknown: effects outside may have happened.
    pub fn add_guarded_effect(&self, effect: E, refusal: impl Fn(Option<&Item>) -> EffectRefusal + Send + 'static) {
        self.add(Guarded { effect, refusal: Some(Box::new(refusal)) });
    }

    fn add(&self, guarded: Guarded<E>) {
        self.effects.lock().unwrap_or_else(PoisonError::into_inner).push(guarded);
    }

    pub(crate) fn take_guarded_effects(&self) -> Effects<E> {
        let guarded = std::mem::take(&mut *self.effects.lock().unwrap_or_else(PoisonError::into_inner));
        let (effects, refusals) = guarded.into_iter().map(|guarded| (guarded.effect, guarded.refusal)).unzip();
        Effects { effects, refusals }
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
