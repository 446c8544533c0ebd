//! A Kafka consumer that calls another system: each record has an idempotency record, and a resolver settles unknown
//! outcomes.
//!
//! `cargo run -p idempotency --example external_records --features examples,streams` needs no AWS: the store is in
//! memory, and the event is written here. In a function the store is `DynamoDbStore`, and event and deadline come from
//! the invocation.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idempotency::protocol::Principal;
use idempotency::reconcile::{Evidence, Resolver};
use idempotency::store::BoxError;
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::streams::{Kafka, KafkaBatch, Record, RecordKey, Stream};
use idempotency::{Attempt, Engine, Operation};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Sale {
    id: String,
}

/// Another system, which keeps each announcement under our transaction id. Its first reply is lost.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Vec<String>>>);

impl Shop {
    fn announce(&self, transaction: String) -> Result<(), BoxError> {
        let mut announced = self.0.lock().map_err(|_| "poisoned")?;
        announced.push(transaction);
        if announced.len() == 1 { Err("no reply".into()) } else { Ok(()) }
    }
}

/// Only an announcement that the other system has is evidence; "not found" is not.
impl Resolver<Effect, ()> for Shop {
    async fn resolve(&self, record: &idempotency::protocol::Record, _: Attempt<Effect>) -> Evidence<()> {
        match self.0.lock() {
            Ok(announced) if announced.contains(&record.transaction.to_string()) => Evidence::Happened(()),
            _ => Evidence::Unclear("it is not known there".into()),
        }
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (engine, shop) = (Engine::builder(MemoryStore::new()).build(), Shop::default());
    let key = RecordKey::function(|record: &Record| Some(record.json::<Sale>().ok()?.id));
    let stream = Stream::new(engine.clone(), Operation::new("sales", "announce"), "cluster-1")
        .record_each(Principal::new("tills")?, key)
        .resolver(shop.clone());
    let kafka = Kafka::new(stream);

    let record = |offset: u64, sale: &str| {
        let value = STANDARD.encode(json!({ "id": sale }).to_string());
        json!({"topic": "sales", "partition": 0, "offset": offset, "timestamp": 1, "value": value, "headers": []})
    };
    // The producer sent the first sale twice.
    let records = json!({"records": {"sales-0": [record(41, "s-1"), record(42, "s-1"), record(43, "s-2")]}});
    for (delivery, again) in [("first", 1), ("second", 0)] {
        let event: KafkaBatch = serde_json::from_value(records.clone())?;
        let handler =
            |attempt: Attempt<Effect>, _: Record| std::future::ready(shop.announce(attempt.transaction().to_string()));
        let response = kafka.handle(event, engine.now().plus(Duration::from_secs(10)), handler).await?;
        println!("{delivery} delivery: partitions to come again: {}", response.batch_item_failures.len());
        assert_eq!(response.batch_item_failures.len(), again);
    }
    assert_eq!(shop.0.lock().map_err(|_| "poisoned")?.len(), 2, "two sales, each announced once");
    Ok(())
}
