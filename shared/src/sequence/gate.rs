//! The gate on DynamoDB: mark and entries are items.

use std::num::NonZeroU64;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
};

use super::{Gap, refusal_of_entry, refusal_of_mark};
use crate::engine::{Attempt, EffectRefusal};
use crate::protocol::Fingerprint;
use crate::store::dynamodb::Item;

/// The stored entry of a number: an item that the application defines, with a digest of the message that used the
/// number.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    item: Item,
    content: Fingerprint,
}

impl Entry {
    /// Creates an entry. The key of `item` must depend only on stream and number; it may have any other attributes, and
    /// the gate adds the attribute `content`. Set an expiration only if the number may be used again after it.
    ///
    /// `content` is the digest by which two messages with this number are compared. It is stored, so it must be the
    /// same for every channel through which a message may come, and across releases.
    #[must_use]
    pub const fn new(item: Item, content: Fingerprint) -> Self {
        Self { item, content }
    }
}

/// Lets the messages of each stream run in the order of their numbers.
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
    /// Creates a gate whose marks and entries are items of this table. A mark has a number attribute `sequence`, an
    /// entry a binary attribute `content`.
    pub fn new(table: impl Into<String>, gap: Gap) -> Self {
        Self { table: table.into(), gap }
    }

    /// Adds two effects to an attempt, which store the entry of this number and move its stream's mark to it if the
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

    /// The insertion of an entry, which comes before the mark: if the number was used, the entry shows for which
    /// content.
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
    match found.map(|found| found.get(CONTENT)) {
        // The entry was written by a version that kept no digest, so only the number decides, as in that version.
        Some(None) => EffectRefusal::AppliedBefore,
        Some(Some(AttributeValue::B(stored))) => refusal_of_entry(stored.as_ref(), content),
        None | Some(Some(_)) => EffectRefusal::Unexpected,
    }
}

/// Interprets the mark that broke the condition.
fn refusal(found: Option<&Item>, number: NonZeroU64, gap: Gap) -> EffectRefusal {
    match found.and_then(|item| item.get(MARK)) {
        None => refusal_of_mark(None, number, gap),
        Some(AttributeValue::N(digits)) => match digits.parse() {
            Ok(mark) => refusal_of_mark(Some(mark), number, gap),
            Err(_) => EffectRefusal::Unexpected,
        },
        Some(_) => EffectRefusal::Unexpected,
    }
}

fn n(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Fingerprinter;

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
