//! The resolver for operations whose effects are all transactional.

use super::{Evidence, Resolver};
use crate::engine::Attempt;
use crate::protocol::Record;
use crate::store::TransactionalEffect;

/// The resolver for operations **all of whose effects are transactional**, added to the attempt.
///
/// A record of such an operation whose outcome is unknown proves that nothing happened: the effects would have been
/// written with the outcome. It cannot happen later either, because the reconciliation holds the record, and a late
/// owner's commit is refused. The evidence is therefore [`Evidence::Prevented`]: a retry runs, and without a retry the
/// key is free.
///
/// With a store that writes effects and record in separate transactions (see [`Store::EFFECTS_WITH_RECORD`]), this
/// would prove nothing, so the evidence is [`Evidence::Unclear`].
///
/// [`Store::EFFECTS_WITH_RECORD`]: crate::store::Store::EFFECTS_WITH_RECORD
///
/// Never use it for an operation that calls another system: that call may have happened.
///
/// ```
/// # #[cfg(feature = "http")]
/// # {
/// use idempotency::IdempotencyLayer;
/// use idempotency::reconcile::OnlyTransactionalEffects;
/// # use idempotency::{Engine, store::memory::MemoryStore};
/// # let engine = Engine::builder(MemoryStore::new()).build();
///
/// let layer = IdempotencyLayer::new(engine, "orders").resolver(OnlyTransactionalEffects);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyTransactionalEffects;

impl<E: TransactionalEffect, T> Resolver<E, T> for OnlyTransactionalEffects {
    async fn resolve(&self, _: &Record, attempt: Attempt<E>) -> Evidence<T> {
        if attempt.effects_with_record {
            Evidence::Prevented
        } else {
            Evidence::Unclear("the store does not write effects together with the record".into())
        }
    }
}
