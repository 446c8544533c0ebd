//! Sequence numbers: each device, or user, numbers what it sends, and a high-water mark tells what is next.
//!
//! The mark is an item that moves in the transaction of the effects, so that effects and mark never disagree, and a
//! stream of any length needs the one item. It remembers for ever what a record forgets when it expires: a message
//! that was kept back for years is still a duplicate.
//!
//! | number | [`Step`] | what becomes of it |
//! |---|---|---|
//! | one above the mark | `Next` | runs |
//! | at or below the mark | `Duplicate` | is settled without its effects |
//! | further above | `Gap` | by [`Gap`]: held, or accepted |
//!
//! **With one-trip mode.** The mark is one more effect of the message, beside its own record, and there is no read
//! before: the condition of the write decides, and where it fails the item that broke it tells a duplicate from a gap.
//! A message whose record is there is answered from the record, whatever the mark says; a lost reply is recognised by
//! the record, before the mark is looked at. A held message has no record: it comes again, goes to the dead-letter
//! queue after too many receives, and posts once when it is redriven after the missing one.
//!
//! A stream that begins to number anew (a device that was replaced) needs a new name: under the old one its messages
//! would be duplicates.

use std::num::NonZeroU64;

use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update};

use crate::engine::{Attempt, Refusal};
use crate::store::Item;

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

/// Keeps the messages of each stream in sequence.
///
/// ```
/// use std::{collections::HashMap, num::NonZeroU64};
/// use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
/// use idempotency::{Attempt, Verdict, sequence::{Gap, SequenceGate}};
///
/// fn sale(gate: &SequenceGate, attempt: &Attempt<TransactWriteItem>, terminal: &str, number: NonZeroU64) -> Verdict<()> {
///     let mark = HashMap::from([("id".to_owned(), AttributeValue::S(format!("terminal:{terminal}")))]);
///     gate.pass(attempt, mark, number);
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

impl SequenceGate {
    /// A gate whose marks are items of this table, each with a number attribute `sequence`.
    pub fn new(table: impl Into<String>, gap: Gap) -> Self {
        Self { table: table.into(), gap }
    }

    /// Adds to an attempt the effect that moves a stream's mark to this number, if the number may run.
    ///
    /// `key` is the key of the stream's mark. Not to be used under a claim: there a refused effect leaves the outcome
    /// unknown.
    pub fn pass(&self, attempt: &Attempt<TransactWriteItem>, key: Item, number: NonZeroU64) {
        let gap = self.gap;
        attempt.add_guarded_effect(self.advance(key, number), move |found| refusal(found, number, gap));
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

/// What the mark that was found in the way means.
fn refusal(found: Option<&Item>, number: NonZeroU64, gap: Gap) -> Refusal {
    let mark = match found.and_then(|item| item.get(MARK)) {
        None => None,
        Some(AttributeValue::N(digits)) => match digits.parse() {
            Ok(mark) => Some(mark),
            Err(_) => return Refusal::Unexpected,
        },
        Some(_) => return Refusal::Unexpected,
    };
    match (decide(mark, number), gap) {
        (Step::Duplicate, Gap::Hold | Gap::Accept) => Refusal::AppliedBefore,
        (Step::Gap, Gap::Hold) => Refusal::NotYet,
        // The condition would have held.
        (Step::Gap, Gap::Accept) | (Step::Next, Gap::Hold | Gap::Accept) => Refusal::Unexpected,
    }
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
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
            assert_eq!(refusal(Some(&item), number, Gap::Hold), Refusal::Unexpected);
        }
    }
}
