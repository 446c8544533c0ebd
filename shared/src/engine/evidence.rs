//! Evidence about an uncertain outcome, and the resolver that obtains it.

use super::{Attempt, Reason};
use crate::protocol::Record;
use crate::store::TransactionalEffect;

/// Finds out from an external system whether an operation took effect.
///
/// It is called for a client's retry and by a scheduled reconciler, which has no request. Everything that a resolver
/// needs must therefore be in the record ([`subject`](Record::subject), [`principal`](Record::principal)) or in the
/// external system.
pub trait Resolver<E: TransactionalEffect, T>: Send + Sync {
    /// Looks for evidence about the attempts that were made under the record's transaction id.
    ///
    /// `record` is held as UNKNOWN while this runs. `attempt` belongs to the reconciliation: add to it the effects that
    /// belong to the answer you find, and finish within its [remaining](Attempt::remaining) time. Return
    /// [`Evidence::Unclear`] for everything that is not certain; a mere "not found" is not certain.
    fn resolve(&self, record: &Record, attempt: Attempt<E>) -> impl Future<Output = Evidence<T>> + Send;
}

/// The external system's evidence about a transaction id.
#[derive(Clone, Debug)]
pub enum Evidence<T> {
    /// It happened. Settles the record as SUCCESS with this answer.
    Happened(T),
    /// It was refused for good. Settles the record as FAILED with this answer.
    Refused(T),
    /// It did not happen *and can no longer happen*. A retry may run, under a new transaction id. If a call is
    /// reconciling, that call runs at once; otherwise the record is released, and the effects that were added to the
    /// attempt are written with the release.
    Prevented,
    /// None of the above is certain. The record stays UNKNOWN, for this reason.
    Unclear(Reason),
}
