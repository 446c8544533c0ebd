//! The contention between messages of one batch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use derive_where::derive_where;

use super::message::Message;

/// The resources for which a message contends, by names that the application chooses: an account, a stream, or any item
/// that its effects write.
///
/// DynamoDB does not queue transactions on one item: it cancels all but one (`TransactionConflict`), and each cancelled
/// transaction is billed and retried. Messages of one batch that share a name therefore run one after another. Messages
/// of other batches may still conflict; the store retries within the deadline.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contention {
    pub(super) names: Vec<String>,
    pub(super) rank: u64,
}

impl Contention {
    /// A message that contends with no other.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds a name: the message contends with every message that has the same name.
    #[must_use]
    pub fn on(mut self, name: impl Into<String>) -> Self {
        self.names.push(name.into());
        self
    }

    /// Sets the rank: contending messages run in ascending rank, and those of equal rank in the order of the batch.
    /// Default: 0.
    ///
    /// Use it for messages with a sequence number: a standard queue delivers them in any order, and a message whose
    /// predecessors ran first need not be held back.
    #[must_use]
    pub const fn rank(mut self, rank: u64) -> Self {
        self.rank = rank;
        self
    }
}

/// The application's function that returns what a message contends for.
#[derive_where(Clone, Debug)]
pub(super) struct ContentionOf<T>(#[derive_where(skip)] Option<Arc<Function<T>>>);

type Function<T> = dyn Fn(&Message<'_, T>) -> Contention + Send + Sync;

impl<T> ContentionOf<T> {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) fn new(of: impl Fn(&Message<'_, T>) -> Contention + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(of)))
    }

    /// If the function panics on a message, that message contends with none, so that the others are not returned.
    pub(super) fn of(&self, message: &Message<'_, T>) -> Contention {
        let Some(of) = &self.0 else { return Contention::none() };
        catch_unwind(AssertUnwindSafe(|| of(message))).unwrap_or_else(|_panic| {
            tracing::error!(
                message = message.message_id,
                "the contention of the message is not known: its function panicked"
            );
            Contention::none()
        })
    }
}
