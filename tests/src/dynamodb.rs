//! An embedded DynamoDB on a free port, for one test.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, Put, ReturnValuesOnConditionCheckFailure, ScalarAttributeType, TimeToLiveSpecification,
    TransactWriteItem,
};

use fault_proxy::Proxy;

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

/// A database in memory with a table of records, reached through a [`Proxy`].
pub struct Database {
    /// The proxy between clients and the database.
    pub proxy: Proxy,
}

impl Database {
    /// Starts a database with an empty table.
    pub async fn start() -> Self {
        let database = dynoxide::Database::memory().expect("a database in memory");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let started = Self { proxy: Proxy::start(address).await.expect("a free port") };
        started.create_table().await;
        started
    }

    /// A client with the library's configuration, for this database.
    pub async fn client(&self) -> Client {
        let config = idempotency::store::dynamodb::client().config().to_builder();
        Client::from_conf(
            config
                .endpoint_url(self.proxy.url())
                .region(aws_sdk_dynamodb::config::Region::new("eu-central-1"))
                .credentials_provider(aws_sdk_dynamodb::config::Credentials::new("local", "local", None, None, "tests"))
                .build(),
        )
    }

    async fn create_table(&self) {
        let client = self.client().await;
        let attribute = |name: &str, kind| {
            AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().expect("complete")
        };
        let key = |name: &str, kind| {
            KeySchemaElement::builder().attribute_name(name).key_type(kind).build().expect("complete")
        };
        let unresolved = GlobalSecondaryIndex::builder()
            .index_name("unresolved")
            .key_schema(key("unresolved", KeyType::Hash))
            .key_schema(key("created", KeyType::Range))
            .projection(Projection::builder().projection_type(ProjectionType::All).build());
        client
            .create_table()
            .table_name(RECORDS)
            .billing_mode(BillingMode::PayPerRequest)
            .attribute_definitions(attribute("id", ScalarAttributeType::S))
            .attribute_definitions(attribute("unresolved", ScalarAttributeType::S))
            .attribute_definitions(attribute("created", ScalarAttributeType::N))
            .key_schema(key("id", KeyType::Hash))
            .global_secondary_indexes(unresolved.build().expect("complete"))
            .send()
            .await
            .expect("creates the table");
        let expiration = TimeToLiveSpecification::builder().attribute_name("expiration").enabled(true);
        client
            .update_time_to_live()
            .table_name(RECORDS)
            .time_to_live_specification(expiration.build().expect("complete"))
            .send()
            .await
            .expect("enables the time to live");
    }
}
