//! Sequence numbers: each device or user numbers its messages, and a high-water mark holds the last number that ran.
//!
//! The mark is an item that moves in the transaction of the effects, so that effects and mark never disagree. Unlike a
//! record, it does not expire: a message that was held back for years is still a duplicate. Each number also has an
//! [`Entry`], which keeps a digest of the message that used it.
//!
//! | number | [`Step`] | result |
//! |---|---|---|
//! | one above the mark | `Next` | runs |
//! | at or below the mark, the entry has this content | `Duplicate` | is settled without its effects |
//! | at or below the mark, the entry has other content | `Duplicate` | is a conflict: nothing is written, it is returned and counted |
//! | further above | `Gap` | by [`Gap`]: held, or accepted |
//!
//! **A conflict** occurs when a device used a number twice, or restarted its numbers (it was replaced, or lost its
//! memory). Settling the message as a duplicate would lose its content. So it is [`Outcome::Conflict`], is delivered
//! again, and ends in the dead-letter queue or at the on-failure destination, where operators see it. Two cases go
//! unnoticed: a device that restarted sends exactly the content for which the number was used before; or a number's
//! entry is gone, or was written by a version that kept no digest. Such messages count as duplicates.
//!
//! **With single-write mode.** Mark and entry are two more effects of the message, besides its own record, and nothing
//! is read first: the conditions of the write decide. If one fails, the item that broke it distinguishes a duplicate
//! from a conflict and from a gap. A message that has a record is answered from the record, whatever the mark is; a
//! lost reply is recognised by the record, before the mark is examined. A held message has no record: it is delivered
//! again, moves to the dead-letter queue after too many receives, and takes effect once when it is redriven after the
//! missing one.
//!
//! A stream that restarts its numbers (a replaced device) needs a new name: under the old one its messages are
//! conflicts.
//!
//! [`Outcome::Conflict`]: crate::Outcome::Conflict

use std::num::NonZeroU64;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
};

use crate::engine::{Attempt, EffectRefusal};
use crate::protocol::Fingerprint;
use crate::store::dynamodb::Item;

/// What to do about a number that is not the next one but further above the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// The message waits until the missing ones have run: for data that must be complete, like money.
    Hold,
    /// The message runs and moves the mark. The missing ones count as duplicates if they come later: for data of which
    /// only the latest value matters, like a position.
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

/// Compares a number with the mark. Streams begin with 1; `mark` is the highest number that ran, or `None`.
#[must_use]
pub fn decide(mark: Option<u64>, number: NonZeroU64) -> Step {
    match number.get().checked_sub(mark.unwrap_or(0)) {
        None | Some(0) => Step::Duplicate,
        Some(1) => Step::Next,
        Some(_) => Step::Gap,
    }
}

/// What is stored about a number: an item that the application defines, with a digest of the message that used the
/// number.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    item: Item,
    content: Fingerprint,
}

impl Entry {
    /// Creates an entry. `item` has a key that follows from stream and number alone, and any other attributes of the
    /// application; the gate adds the attribute `content`. Set an expiration only if the number may be used again after
    /// it.
    ///
    /// `content` is the digest of everything that makes two messages with this number the same. It is stored, so it
    /// must be the same for every channel through which a message may come, and across releases.
    #[must_use]
    pub const fn new(item: Item, content: Fingerprint) -> Self {
        Self { item, content }
    }
}

/// Keeps the messages of each stream in sequence.
///
/// ```
/// use std::{collections::HashMap, num::NonZeroU64};
/// use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
/// use idempotency::protocol::Fingerprinter;
/// use idempotency::{Attempt, Verdict, sequence::{Entry, Gap, SequenceGate}};
///
/// fn sale(gate: &SequenceGate, attempt: &Attempt<TransactWriteItem>, terminal: &str, number: NonZeroU64, amount: u64) -> Verdict<()> {
///     let key = |id: String| HashMap::from([("id".to_owned(), AttributeValue::S(id))]);
///     let content = Fingerprinter::new().bytes(&amount.to_be_bytes()).finish();
///     let entry = Entry::new(key(format!("terminal:{terminal}:{number}")), content);
///     gate.pass(attempt, key(format!("terminal:{terminal}")), number, entry);
///     // attempt.add_effect(…)
///     Verdict::Success(())
/// }
/// # let _ = (SequenceGate::new("Records", Gap::Hold), sale);
/// ```
#[derive(Clone, Debug)]
pub struct SequenceGate {
    table: String,
    gap: Gap,
}

/// The attribute that holds the mark.
const MARK: &str = "sequence";

/// The attribute of an entry that holds the digest.
const CONTENT: &str = "content";

impl SequenceGate {
    /// A gate whose marks and entries are items of this table: a mark has a number attribute `sequence`, an entry a
    /// binary attribute `content`.
    pub fn new(table: impl Into<String>, gap: Gap) -> Self {
        Self { table: table.into(), gap }
    }

    /// Adds to an attempt the effects that store the entry of this number and move its stream's mark to it, if the
    /// number may run. Call it before you add other effects: if several are refused, the first one decides.
    ///
    /// `mark` is the key of the stream's mark. Do not use this under a claim: there, a refused effect leaves the
    /// outcome unknown.
    pub fn pass(&self, attempt: &Attempt<TransactWriteItem>, mark: Item, number: NonZeroU64, entry: Entry) {
        let (gap, content) = (self.gap, entry.content);
        let insert = self.insert(entry, mark.keys().min().expect("a key has a name"));
        attempt.add_guarded_effect(insert, move |found| used(found, content));
        attempt.add_guarded_effect(self.advance(mark, number), move |found| refusal(found, number, gap));
    }

    /// Comes before the mark: if the number was used, the entry shows for which content.
    fn insert(&self, Entry { mut item, content }: Entry, key: &str) -> TransactWriteItem {
        item.insert(CONTENT.to_owned(), AttributeValue::B(Blob::new(content.as_bytes())));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(#key)")
            .expression_attribute_names("#key", key)
            .return_values_on_condition_check_failure(AllOld);
        TransactWriteItem::builder().put(put.build().expect("has a table and an item")).build()
    }

    fn advance(&self, key: Item, number: NonZeroU64) -> TransactWriteItem {
        let update = Update::builder()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression("SET #mark = :number")
            .expression_attribute_names("#mark", MARK)
            .expression_attribute_values(":number", n(number.get()))
            .return_values_on_condition_check_failure(AllOld);
        let update = match (self.gap, number.get() - 1) {
            (Gap::Hold, 0) => update.condition_expression("attribute_not_exists(#mark)"),
            (Gap::Hold, previous) => {
                update.condition_expression("#mark = :previous").expression_attribute_values(":previous", n(previous))
            }
            (Gap::Accept, _) => update.condition_expression("attribute_not_exists(#mark) OR #mark < :number"),
        };
        TransactWriteItem::builder().update(update.build().expect("has a table, a key and an expression")).build()
    }
}

/// Interprets the entry that already exists.
fn used(found: Option<&Item>, content: Fingerprint) -> EffectRefusal {
    let Some(found) = found else { return EffectRefusal::Unexpected };
    match found.get(CONTENT) {
        // Written by a version that kept no digest: then only the number decides, as it did there.
        None => EffectRefusal::AppliedBefore,
        Some(AttributeValue::B(stored)) => match <[u8; Fingerprint::BYTES]>::try_from(stored.as_ref()) {
            Ok(stored) if stored == *content.as_bytes() => EffectRefusal::AppliedBefore,
            // Digests of two algorithms cannot be compared.
            Ok([version, ..]) if version != content.as_bytes()[0] => EffectRefusal::Unexpected,
            Ok(_) => EffectRefusal::Conflict,
            Err(_) => EffectRefusal::Unexpected,
        },
        Some(_) => EffectRefusal::Unexpected,
    }
}

/// Interprets the mark that broke the condition.
fn refusal(found: Option<&Item>, number: NonZeroU64, gap: Gap) -> EffectRefusal {
    let mark = match found.and_then(|item| item.get(MARK)) {
        None => None,
        Some(AttributeValue::N(digits)) => match digits.parse() {
            Ok(mark) => Some(mark),
            Err(_) => return EffectRefusal::Unexpected,
        },
        Some(_) => return EffectRefusal::Unexpected,
    };
    match (decide(mark, number), gap) {
        (Step::Duplicate, Gap::Hold | Gap::Accept) => EffectRefusal::AppliedBefore,
        (Step::Gap, Gap::Hold) => EffectRefusal::NotYet,
        // The condition would have held.
        (Step::Gap, Gap::Accept) | (Step::Next, Gap::Hold | Gap::Accept) => EffectRefusal::Unexpected,
    }
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Fingerprinter;

    proptest! {
        #[test]
        fn in_whatever_order_and_how_often_numbers_come_each_runs_once_and_in_order(
            mut deliveries in prop::collection::vec(1_u64..30, 0..200),
        ) {
            let (mut mark, mut ran) = (None, Vec::new());
            // Held messages are delivered again, until nothing moves any more.
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
            prop_assert!(!deliveries.contains(&(ran.len() as u64 + 1)), "what is held lacks the one before it");
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

    #[test]
    fn a_mark_that_is_no_number_is_an_error_and_no_duplicate() {
        let number = NonZeroU64::new(3).unwrap();
        for mark in [AttributeValue::S("9".into()), AttributeValue::N("9.5".into()), AttributeValue::N("-1".into())] {
            let item = Item::from([(MARK.to_owned(), mark)]);
            assert_eq!(refusal(Some(&item), number, Gap::Hold), EffectRefusal::Unexpected);
        }
    }

    #[test]
    fn an_entry_with_other_content_is_a_conflict_and_one_without_a_digest_is_a_duplicate() {
        let content = |text: &str| Fingerprinter::new().bytes(text.as_bytes()).finish();
        let entry = |stored: AttributeValue| Item::from([(CONTENT.to_owned(), stored)]);
        let digest = |bytes: &[u8]| entry(AttributeValue::B(Blob::new(bytes)));
        let means = |found: Option<&Item>| used(found, content("5.00 EUR"));
        assert_eq!(means(Some(&digest(content("5.00 EUR").as_bytes()))), EffectRefusal::AppliedBefore);
        assert_eq!(means(Some(&digest(content("7.00 EUR").as_bytes()))), EffectRefusal::Conflict);
        assert_eq!(means(Some(&Item::new())), EffectRefusal::AppliedBefore);
        let mut of_another_algorithm = *content("5.00 EUR").as_bytes();
        of_another_algorithm[0] += 1;
        for unreadable in [digest(&of_another_algorithm), digest(b"short"), entry(AttributeValue::N("1".into()))] {
            assert_eq!(means(Some(&unreadable)), EffectRefusal::Unexpected);
        }
        assert_eq!(means(None), EffectRefusal::Unexpected);
    }
}
