//! The library on an embedded DynamoDB, for one test.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use idempotency::engine::{Clock, SystemClock};
use idempotency::{DynamoDbStore, Engine};

use crate::dynamodb::{Database, RECORDS, key};

/// An item of the table.
pub type Item = HashMap<String, AttributeValue>;

/// A database with a client, a store and an engine.
pub struct World {
    /// The database, behind its proxy.
    pub database: Database,
    /// A client of the database.
    pub client: Client,
    /// A store in its table of records.
    pub store: DynamoDbStore,
    /// An engine on that store.
    pub engine: Engine<DynamoDbStore>,
}

impl World {
    /// A world that uses the real time.
    pub async fn start() -> Self {
        Self::with_clock(SystemClock).await
    }

    /// A world that uses the test's clock.
    pub async fn with_clock(clock: impl Clock + 'static) -> Self {
        let database = Database::start().await;
        let client = database.client().await;
        let store = DynamoDbStore::new(client.clone(), RECORDS);
        let engine = Engine::builder(store.clone()).clock(clock).build();
        Self { database, client, store, engine }
    }

    /// An engine like that of another process, with an empty cache.
    pub fn elsewhere(&self) -> Engine<DynamoDbStore> {
        Engine::builder(DynamoDbStore::new(self.client.clone(), RECORDS)).build()
    }

    /// Reads an item.
    pub async fn item(&self, id: &str) -> Option<Item> {
        let request = self.client.get_item().table_name(RECORDS).set_key(Some(key(id))).consistent_read(true);
        request.send().await.expect("readable").item
    }

    /// Whether an effect was applied.
    pub async fn applied(&self, name: &str) -> bool {
        self.item(&format!("effect:{name}")).await.is_some()
    }

    /// A number in an item; 0 if it is absent.
    pub async fn number(&self, id: &str, attribute: &str) -> u64 {
        let item = self.item(id).await.unwrap_or_default();
        item.get(attribute).map_or(0, |value| value.as_n().expect("a number").parse().expect("a number"))
    }

    /// The number of requests that some work makes.
    pub async fn requests<T>(&self, work: impl Future<Output = T>) -> (u64, T) {
        let before = self.database.proxy.requests();
        let result = work.await;
        (self.database.proxy.requests() - before, result)
    }
}
