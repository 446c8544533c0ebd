//! A DynamoDB in the process of a test (feature `embedded-dynamodb`): [`dynoxide`].
//!
//! ```
//! use idempotency::store::dynamodb::EmbeddedDynamoDb;
//! use idempotency::{Engine, IdempotencyLayer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let engine = Engine::builder(EmbeddedDynamoDb::start().await?.store("Records").await?).build();
//! let layer = IdempotencyLayer::new(engine, "orders");
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! Dynoxide is not DynamoDB. It evaluates conditions and transactions as DynamoDB does, but it answers immediately,
//! never throttles, never cancels a transaction because of another one, and deletes no items by TTL.

use std::net::{Ipv4Addr, SocketAddr};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection, ProjectionType,
    ScalarAttributeType, TimeToLiveSpecification,
};
use tokio::net::TcpListener;

use super::{AttributeNames, DynamoDbStore, client};
use crate::store::BoxError;

/// A DynamoDB in memory, on a free port of this machine. It runs until the runtime in which it was started ends.
#[derive(Clone, Copy, Debug)]
pub struct EmbeddedDynamoDb {
    address: SocketAddr,
}

impl EmbeddedDynamoDb {
    /// Starts an empty database. Call it in a Tokio runtime.
    ///
    /// # Errors
    /// If no port is free.
    pub async fn start() -> Result<Self, BoxError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let database = dynoxide::Database::memory()?;
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Ok(Self { address })
    }

    /// The address on which it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A client with the library's configuration.
    #[must_use]
    pub fn client(&self) -> Client {
        let config = client().config().to_builder().endpoint_url(format!("http://{}", self.address));
        let credentials = Credentials::new("local", "local", None, None, "embedded");
        let config = config.region(Region::from_static("eu-central-1")).credentials_provider(credentials);
        Client::from_conf(config.build())
    }

    /// Creates a table of this name, and a store in it.
    ///
    /// # Errors
    /// If the table already exists.
    pub async fn store(&self, table: &str) -> Result<DynamoDbStore, BoxError> {
        create_table(&self.client(), table, &AttributeNames::default()).await?;
        Ok(DynamoDbStore::new(self.client(), table))
    }
}

/// Creates a table for records with these names: its key, the sparse index and its TTL. This is for tests; in
/// production use a template.
///
/// # Errors
/// DynamoDB's error.
pub async fn create_table(client: &Client, table: &str, names: &AttributeNames) -> Result<(), BoxError> {
    let attribute = |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let unresolved = GlobalSecondaryIndex::builder()
        .index_name(&names.unresolved_index)
        .key_schema(key(&names.unresolved, KeyType::Hash)?)
        .key_schema(key(&names.created, KeyType::Range)?)
        .projection(Projection::builder().projection_type(ProjectionType::All).build());
    let mut create = client
        .create_table()
        .table_name(table)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute(&names.id, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(&names.unresolved, ScalarAttributeType::S)?)
        .attribute_definitions(attribute(&names.created, ScalarAttributeType::N)?)
        .key_schema(key(&names.id, KeyType::Hash)?)
        .global_secondary_indexes(unresolved.build()?);
    if let Some(sort) = &names.sort {
        create = create
            .attribute_definitions(attribute(sort, ScalarAttributeType::S)?)
            .key_schema(key(sort, KeyType::Range)?);
    }
    create.send().await?;
    let expiration = TimeToLiveSpecification::builder().attribute_name(&names.expiration).enabled(true);
    client.update_time_to_live().table_name(table).time_to_live_specification(expiration.build()?).send().await?;
    Ok(())
}
