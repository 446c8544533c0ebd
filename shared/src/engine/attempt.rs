//! One attempt: what a run knows about its claim, and the effects that it adds.

use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;

use super::{Clock, EffectRefusal};
use crate::mutex::Mutex;
use crate::protocol::{EpochMs, RecordId, Trace, TransactionId};
use crate::store::{RefusedEffect, TransactionalEffect};

/// One run of an operation.
///
/// A cheap handle: clones share the list of effects, so it can be passed on, for example in a request's extensions.
/// Effects that are added after the run has ended are ignored.
#[derive_where(Clone, Debug)]
pub struct Attempt<E: TransactionalEffect> {
    /// `None` if the attempt has no record, as in a stream.
    pub(super) record: Option<RecordId>,
    pub(super) transaction: TransactionId,
    pub(super) number: u64,
    pub(super) trace: Option<Trace>,
    pub(super) stop_at: EpochMs,
    #[derive_where(skip)]
    pub(super) clock: Arc<dyn Clock>,
    /// Whether the store writes effects in one transaction with the record.
    pub(crate) effects_with_record: bool,
    #[derive_where(skip)]
    pub(super) effects: Arc<Mutex<Vec<Guarded<E>>>>,
}

pub(super) struct Guarded<E: TransactionalEffect> {
    effect: E,
    refusal: Option<ReadRefusal<E::Item>>,
}

type ReadRefusal<I> = Box<dyn Fn(Option<&I>) -> EffectRefusal + Send>;

/// The effects of an attempt, and the function that interprets the refusal of each.
pub(crate) struct Effects<E: TransactionalEffect> {
    pub(crate) effects: Vec<E>,
    refusals: Vec<Option<ReadRefusal<E::Item>>>,
}

impl<E: TransactionalEffect> Effects<E> {
    pub(crate) const fn none() -> Self {
        Self::of(Vec::new())
    }

    pub(super) const fn of(effects: Vec<E>) -> Self {
        Self { effects, refusals: Vec::new() }
    }

    pub(crate) fn read(&self, refused: &RefusedEffect<E::Item>) -> EffectRefusal {
        match self.refusals.get(refused.index) {
            Some(Some(read)) => read(refused.found.as_deref()),
            Some(None) | None => EffectRefusal::Unexpected,
        }
    }
}

impl<E: TransactionalEffect> Attempt<E> {
    /// The id of the operation's record. Store it with an effect, so that people can find the record from the effect.
    /// An attempt at a stream record has none.
    #[must_use]
    pub const fn record_id(&self) -> Option<&RecordId> {
        self.record.as_ref()
    }

    /// The transaction id: the same for all attempts at one operation. Pass it to every other system as its idempotency
    /// key.
    #[must_use]
    pub const fn transaction(&self) -> TransactionId {
        self.transaction
    }

    /// The number of this attempt, from 1. It only grows, so it serves as a fencing token.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The trace that the call belongs to; in a resolver, that of the first call. Pass it on as `traceparent` to the
    /// systems you call and in the messages you write.
    #[must_use]
    pub const fn trace(&self) -> Option<Trace> {
        self.trace
    }

    /// The current time by the engine's clock, for what the run writes.
    #[must_use]
    pub fn now(&self) -> EpochMs {
        self.clock.now()
    }

    /// How long the run may still take. Use a shorter time-out for the calls it makes.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.stop_at.since(self.clock.now())
    }

    /// Adds a transactional effect: it is written in the transaction that settles the record, or not at all.
    ///
    /// On DynamoDB, one `TransactWriteItems` carries the record and at most 99 effects, each on a different item.
    pub fn add_effect(&self, effect: E) {
        self.add(Guarded { effect, refusal: None });
    }

    /// Adds several effects; see [`Attempt::add_effect`].
    pub fn add_effects(&self, effects: impl IntoIterator<Item = E>) {
        let guarded = effects.into_iter().map(|effect| Guarded { effect, refusal: None });
        self.effects.lock().extend(guarded);
    }

    /// Like [`Attempt::add_effect`], for an effect whose own condition is a business rule. If that condition fails,
    /// `refusal` interprets the item that broke it (`None` if there is no item).
    ///
    /// `refusal` is called only in single-write mode and in streams, where the added effects are the only ones. Under a
    /// claim, a refused effect leaves the outcome unknown, because external effects may have happened.
    pub fn add_guarded_effect(&self, effect: E, refusal: impl Fn(Option<&E::Item>) -> EffectRefusal + Send + 'static) {
        self.add(Guarded { effect, refusal: Some(Box::new(refusal)) });
    }

    fn add(&self, guarded: Guarded<E>) {
        self.effects.lock().push(guarded);
    }

    pub(crate) fn take_guarded_effects(&self) -> Effects<E> {
        let guarded = std::mem::take(&mut *self.effects.lock());
        let (effects, refusals) = guarded.into_iter().map(|guarded| (guarded.effect, guarded.refusal)).unzip();
        Effects { effects, refusals }
    }
}
