//! A DynamoDB on a free port, for one test: embedded, or a third-party implementation.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::types::{AttributeValue, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem};

use fault_proxy::Proxy;
use idempotency::store::dynamodb::{AttributeNames, EmbeddedDynamoDb};

/// The table of records.
pub const RECORDS: &str = "Records";

/// The key of an item in that table.
pub fn key(id: impl Into<String>) -> HashMap<String, AttributeValue> {
    HashMap::from([("id".to_owned(), AttributeValue::S(id.into()))])
}

/// A transactional effect in the same table, the item `effect:NAME`; it is refused if it was applied before.
pub fn effect(name: impl Into<String>) -> TransactWriteItem {
    let put = Put::builder()
        .table_name(RECORDS)
        .set_item(Some(key(format!("effect:{}", name.into()))))
        .condition_expression("attribute_not_exists(id)")
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
    TransactWriteItem::builder().put(put.build().expect("complete")).build()
}

/// The environment variable with the `address:port` of another implementation of DynamoDB, for tests of the store:
/// `tests/foreign` runs them on its emulators. Without it the database is embedded.
const FOREIGN: &str = "FOREIGN_DYNAMODB";

/// The Regions at a foreign database, of which each test uses its own, because tables have the same name in all tests.
const REGIONS: [&str; 16] = [
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ca-central-1",
    "eu-central-1",
    "eu-north-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-west-2",
];

/// A database with an empty table of records, reached through a [`Proxy`].
pub struct Database {
    /// The proxy between clients and the database.
    pub proxy: Proxy,
    region: &'static str,
}

impl Database {
    /// Starts a database with an empty table.
    pub async fn start() -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let region = REGIONS.get(STARTED.fetch_add(1, Ordering::Relaxed));
        let (address, region) = match std::env::var(FOREIGN) {
            Ok(address) => (address.parse().expect(FOREIGN), *region.expect("a Region for each test")),
            Err(_) => (EmbeddedDynamoDb::start().await.expect("a free port").address(), "eu-central-1"),
        };
        let started = Self { proxy: Proxy::start(address).await.expect("a free port"), region };
        started.create_table(RECORDS, &AttributeNames::default()).await;
        started
    }

    /// A client with the library's configuration, for this database.
    pub async fn client(&self) -> Client {
        client(&self.proxy.url(), self.region)
    }

    /// The same without time limits, for tests that ask what a store does and not how soon.
    pub async fn patient_client(&self) -> Client {
        let config = self.client().await.config().to_builder().timeout_config(TimeoutConfig::disabled());
        Client::from_conf(config.build())
    }

    /// The Region that holds the table.
    pub const fn region(&self) -> &str {
        self.region
    }

    /// Creates an empty table for records with these names.
    pub async fn create_table(&self, table: &str, names: &AttributeNames) {
        idempotency::store::dynamodb::create_table(&self.client().await, table, names)
            .await
            .expect("creates the table");
    }
}

/// A client with the library's configuration, for a database at this URL.
pub fn client(url: &str, region: &str) -> Client {
    let config = idempotency::store::dynamodb::client().config().to_builder();
    Client::from_conf(
        config
            .endpoint_url(url)
            .region(aws_sdk_dynamodb::config::Region::new(region.to_owned()))
            .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("local", "local", None, None, "tests"))
            .build(),
    )
}
