//! Settles the open claim of a dead sandbox, although its client never retries.
//!
//! `cargo run -p idempotency --example follow_up --features examples,follow-up` needs no AWS: the store is in memory,
//! the stream's event is written here, and the sender keeps the follow-ups. In a function the store is `DynamoDbStore`,
//! the sender is `Schedules`, and the event and the deadline come from the invocation: see the module `follow_up`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idempotency::engine::{Claimed, Clock, SystemEntropy};
use idempotency::follow_up::{FollowUpEvent, Sender, to_text};
use idempotency::protocol::{EpochMs, Fingerprinter, FollowUp, Key, Principal, Record, Subject};
use idempotency::reconcile::{Evidence, Operations, Resolver};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Call, Engine, FollowUps, Operation};
use serde_json::{Value, json};

/// A clock that this program sets.
static NOW_MS: AtomicU64 = AtomicU64::new(1_800_000_000_000);

struct Hand;

impl Clock for Hand {
    fn now(&self) -> EpochMs {
        EpochMs(NOW_MS.load(Ordering::SeqCst))
    }
}

/// A sender that keeps the event of the later invocation.
#[derive(Default)]
struct Outbox(Mutex<Vec<String>>);

impl Sender for Outbox {
    async fn send(&self, follow_ups: &[FollowUp]) -> Result<(), idempotency::store::BoxError> {
        self.0.lock().map_err(|_| "poisoned")?.push(to_text(follow_ups));
        Ok(())
    }
}

/// A resolver for which the external system has the order.
struct Shop;

impl Resolver<Effect, String> for Shop {
    async fn resolve(&self, record: &Record, attempt: Attempt<Effect>) -> Evidence<String> {
        attempt.add_effect(Effect::named("booked"));
        Evidence::Happened(format!("order {}", record.transaction))
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder_with(store.clone(), Hand, SystemEntropy).build();
    let operation = Operation::new("orders", "POST /orders");
    let operations = Operations::new().with(operation.clone(), |subject| subject.as_str().starts_with("order "));

    // The sandbox places the order and dies with its claim.
    let (principal, key) = (Principal::new("ann")?, Key::new("8e03978e-40d5-43dd-bc93-6894a57f9324")?);
    let deadline = engine.now().plus(Duration::from_secs(5));
    let call = Call::new(operation, principal, key, Fingerprinter::new().finish(), deadline);
    let Claimed::Acquired(claim) = engine.claim(&call.about(Subject::new("order tea"))).await? else {
        return Err("another call has the claim".into());
    };

    let (outbox, shop) = (Outbox::default(), Shop);
    let follow_ups = FollowUps::new(engine.clone(), operations, &outbox);
    let handle = async |event: Value| -> Result<Value, Box<dyn std::error::Error>> {
        let event = FollowUpEvent::read(event).map_err(|event| format!("unknown event: {event}"))?;
        let deadline = engine.now().plus(Duration::from_secs(60));
        Ok(serde_json::to_value(follow_ups.handle(event, deadline, None, &shop).await?)?)
    };

    println!("from the stream: {}", handle(batch(claim.record())).await?);
    let sent = outbox.0.lock().map_err(|_| "poisoned")?.pop().ok_or("nothing was sent")?;
    println!("sent: {sent}");
    NOW_MS.fetch_add(60_000, Ordering::SeqCst);
    let report = handle(serde_json::from_str(&sent)?).await?;
    println!("a minute later: {report}");
    assert_eq!((report["happened"].as_u64(), store.applied("booked")), (Some(1), 1));
    Ok(())
}

/// The record's claim, as DynamoDB's stream delivers it.
fn batch(record: &Record) -> Value {
    let holder = record.holder().expect("a claim is held");
    json!({ "Records": [{ "eventSource": "aws:dynamodb", "eventName": "INSERT", "dynamodb": {
        "SequenceNumber": "1",
        "Keys": { "id": { "S": record.id.as_str() } },
        "NewImage": {
            "id": { "S": record.id.as_str() },
            "status": { "S": record.state.status().as_str() },
            "owner": { "B": STANDARD.encode(holder.owner.0) },
            "lease": { "N": holder.lease.0.to_string() },
            "attempt": { "N": record.attempt.to_string() },
            "transaction": { "S": record.transaction.to_string() },
            "operation": { "S": &*record.operation },
            "subject": { "S": record.subject.as_ref().map(Subject::as_str) },
            "fingerprint": { "B": STANDARD.encode(record.fingerprint.as_bytes()) },
            "created": { "N": record.created.0.to_string() },
            "updated": { "N": record.updated.0.to_string() },
        },
    } }] })
}
