//! A Kafka consumer that posts each record once, with one watermark per partition, although Lambda redelivers batches.
//!
//! `cargo run -p idempotency --example streams --features examples,streams` needs no AWS: the store is in memory, and
//! the event is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::events::KafkaEvent;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::streams::{Kafka, Stream};
use idempotency::{Engine, Operation, Verdict};

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let kafka = Kafka::new(Stream::new(engine.clone(), Operation::new("sales", "post"), "cluster-1"));

    let event = KafkaEvent::new().record("sales", 0, 41, "{}").record("sales", 0, 42, "{}");
    for delivery in ["first", "second"] {
        let response = kafka
            .handle(event.batch()?, engine.now().plus(Duration::from_secs(10)), |attempt, record| async move {
                // A transaction writes each item only once, so each record has a different effect.
                attempt.add_effect(Effect::named(format!("posted {}", record.position)));
                Verdict::Success(())
            })
            .await?;
        let posted = [41, 42].map(|offset| store.applied(&format!("posted {offset}")));
        println!("{delivery} delivery: posted {posted:?}, to come again: {}", response.batch_item_failures.len());
        assert_eq!(posted, [1, 1]);
    }
    Ok(())
}
