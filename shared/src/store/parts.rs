//! Cuts long answers into parts.

use crate::protocol::{Response, State, Write};

/// The longest answer that is stored in the record itself (8 KiB).
///
/// DynamoDB bills a refused claim, and thus a replay, as a write of the size of the item that it finds. With a longer
/// answer it is much cheaper to find a small record and to read the answer from other items.
pub const MAX_RECORD_RESPONSE_BYTES: usize = 8 * 1024;

/// The longest part of an answer: a DynamoDB item has at most 400 KB (409,600 bytes), including names.
pub const PART_BYTES: usize = 400 * 1024 - 4 * 1024;

/// The write of the record without its answer, and the answer's parts; `None` if the record contains its answer.
///
/// This is for stores that bill or limit by the size of an item. Other stores keep every answer in its record.
#[must_use]
pub fn cut(write: &Write, part_bytes: usize) -> Option<(Write, Vec<&[u8]>)> {
    let (_, settled) = write.record.settled()?;
    let whole = match &settled.response {
        Response::Whole(whole) if whole.len() > MAX_RECORD_RESPONSE_BYTES => whole,
        Response::Whole(_) | Response::Parts(_) => return None,
    };
    let parts: Vec<&[u8]> = whole.chunks(part_bytes).collect();
    let mut head = write.clone();
    if let State::Success(settled) | State::Failed(settled) = &mut head.record.state {
        settled.response = Response::Parts(u32::try_from(parts.len()).unwrap_or(u32::MAX));
    }
    Some((head, parts))
}
