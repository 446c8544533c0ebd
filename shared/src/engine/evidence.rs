//! Evidence about an uncertain outcome, and the resolver that looks for it.

use super::{Attempt, Reason};
use crate::protocol::Record;

/// Asks the other side what became of an operation.
///
/// A client's retry drives it, and so does a scheduled reconciler, which has no request at hand: what a resolver needs
/// must be in the record ([`subject`](Record::subject), [`principal`](Record::principal)) or at the other side.
pub trait Resolver<E, T>: Send + Sync {
    /// Looks for evidence about the attempts that were made under the record's transaction id.
    ///
    /// `record` is held as UNKNOWN while this runs; `attempt` is the reconciliation's own: add to it the effects that
    /// belong to the answer that is found, and mind its [remaining](Attempt::remaining) time. What is not certain is
    /// [`Evidence::Unclear`]; a mere "not found" is not certain.
    fn resolve(&self, record: &Record, attempt: Attempt<E>) -> impl Future<Output = Evidence<T>> + Send;
}

/// What the other side says about a transaction id.
#[derive(Clone, Debug)]
pub enum Evidence<T> {
    /// It happened. Settles SUCCESS with this answer.
    Happened(T),
    /// It was refused for good. Settles FAILED with this answer.
    Refused(T),
    /// It did not happen *and cannot happen any more*. A retry may run, under a new transaction id: at once, if it is
    /// what reconciles; else the record is released, and effects that were added to the attempt are written with that.
    Prevented,
    /// None of these is certain. The record stays UNKNOWN.
    Unclear(Reason),
}
