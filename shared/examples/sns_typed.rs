//! Typed messages of a topic: SNS puts an envelope around each message; the handler gets a type and returns a `Result`.
//!
//! `cargo run -p idempotency --example sns_typed --features examples,sqs` needs no AWS: the store is in memory, and the
//! event is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::protocol::{Pointer, Principal};
use idempotency::sqs::{Envelope, KeySource, Message, SqsBatch};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, Operation, Queue};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Order {
    item: String,
    quantity: String,
}

/// An error returns the message to the queue; in single-write mode nothing has happened.
async fn ship(attempt: Attempt<Effect>, message: Message<'_, Order>) -> Result<(), std::num::ParseIntError> {
    let Order { item, quantity } = message.content();
    let quantity: u32 = quantity.parse()?;
    attempt.add_effect(Effect::named(format!("{quantity} {item}")));
    Ok(())
}

/// A message of the queue without raw message delivery. Each publication has its own id and time.
fn delivered(id: &str, order: serde_json::Value) -> serde_json::Value {
    let envelope = json!({"Type": "Notification", "MessageId": format!("sns-{id}"), "Message": order.to_string()});
    json!({"messageId": id, "body": envelope.to_string()})
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let key = KeySource::pointer(Pointer::new("/id")?);
    let queue = Queue::new(engine.clone(), Operation::new("orders", "ship"), Principal::new("shop")?, key)
        .single_write()
        .envelope(Envelope::Sns)
        .typed::<Order>();

    let event: SqsBatch = serde_json::from_value(json!({"Records": [
        delivered("m-1", json!({"id": "o-1", "item": "tea", "quantity": "2"})),
        delivered("m-2", json!({"id": "o-1", "item": "tea", "quantity": "2"})),
        delivered("m-3", json!({"id": "o-2", "item": "tea", "quantity": "many"})),
        delivered("m-4", json!({"id": "o-3", "item": "tea"})),
    ]}))?;
    let response = queue.handle(&event, engine.now().plus(Duration::from_secs(10)), ship).await?;
    let returned: Vec<_> = response.batch_item_failures.iter().map(|failure| &*failure.item_identifier).collect();
    println!("shipped: {}, returned to the queue: {returned:?}", store.applied("2 tea"));
    assert_eq!((store.applied("2 tea"), returned), (1, vec!["m-3", "m-4"]));
    Ok(())
}
