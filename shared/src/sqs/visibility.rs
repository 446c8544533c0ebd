//! The time at which a returned message becomes visible again.

#[cfg(feature = "sqs-visibility")]
mod sqs;

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsMessage;
use futures::future::BoxFuture;

#[cfg(feature = "sqs-visibility")]
pub use sqs::SqsVisibility;

use crate::store::BoxError;

/// Sets when a received message becomes visible again.
///
/// With the feature `sqs-visibility`, `SqsVisibility` implements it by `ChangeMessageVisibility`.
pub trait Visibility: Send + Sync {
    /// Makes the message visible again after `after` from now, instead of after the queue's visibility timeout.
    fn set<'a>(&'a self, message: &'a SqsMessage, after: Duration) -> BoxFuture<'a, Result<(), BoxError>>;
}

/// A [`Visibility`], or none, in which case every message keeps the queue's visibility timeout.
#[derive(Clone, Default)]
pub(super) struct VisibilityOf(Option<Arc<dyn Visibility>>);

impl VisibilityOf {
    pub(super) fn new(visibility: impl Visibility + 'static) -> Self {
        Self(Some(Arc::new(visibility)))
    }

    pub(super) async fn set(&self, message: &SqsMessage, after: Duration) -> Result<(), BoxError> {
        match &self.0 {
            Some(visibility) => visibility.set(message, after).await,
            None => Ok(()),
        }
    }
}
