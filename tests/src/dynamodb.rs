//! A DynamoDB on a free port, for one test: embedded, or one that nobody here wrote.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, Put, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TimeToLiveSpecification,
    TransactWriteItem,
};

use fault_proxy::Proxy;
use idempotency::store::dynamodb::AttributeNames;

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

/// Each test has a Region to itself at a foreign database, as tables have the same name in all tests.
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
            Err(_) => (embedded().await, "eu-central-1"),
        };
        let started = Self { proxy: Proxy::start(address).await.expect("a free port"), region };
        started.create_table(RECORDS, &AttributeNames::default()).await;
        started
    }

    /// A client with the library's configuration, for this database.
    pub async fn client(&self) -> Client {
        client(&self.proxy.url(), self.region)
    }

    /// The Region that holds the table.
    pub const fn region(&self) -> &str {
        self.region
    }

    /// Creates an empty table for records with these names.
    pub async fn create_table(&self, table: &str, names: &AttributeNames) {
        let client = self.client().await;
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("complete")
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("complete")
        };
        let unresolved = GlobalSecondaryIndex::builder()
            .index_name(&names.unresolved_index)
            .key_schema(key(&names.unresolved, KeyType::Hash))
            .key_schema(key(&names.created, KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build());
        let create = client
            .create_table()
            .table_name(table)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute(&names.id, ScalarAttributeType::S))
            .attribute_definitions(attribute(&names.unresolved, ScalarAttributeType::S))
            .attribute_definitions(attribute(&names.created, ScalarAttributeType::N))
            .key_schema(key(&names.id, KeyType::Hash))
            .global_secondary_indexes(unresolved.build().expect("complete"));
        let create = match &names.sort {
            Some(sort) => create
                .attribute_definitions(attribute(sort, ScalarAttributeType::S))
                .key_schema(key(sort, KeyType::Range)),
            None => create,
        };
        create.send().await.expect("creates the table");
        let expiration = TimeToLiveSpecification::builder().attribute_name(&names.expiration).enabled(true);
        client
            .update_time_to_live()
            .table_name(table)
            .time_to_live_specification(expiration.build().expect("complete"))
            .send()
            .await
            .expect("enables the time to live");
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

async fn embedded() -> SocketAddr {
    let database = dynoxide::Database::memory().expect("a database in memory");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    address
}
