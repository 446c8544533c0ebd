//! The handling of messages and stream records whose verdict is `Failed`.

use crate::protocol::Resolution;

/// How a message or a stream record is handled whose verdict is [`Verdict::Failed`](super::Verdict::Failed).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// It is returned to its source, until the redrive policy moves it to the dead-letter queue, where operators see
    /// it. Its FIFO group, partition or shard waits until then.
    #[default]
    Return,
    /// It is deleted. Only its idempotency record, which is FAILED, still shows it.
    Discard,
}

impl OnFailure {
    /// Whether a message or record with this resolution is done and is not delivered again.
    pub(crate) const fn is_done(self, resolution: Resolution) -> bool {
        match (resolution, self) {
            (Resolution::Success, _) | (Resolution::Failed, Self::Discard) => true,
            (Resolution::Failed, Self::Return) => false,
        }
    }
}
