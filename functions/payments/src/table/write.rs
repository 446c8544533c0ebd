//! The writes, each with its condition. A refusal returns the item that broke the condition, so that the committer can
//! distinguish its own earlier write from another's.

use aws_sdk_dynamodb::types::{
    AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem, Update,
    builders::UpdateBuilder,
};

use super::{
    item::Attributes,
    key::Key,
    record::{NOTED, OPENED_BY},
};
use crate::{Approval, Balance, Origin, Payment, Posting, Preview, Refund};

/// Inserts an item, if its key is free.
pub(super) fn insert(table: &str, item: Attributes) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item))
        .condition_expression("attribute_not_exists(pk)")
        .return_values_on_condition_check_failure(AllOld)
        .build();
    TransactWriteItem::builder().put(put.expect("has a table and an item")).build()
}

/// Raises the payment's refunded sum, if it stays within the amount. Conditions cannot add, so the sum is compared with
/// the amount minus the refund; that the amount equals the stored one is part of the condition.
pub(super) fn raise_refunded(table: &str, payment: &Payment, refund: &Refund) -> TransactWriteItem {
    let (whole, part) = (payment.money.amount.signed(), refund.money.amount.signed());
    let update = Update::builder()
        .update_expression("SET #refunded = #refunded + :part")
        .condition_expression("#amount = :whole AND #refunded <= :most")
        .expression_attribute_names("#amount", "amount")
        .expression_attribute_names("#refunded", "refunded")
        .expression_attribute_values(":part", number(part))
        .expression_attribute_values(":whole", number(whole))
        .expression_attribute_values(":most", number(whole - part));
    finish(table, Key::payment(refund.payment), update)
}

/// Moves the customer's balance and its number of entries, if the balance stays within its limit. The update may be
/// relative because it is never alone: the entry in the same transaction can be written only once. The balance also
/// records its first posting, which determines the account's owner without another write.
pub(super) fn move_balance(table: &str, posting: &Posting) -> TransactWriteItem {
    let change = posting.customer.amount;
    let update = Update::builder()
        .update_expression(
            "SET #kind = :kind, #account = :account, #currency = :currency, \
             #balance = if_not_exists(#balance, :zero) + :change, #entries = if_not_exists(#entries, :zero) + :one, \
             #opened_by = if_not_exists(#opened_by, :origin), #noted = if_not_exists(#noted, :zero) + :one",
        )
        .condition_expression("attribute_not_exists(#balance) OR #balance BETWEEN :least AND :most")
        .expression_attribute_names("#kind", "kind")
        .expression_attribute_names("#account", "account")
        .expression_attribute_names("#currency", "currency")
        .expression_attribute_names("#balance", "balance")
        .expression_attribute_names("#entries", "entries")
        .expression_attribute_names("#opened_by", OPENED_BY)
        .expression_attribute_names("#noted", NOTED)
        .expression_attribute_values(":kind", AttributeValue::S("balance".to_owned()))
        .expression_attribute_values(":account", AttributeValue::S(posting.customer.account.to_string()))
        .expression_attribute_values(":currency", AttributeValue::S(posting.currency.to_string()))
        .expression_attribute_values(":origin", AttributeValue::S(origin(&posting.origin)))
        .expression_attribute_values(":change", number(change))
        .expression_attribute_values(":zero", number(0))
        .expression_attribute_values(":one", number(1))
        .expression_attribute_values(":least", number(-Balance::LIMIT - change.min(0)))
        .expression_attribute_values(":most", number(Balance::LIMIT - change.max(0)));
    finish(table, Key::balance(&posting.customer.account, posting.currency), update)
}

/// A terminal cannot be mistaken for a payment: no payment id has a `#`.
fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Payment { payment, .. } => payment.to_string(),
        Origin::Sale(sale) => format!("terminal#{}", sale.terminal),
    }
}

/// Marks a preview as used. Of two confirmations, one is refused here.
pub(super) fn use_preview(table: &str, preview: &Preview, now: u64) -> TransactWriteItem {
    finish(table, Key::preview(preview.token), used_preview(preview, now).update_expression("SET #used = :now"))
}

/// The same, for a preview that leads to an approval instead.
pub(super) fn lead_to_approval(table: &str, preview: &Preview, approval: &Approval) -> TransactWriteItem {
    let update = used_preview(preview, approval.created)
        .update_expression("SET #used = :now, #approval = :approval")
        .expression_attribute_names("#approval", "approval")
        .expression_attribute_values(":approval", AttributeValue::S(approval.id.to_string()));
    finish(table, Key::preview(preview.token), update)
}

fn used_preview(preview: &Preview, now: u64) -> UpdateBuilder {
    Update::builder()
        .condition_expression(
            "attribute_exists(pk) AND attribute_not_exists(#used) AND #actor = :actor AND #expires > :now",
        )
        .expression_attribute_names("#used", "used")
        .expression_attribute_names("#actor", "actor")
        .expression_attribute_names("#expires", "expires")
        .expression_attribute_values(":actor", AttributeValue::S(preview.actor.clone()))
        .expression_attribute_values(":now", AttributeValue::N(now.to_string()))
}

/// Marks an approval as used, by another operator than the one who requested it. Of two, one is refused here.
pub(super) fn use_approval(table: &str, approval: &Approval, by: &str, now: u64) -> TransactWriteItem {
    let update = Update::builder()
        .update_expression("SET #used = :now, #used_by = :by")
        .condition_expression(
            "attribute_exists(pk) AND attribute_not_exists(#used) AND #requested_by <> :by AND #expires > :now",
        )
        .expression_attribute_names("#used", "used")
        .expression_attribute_names("#used_by", "used_by")
        .expression_attribute_names("#requested_by", "requested_by")
        .expression_attribute_names("#expires", "expires")
        .expression_attribute_values(":by", AttributeValue::S(by.to_owned()))
        .expression_attribute_values(":now", AttributeValue::N(now.to_string()));
    finish(table, Key::approval(approval.id), update)
}

fn finish(table: &str, key: Key, update: UpdateBuilder) -> TransactWriteItem {
    let update =
        update.table_name(table).set_key(Some(key.into())).return_values_on_condition_check_failure(AllOld).build();
    TransactWriteItem::builder().update(update.expect("has a table, a key and an expression")).build()
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
