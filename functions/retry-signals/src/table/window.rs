//! The counts of an entity in a window, each delivery once.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure::AllOld};
use futures::stream::{self, StreamExt, TryStreamExt};
use signals::{BatchId, Counts, Distinct, Kind, WindowTime};

use super::item::{Item, number, read_number, read_text, read_texts, text, texts};
use super::{Signals, TableError};
use crate::addition::Addition;

/// Partitions of a window: one takes a thousand writes a second.
const SHARDS: u8 = 16;

/// Reads at a time.
const CONCURRENCY: usize = 16;

/// How long a window is kept after its end: as long as deliveries are repeated, which is a day, and one more.
const LIFE_S: u64 = 2 * 24 * 60 * 60;

/// An entity in a window.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EntityWindow {
    /// What it is.
    pub kind: Kind,
    /// Its pseudonym.
    pub entity: String,
    /// The window.
    pub at: WindowTime,
}

/// What was counted in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) counts: Counts,
    pub(crate) records: Vec<String>,
}

impl EntityWindow {
    fn partition(&self) -> String {
        partition(self.kind, self.at, shard_of(&self.entity))
    }
}

fn partition(kind: Kind, at: WindowTime, shard: u8) -> String {
    format!("window#{}#{}#{shard}", kind.name(), at.start_s)
}

fn shard_of(entity: &str) -> u8 {
    entity.bytes().fold(0_u8, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte)) % SHARDS
}

impl Signals {
    /// Adds a delivery's counts for an entity and window, unless they were added before. Returns whether they were new.
    pub(crate) async fn add(
        &self,
        window: &EntityWindow,
        batch: BatchId,
        addition: &Addition,
    ) -> Result<bool, TableError> {
        let batch = AttributeValue::B(Blob::new(batch.0));
        let mut request = self
            .client
            .update_item()
            .table_name(&self.name)
            .key("pk", text(window.partition()))
            .key("sk", text(&window.entity))
            // A delivery's own earlier try is among the seen ones, too.
            .condition_expression("NOT contains(#seen, :batch)")
            .expression_attribute_names("#seen", "seen")
            .expression_attribute_names("#expiration", "expiration")
            .expression_attribute_values(":batch", batch.clone())
            .expression_attribute_values(
                ":seen",
                AttributeValue::Bs(vec![Blob::new(batch.as_b().map_or(&[][..], AsRef::as_ref))]),
            )
            .expression_attribute_values(":expiration", number(window.at.end_s() + LIFE_S))
            .return_values_on_condition_check_failure(AllOld);
        let (mut adds, mut sets) = (vec!["#seen :seen".to_owned()], vec!["#expiration = :expiration".to_owned()]);
        for (name, count) in addition.counts.numbers().into_iter().filter(|(_, count)| *count > 0) {
            adds.push(format!("#{name} :{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":{name}"), number(count));
        }
        for (name, distinct) in distinct(&addition.counts) {
            let cells: Vec<String> = distinct.cells().map(|cell| cell.to_string()).collect();
            if !cells.is_empty() {
                adds.push(format!("#{name} :{name}"));
                request = request
                    .expression_attribute_names(format!("#{name}"), name)
                    .expression_attribute_values(format!(":{name}"), AttributeValue::Ns(cells));
            }
        }
        if !addition.records.is_empty() {
            // The first examples are enough; a set of all would grow the item.
            sets.push("#records = if_not_exists(#records, :records)".to_owned());
            request = request
                .expression_attribute_names("#records", "records")
                .expression_attribute_values(":records", texts(&addition.records));
        }
        let update = format!("SET {} ADD {}", sets.join(", "), adds.join(", "));
        match request.update_expression(update).send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error))
                if matches!(error.err(), UpdateItemError::ConditionalCheckFailedException(_)) =>
            {
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The entities of a kind in a window, with what was counted.
    pub(crate) async fn windows(&self, kind: Kind, at: WindowTime) -> Result<Vec<(String, Window)>, TableError> {
        let shards = (0..SHARDS).map(|shard| self.shard(kind, at, shard));
        let shards: Vec<_> = stream::iter(shards).buffer_unordered(CONCURRENCY).try_collect().await?;
        let mut windows: Vec<_> = shards.into_iter().flatten().collect();
        // In a defined order, so that a repeated run does the same.
        windows.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(windows)
    }

    async fn shard(&self, kind: Kind, at: WindowTime, shard: u8) -> Result<Vec<(String, Window)>, TableError> {
        let pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :pk")
            .expression_attribute_values(":pk", text(partition(kind, at, shard)))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let items: Vec<Item> = pages.try_collect().await?;
        Ok(items.iter().filter_map(|item| Some((read_text(item, "sk")?.to_owned(), read(item)))).collect())
    }

    /// The counts of one entity in these windows, at most a hundred; those without any request are missing.
    ///
    /// # Errors
    /// If the table does not answer.
    pub async fn history(
        &self,
        kind: Kind,
        entity: &str,
        windows: &[WindowTime],
    ) -> Result<Vec<(WindowTime, Counts)>, TableError> {
        let of = |at: &WindowTime| EntityWindow { kind, entity: entity.to_owned(), at: *at };
        let keys = windows
            .iter()
            .map(|at| Item::from([("pk".to_owned(), text(of(at).partition())), ("sk".to_owned(), text(entity))]));
        let mut found = Vec::new();
        let mut keys: Vec<Item> = keys.collect();
        while !keys.is_empty() {
            let request = KeysAndAttributes::builder().set_keys(Some(keys)).build()?;
            let answer = self.client.batch_get_item().request_items(&self.name, request).send().await?;
            found.extend(answer.responses.and_then(|mut tables| tables.remove(&self.name)).unwrap_or_default());
            let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
            keys = rest.map(|rest| rest.keys).unwrap_or_default();
        }
        let mut history: Vec<_> = found
            .iter()
            .filter_map(|item| {
                let pk = read_text(item, "pk")?;
                let at = windows.iter().find(|at| of(at).partition() == pk)?;
                Some((*at, read(item).counts))
            })
            .collect();
        history.sort_by_key(|(at, _)| *at);
        Ok(history)
    }
}

/// The sets of distinct values, by the names of their attributes.
fn distinct(counts: &Counts) -> [(&'static str, &Distinct); 3] {
    [
        ("declined_cells", &counts.declined_instruments),
        ("caller_cells", &counts.declined_callers),
        ("in_progress_cells", &counts.in_progress_keys),
    ]
}

fn read(item: &Item) -> Window {
    let mut counts = Counts::default();
    for (name, count) in counts.numbers_mut() {
        *count = read_number(item, name).unwrap_or(0);
    }
    let cells = |name: &str| {
        let cells = item.get(name).and_then(|value| value.as_ns().ok()).into_iter().flatten();
        Distinct::from_cells(cells.filter_map(|cell| cell.parse().ok()))
    };
    counts.declined_instruments = cells("declined_cells");
    counts.declined_callers = cells("caller_cells");
    counts.in_progress_keys = cells("in_progress_cells");
    Window { counts, records: read_texts(item, "records") }
}
