//! Recognises the writes of an attempt whose record is on another store.

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use idempotency::protocol::TransactionId;
use idempotency::store::dynamodb::{Item, Recognise};

use super::{Table, item::text, item::uuid, key::Key};
use crate::{PaymentId, RefundId};

/// Ids of payments, refunds and events derive from the transaction id, and each is inserted once, together with all
/// other writes of its transaction.
impl Recognise for Table {
    fn wrote(&self, transaction: TransactionId, found: &Item) -> bool {
        let is = |name, id: String| text(found, name, |text| (text == id).then_some(())).is_ok();
        match found.get("kind").and_then(|kind| kind.as_s().ok()).map(String::as_str) {
            Some("payment") => is("payment", PaymentId::of(transaction).to_string()),
            Some("refund") => is("refund", RefundId::of(transaction).to_string()),
            Some("event") => text(found, "event", uuid).is_ok_and(|event| event == transaction.uuid()),
            _ => false,
        }
    }

    /// An operator's preview, approval and audit entry.
    fn is_of_attempt(&self, effect: &TransactWriteItem) -> bool {
        let put = effect.put().map(|put| put.item());
        let key = put.or_else(|| effect.update().map(|update| update.key()));
        key.and_then(|key| key.get("pk"))
            .and_then(|partition: &AttributeValue| partition.as_s().ok())
            .is_some_and(|partition| Key::is_of_operators(partition))
    }
}
