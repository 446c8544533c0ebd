//! Items with optimistic locking: load, modify, and store unless another writer has stored the item meanwhile.
//!
//! Each store increments the version, on the condition that the stored version is the one that was loaded. It also
//! writes a random stamp, by which a retry whose reply was lost recognises its own write. The item keeps the stamps of
//! its last eight stores, because others may have stored it between the write and its retry. Only versions are
//! compared, never values, so an item that was changed and changed back counts as changed.
//!
//! This is the wrong tool for a sum to which many writers add: each of them would read first, and of those that read
//! the same version all but one would have to start again. A relative update (`SET balance = balance + :change`), in a
//! transaction that cannot be applied twice, needs no read and never conflicts on the version; the example
//! application's ledger moves its balances that way. Use a versioned item if the new value is computed from the old one
//! in a way that an expression cannot state.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use backon::{BackoffBuilder, ExponentialBuilder, Retryable};

use crate::backoff::backoff;
use crate::engine::{Entropy, NoEntropy, SystemEntropy};
use crate::store::BoxError;
use crate::store::dynamodb::Item;

/// The version attribute, a number from 1.
const VERSION: &str = "version";

/// The attribute with the stamps of the last stores, newest first.
const STAMPS: &str = "stamps";

/// The length of a stamp: random bytes, different for each store.
const STAMP_BYTES: usize = 16;

/// How many stamps an item keeps: more than the number of stores that others can make while the SDK retries a request.
const KEPT_STAMPS: usize = 8;

/// Versioned items of one table.
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
    adopts: bool,
}

/// An item as it was loaded, to be modified and stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Versioned {
    /// The attributes, without those of the key and of the version. Empty if there is no item yet.
    pub item: Item,
    key: Item,
    /// The version, 0 if there is no item yet.
    version: u64,
    /// The stamps of the last stores, newest first.
    stamps: Vec<u8>,
    /// The item as it was found, if it has no version yet.
    adopted: Option<Item>,
}

/// The reason that an item could not be loaded or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VersionedError {
    /// In every attempt another writer stored the item between our load and our store. Nothing was written.
    #[error("others changed the item {attempts} times in a row; nothing was written")]
    Contended {
        /// The number of attempts.
        attempts: usize,
    },
    /// The table could not be reached. It is unknown whether the last store took effect.
    #[error("the table did not answer")]
    Unavailable(#[source] BoxError),
    /// The item has no numeric version, so it is not a versioned item. See [`VersionedTable::adopting`] for items that
    /// existed before.
    #[error("the item has no version that is a number")]
    NotVersioned,
    /// There were no random bytes for a stamp. Nothing was written.
    #[error(transparent)]
    NoEntropy(#[from] NoEntropy),
}

impl VersionedTable {
    /// Creates a handle for the versioned items of a table.
    pub fn new(client: Client, table: impl Into<String>) -> Self {
        Self { client, table: table.into(), attempts: 10, adopts: false }
    }

    /// Sets the maximum number of attempts of [`VersionedTable::update`], at least 1. Default: 10.
    #[must_use]
    pub fn attempts(mut self, attempts: usize) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Also accepts items without a version, which were written before the table was used with versions. The first
    /// store of such an item gives it a version, on the condition that it still has no version and still has all the
    /// loaded values.
    ///
    /// Remove all writers that do not maintain versions first: their later writes are overwritten without notice.
    #[must_use]
    pub const fn adopting(mut self) -> Self {
        self.adopts = true;
        self
    }

    /// Loads the current item (strongly consistent).
    ///
    /// # Errors
    /// [`VersionedError::Unavailable`] or [`VersionedError::NotVersioned`].
    pub async fn load(&self, key: Item) -> Result<Versioned, VersionedError> {
        let request = self.client.get_item().table_name(&self.table).set_key(Some(key.clone())).consistent_read(true);
        let found = request.send().await.map_err(unavailable)?.item;
        Versioned::read(key, found, self.adopts)
    }

    /// Returns the store of an item as an effect for a commit. The commit is refused if another writer has stored the
    /// item since it was loaded; in that case load it again.
    ///
    /// # Errors
    /// [`VersionedError::NoEntropy`] if there are no random bytes for a stamp.
    pub fn effect(&self, versioned: Versioned) -> Result<TransactWriteItem, VersionedError> {
        let Store { item, condition, names, previous, .. } = Store::of(versioned)?;
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(previous)
            .return_values_on_condition_check_failure(AllOld);
        Ok(TransactWriteItem::builder().put(put.build().expect("has a table and an item")).build())
    }

    /// Loads, modifies and stores an item, and returns it as stored. If another writer was faster, this is repeated
    /// after a short delay.
    ///
    /// `modify` may run several times, each time on the newly loaded item.
    ///
    /// # Errors
    /// Any [`VersionedError`]. Only after [`VersionedError::Unavailable`] is it unknown whether the item was stored.
    pub async fn update(&self, key: Item, modify: impl Fn(&mut Item)) -> Result<Versioned, VersionedError> {
        let mut delays = delays().build();
        let mut loaded = self.load(key).await?;
        for _ in 0..self.attempts {
            modify(&mut loaded.item);
            match self.store(loaded).await? {
                Ok(stored) => return Ok(stored),
                Err(found) => loaded = found,
            }
            tokio::time::sleep(delays.next().unwrap_or_default()).await;
        }
        Err(VersionedError::Contended { attempts: self.attempts })
    }

    /// Stores the item, or returns the item that another writer stored.
    async fn store(&self, versioned: Versioned) -> Result<Result<Versioned, Versioned>, VersionedError> {
        let Versioned { key, item: changed, version, .. } = versioned.clone();
        let Store { item, condition, names, previous, stamps } = Store::of(versioned)?;
        let stored = Versioned { item: changed, key: key.clone(), version: version + 1, stamps, adopted: None };
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .set_expression_attribute_names(Some(names))
            .set_expression_attribute_values(previous)
            .return_values_on_condition_check_failure(AllOld);
        // A concurrent transaction on the item refuses the put, which the SDK does not retry. We retry it unchanged,
        // with its stamp, because an earlier attempt may have been applied.
        let put = || async { request.clone().send().await.map_err(SdkError::into_service_error) };
        let in_the_way = |error: &PutItemError| error.is_transaction_conflict_exception();
        let found = match put.retry(delays().with_max_times(self.attempts)).when(in_the_way).await {
            Ok(_) => return Ok(Ok(stored)),
            Err(PutItemError::ConditionalCheckFailedException(refused)) => refused.item,
            Err(error) => return Err(unavailable(error)),
        };
        // The SDK retries a request whose reply was lost. The condition of the retry then fails because of the first
        // one's write.
        let found = Versioned::read(key, found, self.adopts)?;
        Ok(if found.has_stamp_of(&stored) { Ok(found) } else { Err(found) })
    }
}

/// A store of an item: the whole new item, and its condition.
struct Store {
    item: Item,
    condition: String,
    names: HashMap<String, String>,
    previous: Option<Item>,
    stamps: Vec<u8>,
}

impl Store {
    fn of(versioned: Versioned) -> Result<Self, VersionedError> {
        let Versioned { mut item, key, version, stamps: before, adopted } = versioned;
        let mut stamps = vec![0; STAMP_BYTES];
        SystemEntropy.fill(&mut stamps)?;
        stamps.extend(before.into_iter().take((KEPT_STAMPS - 1) * STAMP_BYTES));
        item.extend(key);
        item.insert(VERSION.to_owned(), AttributeValue::N((version + 1).to_string()));
        item.insert(STAMPS.to_owned(), AttributeValue::B(Blob::new(stamps.clone())));
        let mut names = HashMap::from([("#version".to_owned(), VERSION.to_owned())]);
        let (condition, previous) = match (version, adopted) {
            (0, None) => ("attribute_not_exists(#version)".to_owned(), None),
            (0, Some(found)) => unversioned(found, &mut names),
            (_, _) => {
                let previous = AttributeValue::N(version.to_string());
                ("#version = :previous".to_owned(), Some(Item::from([(":previous".to_owned(), previous)])))
            }
        };
        Ok(Self { item, condition, names, previous, stamps })
    }
}

/// The condition that an item has no version and still has these values.
fn unversioned(found: Item, names: &mut HashMap<String, String>) -> (String, Option<Item>) {
    let mut condition = "attribute_not_exists(#version)".to_owned();
    let mut values = Item::new();
    for (number, (name, value)) in found.into_iter().enumerate() {
        condition.push_str(&format!(" AND #n{number} = :n{number}"));
        names.insert(format!("#n{number}"), name);
        values.insert(format!(":n{number}"), value);
    }
    (condition, (!values.is_empty()).then_some(values))
}

impl Versioned {
    /// The number of times the item has been stored.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    fn read(key: Item, found: Option<Item>, adopts: bool) -> Result<Self, VersionedError> {
        let Some(mut item) = found else {
            return Ok(Self { item: Item::new(), key, version: 0, stamps: Vec::new(), adopted: None });
        };
        if adopts && !item.contains_key(VERSION) {
            item.retain(|name, _| !key.contains_key(name));
            return Ok(Self { adopted: Some(item.clone()), item, key, version: 0, stamps: Vec::new() });
        }
        let version = match item.remove(VERSION) {
            Some(AttributeValue::N(digits)) => digits.parse().map_err(|_| VersionedError::NotVersioned)?,
            Some(_) | None => return Err(VersionedError::NotVersioned),
        };
        let stamps = match item.remove(STAMPS) {
            Some(AttributeValue::B(stamps)) => stamps.into_inner(),
            Some(_) | None => Vec::new(),
        };
        item.retain(|name, _| !key.contains_key(name));
        Ok(Self { item, key, version, stamps, adopted: None })
    }

    /// Whether this item contains the stamp of the store of `stored`.
    fn has_stamp_of(&self, stored: &Self) -> bool {
        let stamp = stored.stamps.get(..STAMP_BYTES);
        self.stamps.chunks_exact(STAMP_BYTES).any(|other| Some(other) == stamp)
    }
}

fn delays() -> ExponentialBuilder {
    backoff(5, 200)
}

fn unavailable(error: impl Into<aws_sdk_dynamodb::Error> + fmt::Debug) -> VersionedError {
    VersionedError::Unavailable(Box::new(error.into()))
}
