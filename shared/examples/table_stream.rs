//! The stream of a DynamoDB table: each change is deserialized into a type and takes effect once.
//!
//! `cargo run -p idempotency --example table_stream --features examples,streams` needs no AWS: the store is in memory,
//! and the event is written here. In a function the store is `DynamoDbStore`, and event and deadline come from the
//! invocation.

use std::time::Duration;

use aws_lambda_events::event::dynamodb::EventRecord;
use idempotency::events::TableEvent;
use idempotency::protocol::Principal;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::streams::{TableStream, Unreadable, new_image};
use idempotency::{Attempt, Engine, Operation};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Customer {
    name: String,
}

async fn index(attempt: Attempt<Effect>, change: EventRecord) -> Result<(), Unreadable> {
    let customer: Customer = new_image(&change)?;
    attempt.add_effect(Effect::named(customer.name));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let customers = Principal::new("Customers")?;
    let table = TableStream::new(engine.clone(), Operation::new("search", "index"), customers).single_write();

    let key = json!({"id": {"S": "c-1"}});
    let image = |name: &str| json!({"id": {"S": "c-1"}, "name": {"S": name}});
    let changes =
        TableEvent::new("Customers").insert(key.clone(), image("Ann")).modify(key, image("Ann"), image("Ann B."));
    for delivery in ["first", "second"] {
        let response = table.handle(changes.batch()?, engine.now().plus(Duration::from_secs(10)), index).await?;
        let indexed = ["Ann", "Ann B."].map(|name| store.applied(name));
        println!("{delivery} delivery: indexed {indexed:?}, to come again: {}", response.batch_item_failures.len());
        assert_eq!((indexed, response.batch_item_failures.len()), ([1, 1], 0));
    }
    Ok(())
}
