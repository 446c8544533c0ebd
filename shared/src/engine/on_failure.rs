//! What becomes of a message or a stream record whose verdict is `Failed`.

/// What becomes of a message or a stream record that failed for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnFailure {
    /// It is returned to its source, until the redrive policy moves it to the dead-letter queue, where people see it.
    /// Its FIFO group, partition or shard waits until then.
    #[default]
    Return,
    /// It is deleted: its record, which is FAILED, is all that remembers it.
    Discard,
}
