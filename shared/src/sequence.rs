//! Sequence numbers: each device or user numbers its messages, and a high-water mark holds the last number that ran.
//!
//! The mark is an item that moves in the transaction of the effects, so that effects and mark never disagree. Unlike a
//! record, the mark does not expire: a message that was held back for years is still a duplicate. Each number also has
//! an entry, which keeps a digest of the message that used it.
//!
//! | number | [`Step`] | result |
//! |---|---|---|
//! | one above the mark | `Next` | runs |
//! | at or below the mark, the entry has this content | `Duplicate` | is settled without its effects |
//! | at or below the mark, the entry has other content | `Duplicate` | is a conflict: nothing is written, it is returned and counted |
//! | further above | `Gap` | by [`Gap`]: held, or accepted |
//!
//! **A conflict** occurs when a device used a number twice, or restarted its numbers (it was replaced, or lost its
//! memory). Settling the message as a duplicate would lose its content. Its outcome is therefore [`Outcome::Conflict`]:
//! it is redelivered and ends in the dead-letter queue or at the on-failure destination, where operators see it. Two
//! cases go undetected and count as duplicates: a restarted device sends exactly the content for which the number was
//! used before; or a number's entry is gone or was written by a version that kept no digest.
//!
//! **With single-write mode.** Mark and entry are two more effects of the message, in addition to its own record, and
//! nothing is read first: the conditions of the write decide. If one fails, the item that broke it distinguishes a
//! duplicate from a conflict and from a gap. A message that has a record is answered from the record, whatever the mark
//! is; a lost reply is recognised by the record before the mark is examined. A held message has no record: it is
//! redelivered, moves to the dead-letter queue after too many receives, and takes effect once when it is redriven after
//! the missing message ran.
//!
//! A stream that restarts its numbers (a replaced device) needs a new name: under the old one its messages are
//! conflicts.
//!
//! [`Outcome::Conflict`]: crate::Outcome::Conflict

#[cfg(feature = "dynamodb")]
mod gate;

use std::num::NonZeroU64;

use crate::engine::EffectRefusal;
use crate::protocol::Fingerprint;
#[cfg(feature = "dynamodb")]
pub use gate::{Entry, SequenceGate};

/// How a number is handled that is more than one above the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The message waits until the missing ones have run. Use this for data that must be complete, such as money.
    Hold,
    /// The message runs and moves the mark. The missing ones count as duplicates if they come later. Use this for data
    /// of which only the latest value matters, such as a position.
    Accept,
}

/// How a number relates to the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next number.
    Next,
    /// It was used before.
    Duplicate,
    /// Numbers before it are missing.
    Gap,
}

/// Compares a number with the mark. Streams begin with 1; `mark` is the highest number that ran, `None` if none ran.
#[must_use]
pub fn decide(mark: Option<u64>, number: NonZeroU64) -> Step {
    match number.get().checked_sub(mark.unwrap_or(0)) {
        None | Some(0) => Step::Duplicate,
        Some(1) => Step::Next,
        Some(_) => Step::Gap,
    }
}

/// Interprets the digest in the entry of a used number.
pub(crate) fn refusal_of_entry(stored: &[u8], content: Fingerprint) -> EffectRefusal {
    match <[u8; Fingerprint::BYTES]>::try_from(stored) {
        Ok(stored) if stored == *content.as_bytes() => EffectRefusal::AppliedBefore,
        // Digests of two algorithms cannot be compared.
        Ok([version, ..]) if version != content.as_bytes()[0] => EffectRefusal::Unexpected,
        Ok(_) => EffectRefusal::Conflict,
        Err(_) => EffectRefusal::Unexpected,
    }
}

/// Interprets the mark that refused a number.
pub(crate) fn refusal_of_mark(mark: Option<u64>, number: NonZeroU64, gap: Gap) -> EffectRefusal {
    match (decide(mark, number), gap) {
        (Step::Duplicate, Gap::Hold | Gap::Accept) => EffectRefusal::AppliedBefore,
        (Step::Gap, Gap::Hold) => EffectRefusal::NotYet,
        // The condition would have held.
        (Step::Gap, Gap::Accept) | (Step::Next, Gap::Hold | Gap::Accept) => EffectRefusal::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn in_whatever_order_and_how_often_numbers_come_each_runs_once_and_in_order(
            mut deliveries in prop::collection::vec(1_u64..30, 0..200),
        ) {
            let (mut mark, mut ran) = (None, Vec::new());
            // Held messages are redelivered until the mark no longer moves.
            loop {
                let before = ran.len();
                deliveries.retain(|number| {
                    let step = decide(mark, NonZeroU64::new(*number).unwrap());
                    if step == Step::Next {
                        mark = Some(*number);
                        ran.push(*number);
                    }
                    step == Step::Gap
                });
                if ran.len() == before {
                    break;
                }
            }
            prop_assert!(ran.iter().copied().eq(1..=ran.len() as u64));
            prop_assert!(!deliveries.contains(&(ran.len() as u64 + 1)), "the next number is never held");
        }

        #[test]
        fn every_number_is_one_of_the_three(mark: Option<u64>, number in 1_u64..) {
            let number = NonZeroU64::new(number).unwrap();
            let highest = mark.unwrap_or(0);
            let expected = match number.get().cmp(&highest.saturating_add(1)) {
                std::cmp::Ordering::Less => Step::Duplicate,
                std::cmp::Ordering::Equal if highest == u64::MAX => Step::Duplicate,
                std::cmp::Ordering::Equal => Step::Next,
                std::cmp::Ordering::Greater => Step::Gap,
            };
            prop_assert_eq!(decide(mark, number), expected);
        }
    }
}
