//! Who delivers follow-ups when they are due.

use crate::protocol::FollowUp;
use crate::store::BoxError;

/// Delivers follow-ups to [`FollowUps::handle`](super::FollowUps::handle), in a later invocation.
///
/// With the feature `follow-up`, [`Schedules`](super::Schedules) does so with EventBridge Scheduler. Another sender may
/// use a queue with delayed messages: [`to_text`](super::to_text) is what to deliver.
pub trait Sender: Send + Sync {
    /// Sends follow-ups, each to be delivered once it is due, or a little later. It may deliver them in several parts and
    /// more than once, and may take an equal one that it already has for the same: none is sent again as it was delivered.
    ///
    /// # Errors
    /// If any of them may not have been accepted. All are then sent again.
    fn send(&self, follow_ups: &[FollowUp]) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<S: Sender> Sender for &S {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
        (*self).send(follow_ups).await
    }
}
