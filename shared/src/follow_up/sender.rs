//! The sender, which delivers follow-ups when they are due.

use crate::protocol::FollowUp;
use crate::store::BoxError;

/// Delivers follow-ups to [`FollowUps::handle`](super::FollowUps::handle), in a later invocation.
///
/// With the feature `follow-up`, [`Schedules`](super::Schedules) does so by EventBridge Scheduler. Another sender may
/// use a queue with delayed messages, which must deliver the text of [`to_text`](super::to_text).
pub trait Sender: Send + Sync {
    /// Sends follow-ups, each of which must be delivered when it is due or a little later. A sender may deliver them in
    /// several parts and more than once, and may treat a follow-up equal to one that it already has as the same: none
    /// is sent again unchanged.
    ///
    /// # Errors
    /// Returns an error if any of them may not have been accepted. All are then sent again.
    fn send(&self, follow_ups: &[FollowUp]) -> impl Future<Output = Result<(), BoxError>> + Send;
}

impl<S: Sender> Sender for &S {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), BoxError> {
        (*self).send(follow_ups).await
    }
}
