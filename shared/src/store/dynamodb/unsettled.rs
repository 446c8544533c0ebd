//! Lists records that wait for a resolution: UNKNOWN ones from the sparse index, abandoned ones from a scan.

use std::collections::HashMap;

use futures::future::try_join_all;

use super::item::{self, UNRESOLVED_PARTITIONS};
use super::{AttributeNames, DynamoDbStore, Item};
use crate::protocol::{EpochMs, EpochS, Record, RecordId, Status};
use crate::store::StoreError;
use crate::store::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};

impl Unsettled for DynamoDbStore {
    /// Reads the sparse index: one query per partition, or more if there are records that this version cannot read.
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        // One more than requested, to show whether there is a next page.
        let partitions = (0..UNRESOLVED_PARTITIONS).map(|number| self.unknown_in(number, limit + 1, after));
        let records = try_join_all(partitions).await?.into_iter().flatten().collect();
        Ok(UnknownPage::first_of(records, limit))
    }

    /// Reads the table itself, so it costs half a read unit per 4 KB read, whatever it finds.
    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        let names = &self.names;
        let (projection, projected) = projection(names);
        let scan = self
            .client
            .scan()
            .table_name(&self.table)
            .segment(place.segment.into())
            .total_segments(place.segments.into())
            .limit(limit.into())
            .filter_expression(
                // Parts of long answers, which have no status, expire with their records and are not records
                // themselves.
                "begins_with(#id, :prefix) AND attribute_exists(#status) \
                 AND (#status = :processing AND #lease < :now OR #expiration <= :now_s)",
            )
            .projection_expression(projection)
            .set_expression_attribute_names(Some(projected))
            .expression_attribute_names("#id", &names.id)
            .expression_attribute_names("#status", &names.status)
            .expression_attribute_names("#lease", &names.lease)
            .expression_attribute_names("#expiration", &names.expiration)
            .expression_attribute_values(":prefix", item::string(format!("{}{}", names.id_prefix, RecordId::PREFIX)))
            .expression_attribute_values(":processing", item::string(Status::Processing.as_str()))
            .expression_attribute_values(":now", item::number(now.0))
            .expression_attribute_values(":now_s", item::number(now.seconds().0))
            .set_exclusive_start_key(place.after.as_ref().map(|place| start_key(place, names)));
        let page = scan.send().await.map_err(|error| StoreError::NotApplied(error.into()))?;
        let mut scanned = Scanned {
            read: page.scanned_count.try_into().unwrap_or(0),
            after: page.last_evaluated_key.as_ref().and_then(|key| place_after(key, names)),
            ..Scanned::default()
        };
        for item in page.items.unwrap_or_default() {
            match expiration(&item, names) {
                Some(expiration) => {
                    scanned.expired_present += 1;
                    let oldest = scanned.oldest_expiration.map_or(expiration, |oldest| oldest.min(expiration));
                    scanned.oldest_expiration = Some(oldest);
                }
                None => scanned.abandoned.extend(readable(item, names)),
            }
        }
        Ok(scanned)
    }
}

impl DynamoDbStore {
    async fn unknown_in(&self, partition: u8, limit: usize, after: Option<&After>) -> Result<Vec<Record>, StoreError> {
        let names = &self.names;
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name(&names.unresolved_index)
            .expression_attribute_names("#unresolved", &names.unresolved)
            .expression_attribute_values(":partition", item::string(item::unresolved_partition(partition)))
            .limit(i32::try_from(limit).unwrap_or(i32::MAX));
        query = match after {
            // A condition cannot order records of the same millisecond: those at or before the position are filtered
            // out below.
            Some(after) => query
                .key_condition_expression("#unresolved = :partition AND #created >= :created")
                .expression_attribute_names("#created", &names.created)
                .expression_attribute_values(":created", item::number(after.created.0)),
            None => query.key_condition_expression("#unresolved = :partition"),
        };
        let mut items = query.into_paginator().items().send();
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(found) = items.next().await
        {
            let found = found.map_err(|error| StoreError::NotApplied(error.into()))?;
            records
                .extend(readable(found, names).filter(|record| after.is_none_or(|after| After::of(record) > *after)));
        }
        Ok(records)
    }
}

/// The record of an item. A record that this version cannot read is logged and skipped, so that it does not hide the
/// others.
fn readable(item: Item, names: &AttributeNames) -> impl Iterator<Item = Record> {
    let record = item::to_record(item, names);
    if let Err(error) = &record {
        tracing::error!(error = error as &dyn std::error::Error, "left out");
    }
    record.into_iter()
}

/// The place after an item, which need not be a record, because a page may end anywhere. With a sort key, the place is
/// both keys as a JSON array.
fn place_after(key: &Item, names: &AttributeNames) -> Option<RecordId> {
    let text = |name: &String| key.get(name)?.as_s().ok().cloned();
    let place = match &names.sort {
        Some(sort) => serde_json::to_string(&[text(&names.id)?, text(sort)?]).ok()?,
        None => text(&names.id)?,
    };
    Some(RecordId::from_stored(place))
}

fn start_key(place: &RecordId, names: &AttributeNames) -> Item {
    match (&names.sort, serde_json::from_str::<[String; 2]>(place.as_str())) {
        (Some(sort), Ok([id, part])) => {
            Item::from([(names.id.clone(), item::string(id)), (sort.clone(), item::string(part))])
        }
        // A place that was stored by a version without sort keys.
        (Some(_), Err(_)) | (None, _) => Item::from([(names.id.clone(), item::string(place.as_str()))]),
    }
}

fn expiration(item: &Item, names: &AttributeNames) -> Option<EpochS> {
    item.get(&names.expiration)?.as_n().ok()?.parse().ok().map(EpochS)
}

/// A projection onto everything except the answer, which is not needed here.
fn projection(names: &AttributeNames) -> (String, HashMap<String, String>) {
    let names = names.of_record().into_iter().enumerate();
    let names: HashMap<_, _> = names.map(|(number, name)| (format!("#r{number}"), name.to_owned())).collect();
    (names.keys().map(String::as_str).collect::<Vec<_>>().join(", "), names)
}
