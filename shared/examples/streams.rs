//! A Kafka consumer that posts each record once, with one watermark per partition, although Lambda delivers batches
//! again.
//!
//! `cargo run -p idempotency --example streams --features streams` needs no AWS: the store is in memory, and the event
//! is written here. In a function the store is `DynamoDbStore`, and the event and the deadline come from the
//! invocation.

use std::time::Duration;

use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::streams::{Kafka, KafkaBatch, Stream};
use idempotency::{Engine, Operation, Verdict};

const EVENT: &str = r#"{"records": {"sales-0": [
    {"topic": "sales", "partition": 0, "offset": 41, "timestamp": 1, "value": "e30=", "headers": []},
    {"topic": "sales", "partition": 0, "offset": 42, "timestamp": 2, "value": "e30=", "headers": []}
]}}"#;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let kafka = Kafka::new(Stream::new(engine.clone(), Operation::new("sales", "post"), "cluster-1"));

    for delivery in ["first", "second"] {
        let event: KafkaBatch = serde_json::from_str(EVENT)?;
        let response = kafka
            .handle(event, engine.now().plus(Duration::from_secs(10)), |attempt, record| async move {
                // A transaction writes each item only once, so each record has an effect of its own.
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
