//! The time at which a returned message becomes visible again.

#[cfg(feature = "sqs-visibility")]
mod sqs;

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
