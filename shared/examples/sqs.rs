//! A queue worker that posts each event once, although SQS redelivers messages and producers repeat them.
//!
//! `cargo run -p idempotency --example sqs --features examples,sqs` needs no AWS: the store is in memory, and the event
//! is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::protocol::{Pointer, Principal};
use idempotency::sqs::{KeySource, SqsBatch};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Engine, Operation, Queue, Verdict};

/// Two messages contain the same event, because the producer repeated it; the last one has no event id.
const EVENT: &str = r#"{"Records": [
    {"messageId": "m-1", "body": "{\"event\": \"e-1\", \"amount\": 5}"},
    {"messageId": "m-2", "body": "{\"event\": \"e-1\", \"amount\": 5}"},
    {"messageId": "m-3", "body": "{\"event\": \"e-2\", \"amount\": 7}"},
    {"messageId": "m-4", "body": "{\"amount\": 9}"}
]}"#;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let key = KeySource::pointer(Pointer::new("/event")?);
    // The posting is a transactional effect, so one write per message is enough.
    let queue = Queue::new(engine.clone(), Operation::new("ledger", "post"), Principal::new("orders")?, key);
    let queue = queue.single_write();

    let event: SqsBatch = serde_json::from_str(EVENT)?;
    let response = queue
        .handle(&event, engine.now().plus(Duration::from_secs(10)), |attempt, _message| async move {
            attempt.add_effect(Effect::named("posted"));
            Verdict::Success(())
        })
        .await?;

    let returned: Vec<_> =
        response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_str()).collect();
    println!("posted: {}, returned to the queue: {returned:?}", store.applied("posted"));
    assert_eq!((store.applied("posted"), returned), (2, vec!["m-4"]));
    Ok(())
}
