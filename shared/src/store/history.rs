//! The byte form of a history, 27 bytes per entry, so that the two entries of a typical record take little of its
//! single write unit.

use crate::protocol::{EpochMs, History, HistoryEntry, HistoryEvent, InvocationId};

/// The length of an entry: `HistoryEvent` (1), epoch milliseconds (6), attempt (4), request id (16, zero for none).
/// Numbers are big-endian.
const STEP_BYTES: usize = 27;

pub(super) fn to_bytes(history: &History) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STEP_BYTES * history.entries().len());
    for entry in history.entries() {
        bytes.push(entry.event.as_byte());
        bytes.extend_from_slice(&entry.at.0.to_be_bytes()[2..]);
        bytes.extend_from_slice(&u32::try_from(entry.attempt).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&entry.request.map_or([0; 16], InvocationId::to_bytes));
    }
    bytes
}

/// Reads a history and drops an incomplete entry: a history is for people, and must not make a record unreadable.
pub(super) fn from_bytes(bytes: &[u8]) -> History {
    let (entries, _) = bytes.as_chunks::<STEP_BYTES>();
    History::from_entries(entries.iter().map(entry).collect())
}

fn entry(bytes: &[u8; STEP_BYTES]) -> HistoryEntry {
    let number = |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let mut request = [0; 16];
    request.copy_from_slice(&bytes[11..]);
    HistoryEntry {
        event: HistoryEvent::from_byte(bytes[0]),
        at: EpochMs(number(1..7)),
        attempt: number(7..11),
        request: (request != [0; 16]).then(|| InvocationId::from_bytes(request)),
    }
}
