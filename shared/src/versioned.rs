//! Optimistic items: load, modify, and store if nobody else has meanwhile.
//!
//! Each store writes a version that is one higher, on the condition that the version is still the one that was loaded,
//! and a random stamp, by which the repeat of a write whose reply was lost recognises its own: the item keeps the stamps of
//! its last eight stores, for others may have stored it between the write and its repeat. A version is compared and never
//! a value, so that an item which was changed there and back counts as changed.
//!
//! For a sum that many writers add to, this is the wrong tool: each of them would read first, and all but one of those
//! that read the same version would start again. A relative update (`SET balance = balance + :change`) in a transaction
//! that cannot be applied twice needs no read and loses to nobody; so the ledger's balances are moved. Use a versioned
//! item where the new value is computed from the old one in a way that an expression cannot say.

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

use crate::engine::{Entropy, NoEntropy, SystemEntropy};
use crate::store::BoxError;
use crate::store::dynamodb::Item;

/// The attribute of the version, a number from 1.
const VERSION: &str = "version";

/// The attribute of the stamps of the last stores, newest first.
const STAMPS: &str = "stamps";

/// One for each store: random, used for no other.
const STAMP_BYTES: usize = 16;

/// More than others can store while the SDK repeats a request.
const KEPT_STAMPS: usize = 8;

/// Items of one table that have a version.
///
/// ```no_run
/// use std::collections::HashMap;
/// use aws_sdk_dynamodb::types::AttributeValue;
/// use idempotency::{store::dynamodb, versioned::{VersionedError, VersionedTable}};
///
/// # async fn rename() -> Result<(), VersionedError> {
/// let settings = VersionedTable::new(dynamodb::client(), "Settings");
/// let key = HashMap::from([("id".to_owned(), AttributeValue::S("shop-1".to_owned()))]);
/// settings.update(key, |item| {
///     item.insert("name".to_owned(), AttributeValue::S("The shop".to_owned()));
/// }).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct VersionedTable {
    client: Client,
    table: String,
    attempts: usize,
}

/// An item as it was loaded, to be changed and stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// The attributes, without those of the key and of the version. None if there is no item yet.
    pub item: Item,
    key: Item,
    /// 0 if there is no item yet.
    version: u64,
    /// Newest first.
    stamps: Vec<u8>,
}

/// Why an item could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionedError {
    /// Others stored it every time between our load and our store. Nothing was written.
    #[error("others changed the item {attempts} times in a row; nothing was written")]
    Contended {
        /// How often it was tried.
        attempts: usize,
    },
    /// The table could not be reached. Whether the last store took effect is not known.
    #[error("the table did not answer")]
    Unavailable(#[source] BoxError),
    /// The item has no version that is a number, so that it is not one of these.
    #[error("the item has no version that is a number")]
    NotVersioned,
    /// There is no randomness for a stamp. Nothing was written.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

impl VersionedTable {
    /// The items of a table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), attempts: 10 }
    }

    /// How often [`VersionedTable::update`] tries, at least once. Default: 10.
    #[must_use]
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Loads an item as it is now (strongly consistent).
    ///
    /// # Errors
    /// [`VersionedError::Unavailable`], [`VersionedError::NotVersioned`].
    pub async fn load(&self, key: Item) -> Result<Versioned, VersionedError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key.clone())).consistent_read(true);
        let found = request.send().await.map_err(unavailable)?.item;
        Versioned::read(key, found)
    }

    /// The store of an item as one effect of a commit. The commit is refused if somebody else has stored it meanwhile:
    /// load it again then.
    ///
    /// # Errors
    /// [`VersionedError::NoEntropy`].
    pub fn effect(&self, versioned: Versioned) -> Result<TransactWriteItem, VersionedError> {
        let Store { item, condition, previous, .. } = Store::of(versioned)?;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_names("#version", VERSION)
            .set_expression_attribute_values(previous)
            .return_values_on_condition_check_failure(AllOld);
        Ok(TransactWriteItem::builder().put(put.build().expect("has a table and an item")).build())
    }

    /// Loads, modifies and stores an item by itself, again with a little delay where somebody else was faster. The
    /// item as it is then.
    ///
    /// `modify` may run several times, each time on the item as it is at that time.
    ///
    /// # Errors
    /// [`VersionedError`]; of these only [`VersionedError::Unavailable`] leaves open whether it was stored.
    pub async fn update(&self, key: Item, modify: impl Fn(&mut Item)) -> Result<Versioned, VersionedError> {
        let mut delays = backoff().build();
        let mut loaded = self.load(key).await?;
        for _ in 0..self.attempts {
            modify(&mut loaded.item);
            match self.store(loaded).await? {
                Stored::Applied(stored) => return Ok(stored),
                Stored::Refused(found) => loaded = found,
            }
            tokio::time::sleep(delays.next().unwrap_or(LONGEST_DELAY)).await;
        }
        Err(VersionedError::Contended { attempts: self.attempts })
    }

    async fn store(&self, versioned: Versioned) -> Result<Stored, VersionedError> {
        let Versioned { key, item: changed, version, .. } = versioned.clone();
        let Store { item, condition, previous, stamps } = Store::of(versioned)?;
        let stored = Versioned { item: changed, key: key.clone(), version: version + 1, stamps };
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .expression_attribute_names("#version", VERSION)
            .set_expression_attribute_values(previous)
            .return_values_on_condition_check_failure(AllOld);
        // A transaction that is under way on the item refuses the put, which the SDK does not repeat. It is repeated as it
        // is, with its stamp: an earlier try may have got through.
        let put = || async { request.clone().send().await.map_err(SdkError::into_service_error) };
        let in_the_way = |error: &PutItemError| error.is_transaction_conflict_exception();
        let error = match put.retry(backoff().with_max_times(self.attempts)).when(in_the_way).await {
            Ok(_) => return Ok(Stored::Applied(stored)),
            Err(error) => error,
        };
        if !error.is_conditional_check_failed_exception() {
            return Err(unavailable(error));
        }
        let found = match error {
            PutItemError::ConditionalCheckFailedException(refused) => refused.item,
            _ => None,
        };
        // The SDK repeats a request whose reply was lost; the repeat then fails on what the first one wrote.
        let found = Versioned::read(key, found)?;
        match found.has_stamp_of(&stored) {
            true => Ok(Stored::Applied(found)),
            false => Ok(Stored::Refused(found)),
        }
    }
}

enum Stored {
    Applied(Versioned),
    /// Somebody else was faster; this is what is there now.
    Refused(Versioned),
}

/// The whole item as it shall be, and its condition.
struct Store {
    item: Item,
    condition: &'static str,
    previous: Option<Item>,
    stamps: Vec<u8>,
}

impl Store {
    fn of(versioned: Versioned) -> Result<Self, VersionedError> {
        let Versioned { mut item, key, version, stamps: before } = versioned;
        let mut stamps = vec![0; STAMP_BYTES];
        SystemEntropy.fill(&mut stamps)?;
        stamps.extend(before.into_iter().take((KEPT_STAMPS - 1) * STAMP_BYTES));
        item.extend(key);
        item.insert(VERSION.to_owned(), AttributeValue::N((version + 1).to_string()));
        item.insert(STAMPS.to_owned(), AttributeValue::B(Blob::new(stamps.clone())));
        let (condition, previous) = match version {
            0 => ("attribute_not_exists(#version)", None),
            _ => {
                let previous = AttributeValue::N(version.to_string());
                ("#version = :previous", Some(Item::from([(":previous".to_owned(), previous)])))
            }
        };
        Ok(Self { item, condition, previous, stamps })
    }
}

impl Versioned {
    /// How often it was stored.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn read(key: Item, found: Option<Item>) -> Result<Self, VersionedError> {
        let Some(mut item) = found else {
            return Ok(Self { item: Item::new(), key, version: 0, stamps: Vec::new() });
        };
        let version = match item.remove(VERSION) {
            Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| VersionedError::NotVersioned)?,
            Some(_) | None => return Err(VersionedError::NotVersioned),
        };
        let stamps = match item.remove(STAMPS) {
            Some(AttributeValue::B(stamps)) => stamps.into_inner(),
            Some(_) | None => Vec::new(),
        };
        item.retain(|name, _| !key.contains_key(name));
        Ok(Self { item, key, version, stamps })
    }

    /// Whether this item has gone through that store.
    fn has_stamp_of(&self, stored: &Self) -> bool {
        let stamp = stored.stamps.get(..STAMP_BYTES);
        self.stamps.chunks_exact(STAMP_BYTES).any(|other| Some(other) == stamp)
    }
}

const LONGEST_DELAY: Duration = Duration::from_millis(200);

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(5))
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
}

fn unavailable(error: impl Into<aws_sdk_dynamodb::Error> + fmt::Debug) -> VersionedError {
    VersionedError::Unavailable(Box::new(error.into()))
}
