//! A watermark as a DynamoDB item, moved in the transaction of a run's effects.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use super::error::Failure;
use super::item::{binary, number, string};
use super::{DynamoDbStore, Item, within};
use crate::protocol::watermark::{Watermark, Witness};
use crate::protocol::{EpochMs, Position};
use crate::store::StoreError;
use crate::store::watermarks::names::{NEWEST, POSITION, UPDATED, VERSION, WITNESSES};
use crate::store::watermarks::{Advanced, Watermarks};

impl Watermarks for DynamoDbStore {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        self.item(id, true).await?.map(|item| to_watermark(id, &item)).transpose()
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Advanced<Item>, StoreError> {
        let mut actions = vec![self.move_to(id, next)?];
        actions.extend(effects);
        // The SDK gives each of these requests a token, so a retry after a lost reply gets the first reply. If that
        // fails, the retry is refused because of the version, and the found watermark is our own.
        let attempt = || async {
            let request = self.client.transact_write_items().set_transact_items(Some(actions.clone()));
            match request.send().await {
                Ok(_) => Ok(Advanced::Applied),
                Err(error) => refused(id, Failure::from_transaction(error)),
            }
        };
        within(retry_budget, attempt).await
    }

    fn bytes(effect: &TransactWriteItem) -> usize {
        let values = [
            effect.put.as_ref().and_then(|put| put.expression_attribute_values.as_ref()),
            effect.update.as_ref().and_then(|update| update.expression_attribute_values.as_ref()),
            effect.put.as_ref().map(|put| &put.item),
        ];
        // 500 bytes are added for table names, expressions and the like.
        500 + values.into_iter().flatten().map(item_bytes).sum::<usize>()
    }

    fn collide(one: &TransactWriteItem, other: &TransactWriteItem) -> bool {
        match (target(one), target(other)) {
            (Some((table, one)), Some((other_table, other))) if table == other_table => match (one, other) {
                (Target::Key(one), Target::Key(other)) => one == other,
                (Target::Key(key), Target::Item(item)) | (Target::Item(item), Target::Key(key)) => {
                    key.iter().all(|(name, value)| item.get(name) == Some(value))
                }
                // The key's attribute names are not known here.
                (Target::Item(one), Target::Item(other)) => one == other,
            },
            _ => false,
        }
    }
}

impl DynamoDbStore {
    fn move_to(&self, id: &str, next: &Watermark) -> Result<TransactWriteItem, StoreError> {
        let mut item = from_watermark(next);
        item.extend(self.names.key(id));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .expression_attribute_names("#version", VERSION)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match next.version.saturating_sub(1) {
            0 => put.condition_expression("attribute_not_exists(#version)"),
            previous => put
                .condition_expression("#version = :previous")
                .expression_attribute_values(":previous", number(previous)),
        };
        let put = put.build().map_err(|error| StoreError::NotApplied(error.into()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

fn refused(id: &str, failure: Failure) -> Result<Advanced<Item>, Failure> {
    match failure {
        Failure::Refused(found) => {
            let found = found.map(|item| to_watermark(id, &item)).transpose().map_err(Failure::Store)?;
            Ok(Advanced::Refused(found))
        }
        Failure::EffectRefused(refused) => Ok(Advanced::EffectRefused(refused)),
        other @ (Failure::Contended(_) | Failure::Store(_)) => Err(other),
    }
}

fn item_bytes(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
        // Bytes are sent in base64.
        AttributeValue::B(bytes) => bytes.as_ref().len() * 4 / 3,
        AttributeValue::Bs(several) => several.iter().map(|bytes| bytes.as_ref().len() * 4 / 3).sum(),
        AttributeValue::Ss(several) | AttributeValue::Ns(several) => several.iter().map(String::len).sum(),
        AttributeValue::L(list) => list.iter().map(value_bytes).sum(),
        AttributeValue::M(map) => item_bytes(map),
        _ => 8,
    }
}

/// The item that an action writes.
enum Target<'a> {
    Key(&'a Item),
    Item(&'a Item),
}

fn target(action: &TransactWriteItem) -> Option<(&str, Target<'_>)> {
    if let Some(put) = &action.put {
        return Some((&put.table_name, Target::Item(&put.item)));
    }
    if let Some(update) = &action.update {
        return Some((&update.table_name, Target::Key(&update.key)));
    }
    if let Some(delete) = &action.delete {
        return Some((&delete.table_name, Target::Key(&delete.key)));
    }
    action.condition_check.as_ref().map(|check| (check.table_name.as_str(), Target::Key(&check.key)))
}

fn from_watermark(watermark: &Watermark) -> Item {
    let witness =
        |witness: &Witness| AttributeValue::L(vec![string(witness.position.to_string()), binary(witness.digest)]);
    let mut item = Item::from([
        (VERSION.to_owned(), number(watermark.version)),
        (NEWEST.to_owned(), AttributeValue::N(watermark.newest_ms.to_string())),
        (UPDATED.to_owned(), number(watermark.updated.0)),
        (WITNESSES.to_owned(), AttributeValue::L(watermark.witnesses.iter().map(witness).collect())),
    ]);
    if let Some(position) = &watermark.position {
        item.insert(POSITION.to_owned(), string(position.padded()));
    }
    item
}

fn to_watermark(id: &str, item: &Item) -> Result<Watermark, StoreError> {
    read(item).ok_or_else(|| StoreError::Unreadable { digest: id.to_owned(), problem: "not a watermark".to_owned() })
}

fn read(item: &Item) -> Option<Watermark> {
    let whole = |name: &str| item.get(name)?.as_n().ok();
    let position = match item.get(POSITION) {
        Some(position) => Some(Position::new(position.as_s().ok()?).ok()?),
        None => None,
    };
    let witnesses = item.get(WITNESSES)?.as_l().ok()?.iter().map(|witness| match witness.as_l().ok()?.as_slice() {
        [AttributeValue::S(position), AttributeValue::B(digest)] => {
            Some(Witness { position: Position::new(position).ok()?, digest: digest.as_ref().try_into().ok()? })
        }
        _ => None,
    });
    Some(Watermark {
        version: whole(VERSION)?.parse().ok()?,
        position,
        newest_ms: whole(NEWEST)?.parse().ok()?,
        updated: EpochMs(whole(UPDATED)?.parse().ok()?),
        witnesses: witnesses.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_watermark_is_read_back_as_it_was_written_and_fits_one_write_unit(
            version in 1_u64..,
            position in prop::option::of("[1-9][0-9]{0,55}"),
            newest_ms: i64,
            updated: u64,
            digests in prop::collection::vec(any::<[u8; 16]>(), 0..=8),
        ) {
            let witness = |digest| Witness { position: Position::new(&"9".repeat(56)).unwrap(), digest };
            let watermark = Watermark {
                version,
                position: position.map(|digits| Position::new(&digits).unwrap()),
                newest_ms,
                updated: EpochMs(updated),
                witnesses: digests.into_iter().map(witness).collect(),
            };
            let item = from_watermark(&watermark);
            prop_assert!(item_bytes(&item) <= 1024 - 100, "its id aside");
            prop_assert_eq!(to_watermark("w", &item).unwrap(), watermark);
        }
    }

    #[test]
    fn an_item_that_is_no_watermark_is_an_error_and_not_an_absent_one() {
        let mut item = from_watermark(&Watermark::after(None, &[], EpochMs(1)));
        item.insert(POSITION.to_owned(), string("12a"));
        assert!(matches!(to_watermark("w", &item), Err(StoreError::Unreadable { .. })));
        assert!(to_watermark("w", &Item::new()).is_err());
    }
}
