//! Who looks for evidence.

use super::Evidence;
use crate::engine::Attempt;
use crate::protocol::Record;
use crate::store::TransactionalEffect;

/// Asks the other side what became of an operation.
///
/// A client's retry drives it, and so does a scheduled reconciler, which has no request at hand: what a resolver needs
/// must be in the record ([`subject`](Record::subject), [`principal`](Record::principal)) or at the other side.
pub trait Resolver<E: TransactionalEffect, T>: Send + Sync {
    /// Looks for evidence about the attempts that were made under the record's transaction id.
    ///
    /// `record` is held as UNKNOWN while this runs; `attempt` is the reconciliation's own: add to it the effects that
    /// belong to the answer that is found, and mind its [remaining](Attempt::remaining) time. What is not certain is
    /// [`Evidence::Unclear`]; a mere "not found" is not certain.
    fn resolve(&self, record: &Record, attempt: Attempt<E>) -> impl Future<Output = Evidence<T>> + Send;
}
