//! A store in a DynamoDB table, with or without a sort key.
//!
//! An existing Powertools table can be used as it is: its key attribute is `id`, its TTL attribute `expiration`, and
//! our ids start with `idempotency:`, which no Powertools id does. All [names](AttributeNames) can be changed, and the
//! ids can have a prefix, for a table that also holds other items.

mod client;
mod elsewhere;
#[cfg(feature = "embedded-dynamodb")]
mod embedded;
mod error;
mod expression;
#[cfg(any(test, feature = "test-util"))]
pub mod fuzz;
#[cfg(feature = "follow-up")]
pub(crate) mod image;
mod item;
mod parts;
#[cfg(feature = "powertools")]
pub mod powertools;
mod unsettled;
#[cfg(feature = "static-user-agent")]
mod user_agent;
mod watermarks;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem};
use backon::Retryable;
use futures::future::BoxFuture;

pub use super::names::AttributeNames;
pub use client::{client, sdk_config};
pub use elsewhere::{Recognise, RecordsElsewhere};
#[cfg(feature = "embedded-dynamodb")]
pub use embedded::{EmbeddedDynamoDb, create_table};
pub use item::InvalidNames;

use super::{PART_BYTES, Store, StoreError, TransactionalEffect, Written, parts::cut};
use crate::backoff::backoff;
use crate::protocol::{Record, RecordId, Write};
use error::Failure;
use expression::Expression;

/// The attributes of an item.
pub type Item = HashMap<String, AttributeValue>;

/// An application's write in the record's transaction, to any table.
///
/// If its condition fails, the store returns the item only if the effect requests it with
/// `ReturnValuesOnConditionCheckFailure`.
impl TransactionalEffect for TransactWriteItem {
    type Item = Item;
}

/// A [`Store`] in a DynamoDB table.
///
/// Each write is one request: `PutItem`, or `TransactWriteItems` if there are effects or the answer is too long for the
/// record. Each write is conditional and requests the old item if its condition fails, so that a refusal needs no
/// second request.
///
/// A record is always written as a whole: its writer knows the whole record, and an update expression would be longer
/// than the unchanged attributes.
#[derive(Clone, Debug)]
pub struct DynamoDbStore {
    client: Client,
    table: String,
    names: Arc<AttributeNames>,
    part_bytes: usize,
}

impl DynamoDbStore {
    /// Creates a store in this table, with the default attribute names.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), names: Arc::default(), part_bytes: PART_BYTES }
    }

    /// Uses other attribute names.
    ///
    /// ```no_run
    /// use idempotency::store::dynamodb::{AttributeNames, client};
    /// use idempotency::DynamoDbStore;
    ///
    /// // The one table of an application, with the keys `PK` and `SK`.
    /// let names = AttributeNames {
    ///     id: "PK".into(),
    ///     sort: Some("SK".into()),
    ///     id_prefix: "RECORD#".into(),
    ///     ..AttributeNames::default()
    /// };
    /// let store = DynamoDbStore::new(client(), "Shop").with_names(names)?;
    /// # Ok::<_, idempotency::store::dynamodb::InvalidNames>(())
    /// ```
    ///
    /// # Errors
    /// [`InvalidNames`] if two names are the same or one is not valid.
    pub fn with_names(mut self, names: AttributeNames) -> Result<Self, InvalidNames> {
        names.check()?;
        self.names = Arc::new(names);
        Ok(self)
    }

    /// Checks that the table exists, has the key that the store expects, and may be read. Call it at the start of a
    /// function: otherwise a configuration error shows only when the first request fails with "the store is not
    /// available".
    ///
    /// # Errors
    /// [`StoreError`], whose source is DynamoDB's error.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.read(&RecordId::from_stored("idempotency:warm".into())).await.map(drop)
    }

    /// Sets a shorter maximum length of an answer's parts, so that tests get many parts from few bytes.
    #[cfg(any(test, feature = "test-util"))]
    #[must_use]
    pub fn with_part_bytes(mut self, part_bytes: usize) -> Self {
        self.part_bytes = part_bytes;
        self
    }

    /// Opens the connection with one cheap read of a record that does not exist.
    ///
    /// Call it in the init phase of a Lambda function, where the CPU is not throttled: the first request then finds a
    /// connection whose TLS handshake is done. The result of the read does not matter.
    pub async fn warm(&self) {
        if let Err(error) = self.check().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not warm the connection to the store");
        }
    }

    async fn put(&self, write: &Write) -> Result<Written<Item>, Failure> {
        let condition = Expression::of(&write.condition, &self.names);
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item::from_record(&write.record, &self.names)))
            .condition_expression(condition.condition)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match boxed(request.send()).await {
            Ok(_) => Ok(Written::Applied),
            Err(error) => self.refused_or_failed(write, Failure::from_put(error)),
        }
    }

    /// The record comes first: if its condition does not hold, that decides, even if other conditions fail, too.
    ///
    /// The SDK gives each request its own `ClientRequestToken`, which the SDK's retries share. A token derived from the
    /// record could collide with another write whose content differs, which DynamoDB refuses for ten minutes. A retry
    /// by the engine is therefore recognised only by the record's condition, as without a transaction.
    async fn transact(
        &self,
        write: &Write,
        effects: &[TransactWriteItem],
        parts: &[&[u8]],
    ) -> Result<Written<Item>, Failure> {
        let mut actions = Vec::with_capacity(1 + effects.len() + parts.len());
        actions.push(self.record_action(write)?);
        actions.extend_from_slice(effects);
        for (index, part) in parts.iter().enumerate() {
            actions.push(self.part_action(&write.record, index, part)?);
        }
        let request = self.client.transact_write_items().set_transact_items(Some(actions));
        let sent = match parts {
            [] => boxed(request.send()),
            // If a request overrides the configuration, the SDK builds its whole configuration again.
            parts => boxed(request.customize().config_override(parts::timeouts(parts)).send()),
        };
        match sent.await {
            Ok(_) => Ok(Written::Applied),
            Err(error) => match self.refused_or_failed(write, Failure::from_transaction(error))? {
                Written::EffectRefused(refused) if refused.index >= effects.len() => Err(Failure::part_in_the_way()),
                written => Ok(written),
            },
        }
    }

    async fn get(&self, id: &RecordId, is_consistent: bool) -> Result<Option<Record>, StoreError> {
        let found = self.item(id.as_str(), is_consistent).await?;
        found.map(|item| item::to_record(item, &self.names)).transpose()
    }

    async fn item(&self, id: &str, is_consistent: bool) -> Result<Option<Item>, StoreError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(self.names.key(id)));
        let sent = boxed(request.consistent_read(is_consistent).send());
        Ok(sent.await.map_err(|error| StoreError::NotApplied(error.into()))?.item)
    }

    fn record_action(&self, write: &Write) -> Result<TransactWriteItem, Failure> {
        let condition = Expression::of(&write.condition, &self.names);
        let put = condition.into_put(&self.table, item::from_record(&write.record, &self.names))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn refused_or_failed(&self, write: &Write, failure: Failure) -> Result<Written<Item>, Failure> {
        match failure {
            Failure::Refused(None) => Ok(Written::refused(write, None)),
            Failure::Refused(Some(found)) => {
                let found = item::to_record(found, &self.names).map_err(Failure::Store)?;
                Ok(Written::refused(write, Some(found)))
            }
            Failure::EffectRefused(refused) => Ok(Written::EffectRefused(refused)),
            other @ (Failure::Contended(_) | Failure::Store(_)) => Err(other),
        }
    }
}

impl Store for DynamoDbStore {
    type Effect = TransactWriteItem;

    /// The limits of one transaction (4 MB, 100 items) minus the effects.
    ///
    /// The size of an item that an effect updates is not known here; 40 KB are reserved for each.
    fn max_response_bytes(effects: &[TransactWriteItem]) -> usize {
        parts::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<TransactWriteItem>) -> Result<Written<Item>, StoreError> {
        self.write_within(write, effects, RETRY_BUDGET).await
    }

    async fn write_within(
        &self,
        write: &Write,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Written<Item>, StoreError> {
        let cut = cut(write, self.part_bytes);
        let (write, parts) = cut.as_ref().map_or((write, &[][..]), |(head, parts)| (head, parts));
        let attempt = || async {
            if effects.is_empty() && parts.is_empty() {
                self.put(write).await
            } else {
                self.transact(write, &effects, parts).await
            }
        };
        within(retry_budget, attempt).await
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.get(id, true).await
    }

    /// Costs half the read units of a consistent read.
    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.get(id, false).await
    }

    /// Sends one consistent read per part, all concurrently.
    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let reads = (0..parts as usize).map(|index| self.read_part(record, index));
        let parts: Option<Vec<Vec<u8>>> = futures::future::try_join_all(reads).await?.into_iter().collect();
        Ok(parts.map(|parts| parts.concat()))
    }
}

/// Boxes a request, to keep it out of the surrounding futures. A request's future has 6 KB, and a future may hold the
/// one it awaits twice: without this, the outermost future, which is moved, would have hundreds of kilobytes.
fn boxed<'a, F: Future + Send + 'a>(request: F) -> BoxFuture<'a, F::Output> {
    Box::pin(request)
}

/// How long a write retries because of concurrent writes if it knows no deadline.
const RETRY_BUDGET: Duration = Duration::from_secs(1);

/// Repeats an attempt while concurrent writes are in the way. DynamoDB cancels overlapping transactions instead of
/// queueing them, and the SDK does not retry a cancelled one ("Amazon DynamoDB transactions: how it works", transaction
/// conflict handling).
///
/// Limited by the retry budget, not by a count: if many contend for one item, one succeeds at a time.
async fn within<T, F: Future<Output = Result<T, Failure>>>(
    retry_budget: Duration,
    attempt: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let started = Instant::now();
    let again = |failure: &Failure| failure.is_contended() && started.elapsed() < retry_budget;
    attempt.retry(backoff(10, 200)).when(again).await.map_err(StoreError::from)
}

#[cfg(test)]
mod tests;
