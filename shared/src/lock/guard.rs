//! Writes that refuse a late holder of a lock.

use std::collections::HashMap;

use aws_sdk_dynamodb::operation::put_item::builders::PutItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update};

use super::Fenced;
use crate::store::dynamodb::Item;

/// The item has no fence or no higher one. A stored fence that is not a number counts as none.
const CONDITION: &str = "NOT attribute_type(#fence, :number) OR #fence <= :fence";

/// Creates a write that stores the holder's fence in an item and is refused if the item has a higher one.
///
/// Put it into the same transaction as the writes that the lock protects, for example as an
/// [effect](crate::Attempt::add_effect): a holder that was frozen past its lease then writes none of them. All writes
/// that one lock protects must be guarded by the same item. A refusal returns the item.
///
/// The guard refuses *other* holders only. It does not order two writes of one holder: if the first may arrive late,
/// add another condition.
///
/// ```
/// use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
/// use idempotency::lock::{Fenced, guard};
///
/// fn protected(held: &impl Fenced, write: TransactWriteItem) -> Vec<TransactWriteItem> {
///     let key = [("id".to_owned(), AttributeValue::S("shop-1".to_owned()))].into();
///     vec![guard("Settings", key, held), write]
/// }
/// ```
///
/// A value without a fence does not compile as a guard:
///
/// ```compile_fail,E0277
/// struct HeldWithoutFence;
/// idempotency::lock::guard("Settings", [].into(), &HeldWithoutFence);
/// ```
///
/// # Panics
/// If the table's name or the key is empty.
pub fn guard(table: impl Into<String>, key: Item, held: &impl Fenced) -> TransactWriteItem {
    let (names, values) = terms(held);
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key))
        .update_expression("SET #fence = :fence")
        .condition_expression(CONDITION)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(Some(values))
        .return_values_on_condition_check_failure(AllOld);
    TransactWriteItem::builder().update(update.build().expect("has a table and a key")).build()
}

/// Adds to a put the holder's fence and the condition that no higher one is stored, so that the item guards itself. A
/// refused put fails with `ConditionalCheckFailedException`, which contains the item.
///
/// The put must not have another condition. As with [`guard`], two puts of one holder are not ordered by it.
pub fn guarded_put(put: PutItemFluentBuilder, held: &impl Fenced) -> PutItemFluentBuilder {
    let (names, values) = terms(held);
    put.item(names[FENCE].clone(), values[":fence"].clone())
        .condition_expression(CONDITION)
        .set_expression_attribute_names(Some(names))
        .set_expression_attribute_values(Some(values))
        .return_values_on_condition_check_failure(AllOld)
}

const FENCE: &str = "#fence";

fn terms<H: Fenced>(held: &H) -> (HashMap<String, String>, Item) {
    let values = [
        (":fence".to_owned(), AttributeValue::N(held.fence().to_string())),
        (":number".to_owned(), AttributeValue::S("N".to_owned())),
    ];
    ([(FENCE.to_owned(), H::ATTRIBUTE.to_owned())].into(), values.into())
}
