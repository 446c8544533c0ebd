//! Sequence numbers: each device, or user, numbers what it sends, and a high-water mark shows what is next.
//!
//! The mark is an item that moves in the transaction of the effects, so that effects and mark never disagree. It
//! never forgets what a record forgets when it expires: a message that was kept back for years is still a
//! duplicate. Beside it each number has an [`Entry`], which keeps a digest of what came under it.
//!
//! | number | [`Step`] | what becomes of it |
//! |---|---|---|
//! | one above the mark | `Next` | runs |
//! | at or below the mark, the entry has this content | `Duplicate` | is settled without its effects |
//! | at or below the mark, the entry has other content | `Duplicate` | is a conflict: nothing is written, it is returned and counted |
//! | further above | `Gap` | by [`Gap`]: held, or accepted |
//!
//! **A conflict** is a device that used a number twice, or that started its numbers again (it was replaced, or lost its
//! memory). To settle it as a duplicate would swallow what it says; so it is [`Outcome::Conflict`], comes again, and
//! ends among the dead letters or at the on-failure destination, for people to see. What is not noticed: a message of
//! a device that started again and sends, to the last digit, what the number was used for; and a number whose entry
//! is gone, or was written by a version that kept no digest: that one counts as a duplicate.
//!
//! **With single-write mode.** Mark and entry are two more effects of the message, besides its own record, and there is no
//! read before: the conditions of the write decide, and where one fails the item that broke it distinguishes a duplicate from
//! a conflict and from a gap.
//! A message whose record is there is answered from the record, whatever the mark says; a lost reply is recognised by
//! the record, before the mark is looked at. A held message has no record: it comes again, goes to the dead-letter
//! queue after too many receives, and posts once when it is redriven after the missing one.
//!
//! A stream that starts its numbers again (a device that was replaced) needs a new name: under the old one its messages
//! are conflicts.
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

/// What to do about a number that is further above the mark than the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// It waits until those before it have come: for what must be complete, like money.
    Hold,
    /// It runs and moves the mark. Those in between count as duplicates when they come late: for what only the latest
    /// of matters, like a position.
    Accept,
}

/// What a number means, by the mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is the next.
    Next,
    /// It was here before.
    Duplicate,
    /// Others are missing before it.
    Gap,
}

/// Reads a number. Streams begin with 1; `mark` is the highest number that ran, or nothing.
#[must_use]
pub fn decide(mark: Option<u64>, number: NonZeroU64) -> Step {
    match number.get().checked_sub(mark.unwrap_or(0)) {
        None | Some(0) => Step::Duplicate,
        Some(1) => Step::Next,
        Some(_) => Step::Gap,
    }
}

/// What is stored of a number: an item of the application's choice, and in it a digest of what came under the number.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    item: Item,
    content: Fingerprint,
}

impl Entry {
    /// `item` has a key that follows from stream and number alone, and whatever else the application keeps there; the gate
    /// adds the attribute `content`. Give it an expiration only if a number may be used again after it.
    ///
    /// `content` is the digest of all that makes a message of this number the same. It must be the same over every way by
    /// which a message may come, and over releases: it is stored.
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

/// The attribute of the mark.
const MARK: &str = "sequence";

/// The attribute of an entry that holds the digest.
const CONTENT: &str = "content";

impl SequenceGate {
    /// A gate whose marks and entries are items of this table: a mark has a number attribute `sequence`, an entry a binary
    /// one `content`.
    pub fn new(table: impl Into<String>, gap: Gap) -> Self {
        Self { table: table.into(), gap }
    }

    /// Adds to an attempt the effects that store the entry of this number and move its stream's mark to it, if the number
    /// may run. To be called before other effects are added: of several that are refused the first one decides.
    ///
    /// `mark` is the key of the stream's mark. Not to be used under a claim: there a refused effect leaves the outcome
    /// unknown.
    pub fn pass(&self, attempt: &Attempt<TransactWriteItem>, mark: Item, number: NonZeroU64, entry: Entry) {
        let (gap, content) = (self.gap, entry.content);
        let insert = self.insert(entry, mark.keys().min().expect("a key has a name"));
        attempt.add_guarded_effect(insert, move |found| used(found, content));
        attempt.add_guarded_effect(self.advance(mark, number), move |found| refusal(found, number, gap));
    }

    /// Before the mark: where the number was used, the entry shows for what.
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

/// What the entry that was found in the way means.
fn used(found: Option<&Item>, content: Fingerprint) -> EffectRefusal {
    let Some(found) = found else { return EffectRefusal::Unexpected };
    match found.get(CONTENT) {
        // Of a version that kept no digest: then the number alone tells, as it did there.
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

/// What the mark that was found in the way means.
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
            // Held ones come again, until nothing moves any more.
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
