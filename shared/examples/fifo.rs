//! A FIFO queue, keyed by its own deduplication ids: groups stay in order, and a failed message holds only its group.
//!
//! `cargo run -p idempotency --example fifo --features examples,sqs` needs no AWS: the store is in memory, and the
//! event is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::events::SqsEvent;
use idempotency::protocol::Principal;
use idempotency::sqs::{KeySource, Message};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Engine, Operation, Queue};

async fn post(attempt: Attempt<Effect>, message: Message<'_>) -> Result<(), &'static str> {
    match message.text() {
        "not yet" => Err("its account is not open yet"),
        text => {
            attempt.add_effect(Effect::named(text));
            Ok(())
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let (operation, producer) = (Operation::new("ledger", "post"), Principal::new("orders")?);
    // SQS itself drops a deduplication id after five minutes; a record is kept for 29 days.
    let queue = Queue::new(engine.clone(), operation, producer, KeySource::deduplication_id()).single_write();

    let event = SqsEvent::new("Postings.fifo")
        .message("ann 1")
        .in_group("ann", "d-1")
        .message("not yet")
        .in_group("ann", "d-2")
        .message("ann 3")
        .in_group("ann", "d-3")
        .message("bob 1")
        .in_group("bob", "d-4")
        .message("bob 1")
        .in_group("bob", "d-4")
        .batch()?;
    let response = queue.handle(&event, engine.now().plus(Duration::from_secs(10)), post).await?;
    let returned: Vec<_> = response.batch_item_failures.iter().map(|failure| &*failure.item_identifier).collect();
    let posted = ["ann 1", "ann 3", "bob 1"].map(|text| store.applied(text));
    println!("posted: {posted:?}, returned to the queue: {returned:?}");
    assert_eq!((posted, returned), ([1, 0, 1], vec!["m-2", "m-3"]));
    Ok(())
}
