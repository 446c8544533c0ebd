//! A Kinesis consumer with one watermark per shard.
//!
//! `cargo run -p idempotency --example kinesis --features examples,streams` needs no AWS: the store is in memory, and
//! the event is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::events::KinesisEvent;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::streams::{Kinesis, Record, Stream, Unreadable};
use idempotency::{Attempt, Engine, Operation};
use serde::Deserialize;

#[derive(Deserialize)]
struct Reading {
    meter: String,
}

/// An error stops the shard at its record. Nothing has happened, because effects are written with the watermark.
async fn add(attempt: Attempt<Effect>, record: Record) -> Result<(), Unreadable> {
    let reading: Reading = record.json()?;
    attempt.add_effect(Effect::named(format!("{} at {}", reading.meter, record.position)));
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    // The mapping's ParallelizationFactor must be 1, its default.
    let stream = Stream::new(engine.clone(), Operation::new("meters", "add"), "readings");
    let kinesis = Kinesis::new(stream, 1)?;

    let records = KinesisEvent::new("readings")
        .record(0, 1, r#"{"meter":"m-1"}"#)
        .record(0, 2, r#"{"meter":"m-2"}"#)
        .record(0, 3, "{}");
    for delivery in ["first", "second"] {
        let response = kinesis.handle(records.batch()?, engine.now().plus(Duration::from_secs(10)), add).await?;
        let again: Vec<_> =
            response.batch_item_failures.iter().map(|failure| failure.item_identifier.as_deref()).collect();
        let added = ["m-1 at 1", "m-2 at 2"].map(|name| store.applied(name));
        println!("{delivery} delivery: added {added:?}, to come again from {again:?}");
        assert_eq!((added, again), ([1, 1], vec![Some("3")]));
    }
    Ok(())
}
