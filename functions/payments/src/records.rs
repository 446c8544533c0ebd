use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::DynamoDbStore;
use idempotency::protocol::watermark::Watermark;
use idempotency::protocol::{EpochMs, Record, RecordId, Write};
use idempotency::store::dynamodb::{Item, RecordsElsewhere, sdk_config};
use idempotency::store::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};
use idempotency::store::valkey::iam::{IamTokens, Service};
use idempotency::store::valkey::{InvalidPlacement, Keeps, Placement, Server, Unfit, ValkeyStore};
use idempotency::store::watermarks::{Advanced, Watermarks};
use idempotency::store::{Store, StoreError, Written};

use crate::{MissingSetting, Table, setting};

/// Where the records of requests and messages are; the effects are in the [`Table`] in either case.
#[derive(Clone, Debug)]
pub enum Records {
    /// In a DynamoDB table: records and effects are written in one transaction.
    DynamoDb(DynamoDbStore),
    /// On a Valkey or Redis server: the effects are written first, and are safe by their own conditions.
    Valkey(RecordsElsewhere<ValkeyStore, Table>),
}

/// Why the records cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A setting is missing.
    #[error(transparent)]
    Missing(#[from] MissingSetting),
    /// `RECORD_STORE` names neither store.
    #[error("RECORD_STORE must be DynamoDB or Valkey")]
    Store,
    /// `VALKEY_SERVER` is not a server's address.
    #[error("VALKEY_SERVER must be HOST:PORT or USER@HOST:PORT/CACHE")]
    Server,
    /// `VALKEY_KEEPS` is neither `every` nor `most`.
    #[error("VALKEY_KEEPS must be every or most")]
    Keeps,
    /// An IAM token cannot be signed without a Region and the role's credentials.
    #[error("there are no credentials, or no region, to sign an IAM token with")]
    Credentials,
    /// The tag in this program is invalid, which a test would detect.
    #[error(transparent)]
    Placement(#[from] InvalidPlacement),
    /// The server is unsuitable.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Records {
    /// The records that the function's environment configures; opens the connection to their store.
    ///
    /// # Errors
    ///
    /// When a setting is missing or invalid, or the server is unfit: not reached, too old, a replica, or one that
    /// evicts keys. Then the function must not serve.
    pub async fn open(client: Client, table: &Table) -> Result<Self, RecordsError> {
        match setting("RECORD_STORE")?.as_str() {
            "DynamoDB" => {
                let store = DynamoDbStore::new(client, setting("RECORDS_TABLE")?);
                store.warm().await;
                Ok(Self::DynamoDb(store))
            }
            "Valkey" => {
                let keeps = keeps(&setting("VALKEY_KEEPS")?)?;
                let store = ValkeyStore::new(&server(&setting("VALKEY_SERVER")?)?, Placement::together(TAG)?, keeps);
                store.check().await?;
                Ok(Self::Valkey(RecordsElsewhere::new(store, client, table.clone())))
            }
            _ => Err(RecordsError::Store),
        }
    }
}

impl Records {
    /// Whether a record and its effects are written in one transaction.
    pub const fn are_with_effects(&self) -> bool {
        matches!(self, Self::DynamoDb(_))
    }
}

/// The prefix of the keys on the server. Never change it: it determines where a record is stored.
const TAG: &str = "payments";

/// The server's address, with the user and the cache of an IAM login.
#[derive(Debug, PartialEq, Eq)]
struct Place<'t> {
    host: &'t str,
    port: u16,
    login: Option<Login<'t>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Login<'t> {
    service: Service,
    user: &'t str,
    cache: &'t str,
}

impl<'t> Place<'t> {
    /// Reads `HOST:PORT` or `USER@HOST:PORT/CACHE`.
    fn parse(text: &'t str) -> Option<Self> {
        let (login, address) = match text.split_once('@') {
            Some((user, rest)) => {
                let (address, cache) = rest.split_once('/')?;
                (Some((user, cache)), address)
            }
            None => (None, text),
        };
        let (host, port) = address.rsplit_once(':')?;
        // "clustercfg.NAME.….memorydb.REGION.amazonaws.com"; ElastiCache has "cache" there.
        let is_memory_db = host.split('.').any(|part| part == "memorydb");
        let service = if is_memory_db { Service::MemoryDb } else { Service::ElastiCache };
        let login = login.map(|(user, cache)| Login { service, user, cache });
        (!host.is_empty()).then_some(Self { host, port: port.parse().ok()?, login })
    }
}

/// A login uses TLS, because IAM requires it.
fn server(text: &str) -> Result<Server, RecordsError> {
    let Place { host, port, login } = Place::parse(text).ok_or(RecordsError::Server)?;
    let server = Server::new(host, port);
    let Some(Login { service, user, cache }) = login else { return Ok(server) };
    let config = sdk_config("DYNAMODB");
    let credentials = config.credentials_provider().ok_or(RecordsError::Credentials)?;
    let region = config.region().ok_or(RecordsError::Credentials)?.to_string();
    Ok(server.tls().credentials(IamTokens::new(service, cache, user, region, credentials)))
}

fn keeps(text: &str) -> Result<Keeps, RecordsError> {
    match text {
        "every" => Ok(Keeps::Every),
        "most" => Ok(Keeps::MostWrites),
        _ => Err(RecordsError::Keeps),
    }
}

/// The same call on either store.
macro_rules! either {
    ($self:ident, $records:ident => $call:expr) => {
        match $self {
            Self::DynamoDb($records) => $call,
            Self::Valkey($records) => $call,
        }
    };
}

impl Store for Records {
    type Effect = TransactWriteItem;

    // With records on Valkey, the effects are written separately.
    const EFFECTS_WITH_RECORD: bool = false;

    /// The smaller limit of the two stores, so that the same answer fits on both.
    fn max_response_bytes(effects: &[TransactWriteItem]) -> usize {
        DynamoDbStore::max_response_bytes(effects).min(ValkeyStore::max_response_bytes(&[]))
    }

    async fn write(&self, write: &Write, effects: Vec<TransactWriteItem>) -> Result<Written<Item>, StoreError> {
        either!(self, records => records.write(write, effects).await)
    }

    async fn write_within(
        &self,
        write: &Write,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Written<Item>, StoreError> {
        either!(self, records => records.write_within(write, effects, retry_budget).await)
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        either!(self, records => records.read(id).await)
    }

    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        either!(self, records => records.look_up(id).await)
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        either!(self, records => records.read_parts(record, parts).await)
    }
}

impl Watermarks for Records {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        either!(self, records => records.watermark(id).await)
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<TransactWriteItem>,
        retry_budget: Duration,
    ) -> Result<Advanced<Item>, StoreError> {
        either!(self, records => records.advance(id, next, effects, retry_budget).await)
    }

    fn bytes(effect: &TransactWriteItem) -> usize {
        DynamoDbStore::bytes(effect)
    }

    fn collide(one: &TransactWriteItem, other: &TransactWriteItem) -> bool {
        DynamoDbStore::collide(one, other)
    }
}

impl Unsettled for Records {
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        either!(self, records => records.unknown(limit, after).await)
    }

    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        either!(self, records => records.scan(place, now, limit).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_with_or_without_a_login() {
        let plain = Place { host: "127.0.0.1", port: 6379, login: None };
        assert_eq!(Place::parse("127.0.0.1:6379"), Some(plain));
        let host = "master.payments.abc123.use1.cache.amazonaws.com";
        let login = Login { service: Service::ElastiCache, user: "app", cache: "payments" };
        let text = format!("app@{host}:6379/payments");
        assert_eq!(Place::parse(&text), Some(Place { host, port: 6379, login: Some(login) }));
        let text = "app@clustercfg.payments.abc123.memorydb.us-east-1.amazonaws.com:6379/payments";
        let service = Place::parse(text).and_then(|place| place.login).map(|login| login.service);
        assert_eq!(service, Some(Service::MemoryDb));
        for wrong in ["", "cache", "cache:port", ":6379", "app@cache:6379", "cache:65536"] {
            assert_eq!(Place::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_no_server_and_no_promise_is_refused() {
        assert!(matches!(server("nonsense"), Err(RecordsError::Server)));
        assert!(format!("{:?}", server("cache:6379").unwrap()).contains("tls: false"));
        assert!(matches!(keeps("some"), Err(RecordsError::Keeps)));
        assert_eq!((keeps("every").unwrap(), keeps("most").unwrap()), (Keeps::Every, Keeps::MostWrites));
    }
}
