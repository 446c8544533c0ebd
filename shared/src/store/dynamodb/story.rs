//! A story as bytes: 27 for each step, so that a healthy record's two steps cost little of its one write unit.

use crate::protocol::{EpochMs, Event, RequestId, Step, Story};

/// Event (1), epoch milliseconds (6), attempt (4), request id (16, zero for none); numbers are big-endian.
const STEP_BYTES: usize = 27;

pub(super) fn to_bytes(story: &Story) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(STEP_BYTES * story.steps().len());
    for step in story.steps() {
        bytes.push(step.event.as_byte());
        bytes.extend_from_slice(&step.at.0.to_be_bytes()[2..]);
        bytes.extend_from_slice(&u32::try_from(step.attempt).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(&step.request.map_or([0; 16], RequestId::to_bytes));
    }
    bytes
}

/// What is not a whole step is left out: a story is for people, and no reason not to read a record.
pub(super) fn from_bytes(bytes: &[u8]) -> Story {
    let (steps, _) = bytes.as_chunks::<STEP_BYTES>();
    Story::from_steps(steps.iter().map(step).collect())
}

fn step(bytes: &[u8; STEP_BYTES]) -> Step {
    let number = |range: std::ops::Range<usize>| bytes[range].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    let mut request = [0; 16];
    request.copy_from_slice(&bytes[11..]);
    Step {
        event: Event::from_byte(bytes[0]),
        at: EpochMs(number(1..7)),
        attempt: number(7..11),
        request: (request != [0; 16]).then(|| RequestId::from_bytes(request)),
    }
}
