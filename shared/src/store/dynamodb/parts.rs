//! The parts of a long answer: further items, written in the record's transaction.
//!
//! A part contains the transaction id and the attempt of its record, so that it is never mistaken for a part of an
//! earlier use of the key, and the record's expiration, so that both are deleted.

use std::time::Duration;

use aws_sdk_dynamodb::config::{Builder, timeout::TimeoutConfig};
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};

use super::{DynamoDbStore, Failure, Item, item};
use crate::protocol::{EpochS, Record, RecordId};
use crate::store::{MAX_RECORD_RESPONSE_BYTES, PART_BYTES, StoreError};

/// "A single transaction: up to 100 items, 4 MB" (Amazon DynamoDB, quotas).
const TRANSACTION_ITEMS: usize = 100;
const TRANSACTION_BYTES: usize = 4 * 1024 * 1024;

/// The size reserved for the record, and for the attributes of a part other than its bytes.
const RECORD_BYTES: usize = 4 * 1024;
const PART_OVERHEAD_BYTES: usize = 512;

/// The size reserved for an item that an effect updates, of which only the update is known.
const CHANGED_ITEM_BYTES: usize = 40 * 1024;

impl DynamoDbStore {
    /// Puts a part. Its condition leaves a part of this same transaction unchanged; any other item with its key belongs
    /// to an earlier use of the idempotency key, which has expired by the record's condition.
    pub(super) fn part_action(&self, record: &Record, index: usize, part: &[u8]) -> Result<TransactWriteItem, Failure> {
        let names = &self.names;
        // Only a settled record has parts, and a settled record expires.
        let expiration = record.expiration().unwrap_or(EpochS(0));
        let transaction = item::string(record.transaction.to_string());
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(names.key(&id(&record.id, index))))
            .item(&names.transaction, transaction.clone())
            .item(&names.attempt, item::number(record.attempt))
            .item(&names.expiration, item::number(expiration.0))
            .item(&names.response, item::binary(part))
            .condition_expression("attribute_not_exists(#id) OR #transaction <> :transaction")
            .expression_attribute_names("#id", &names.id)
            .expression_attribute_names("#transaction", &names.transaction)
            .expression_attribute_values(":transaction", transaction)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// The bytes of a part, if it exists and belongs to this record.
    pub(super) async fn read_part(&self, record: &Record, index: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let names = &self.names;
        let Some(mut found) = self.item(&id(&record.id, index), true).await? else { return Ok(None) };
        let ours = found.get(&names.transaction) == Some(&item::string(record.transaction.to_string()))
            && found.get(&names.attempt) == Some(&item::number(record.attempt));
        match found.remove(&names.response) {
            Some(AttributeValue::B(bytes)) if ours => Ok(Some(bytes.into_inner())),
            _ => Ok(None),
        }
    }
}

/// The record's id and the number of the part, from 1.
fn id(record: &RecordId, index: usize) -> String {
    format!("{}#{}", record.as_str(), index + 1)
}

/// The maximum length of an answer that one transaction can carry together with these effects.
pub(super) fn max_response_bytes(effects: &[TransactWriteItem]) -> usize {
    let used: usize = effects.iter().map(effect_bytes).sum();
    let parts = TRANSACTION_ITEMS.saturating_sub(1 + effects.len());
    let bytes = TRANSACTION_BYTES.saturating_sub(RECORD_BYTES + used);
    let overhead = bytes.div_ceil(PART_BYTES) * PART_OVERHEAD_BYTES;
    // An answer that stays in the record is small enough to fit with any effects.
    bytes.saturating_sub(overhead).min(parts * PART_BYTES).max(MAX_RECORD_RESPONSE_BYTES)
}

fn effect_bytes(effect: &TransactWriteItem) -> usize {
    effect.put.as_ref().map_or(CHANGED_ITEM_BYTES, |put| item_bytes(&put.item))
}

/// The size as DynamoDB counts it: names and strings in UTF-8, bytes, about one byte per two digits, and for a list or
/// map three bytes plus one per member.
pub(super) fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    let number = |digits: &String| digits.len().div_ceil(2) + 1;
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => number(digits),
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        AttributeValue::Ns(numbers) => numbers.iter().map(number).sum(),
        AttributeValue::Bs(all) => all.iter().map(|bytes| bytes.as_ref().len()).sum(),
        AttributeValue::L(values) => 3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>(),
        AttributeValue::M(members) => 3 + members.len() + item_bytes(members),
        // A boolean, null, or a type that a later SDK may add.
        _ => 1,
    }
}

/// Longer time-outs for long answers: the client's defaults are meant for small items.
pub(super) fn timeouts(parts: &[&[u8]]) -> Builder {
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let attempt = Duration::from_millis(1000 + bytes as u64 / 1024);
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(attempt).operation_timeout(attempt * 2);
    Builder::new().timeout_config(timeouts.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: usize) -> TransactWriteItem {
        let put = Put::builder().table_name("t").item("b", item::binary(vec![0; bytes]));
        TransactWriteItem::builder().put(put.build().unwrap()).build()
    }

    #[test]
    fn effects_and_answer_share_what_one_transaction_carries() {
        let alone = max_response_bytes(&[]);
        assert!((4_100_000..TRANSACTION_BYTES).contains(&alone), "{alone}");
        assert_eq!(alone - max_response_bytes(&[put(100_000)]), 100_001, "byte for byte");
        let changed = max_response_bytes(&[TransactWriteItem::builder().build()]);
        assert!(changed <= alone - CHANGED_ITEM_BYTES + PART_OVERHEAD_BYTES);
    }

    #[test]
    fn where_the_effects_leave_no_room_the_record_keeps_a_small_answer() {
        let many: Vec<_> = (0..99).map(|_| put(10)).collect();
        assert_eq!(max_response_bytes(&many), MAX_RECORD_RESPONSE_BYTES);
        assert_eq!(max_response_bytes(&many[..98]), PART_BYTES);
        let long: Vec<_> = (0..11).map(|_| put(390_000)).collect();
        assert_eq!(max_response_bytes(&long), MAX_RECORD_RESPONSE_BYTES);
    }
}
