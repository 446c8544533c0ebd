//! A function that Step Functions, EventBridge or another function invokes directly, made idempotent in one expression.
//!
//! `cargo run -p idempotency --example function` needs no AWS: the store is in memory, and the input is made here. In a
//! function the store is `DynamoDbStore`, and `lambda_runtime::run(service_fn(handler))` passes input and deadline.

use idempotency::engine::InputKey;
use idempotency::protocol::{EpochMs, Pointer};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Call, Engine, Operation, Verdict};
use serde::{Deserialize, Serialize};

#[derive(Serialize)]
struct Order {
    number: u64,
    item: &'static str,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Reservation {
    id: String,
}

/// The business: it runs once for each order's number.
async fn reserve(attempt: Attempt<Effect>, order: &Order) -> Verdict<Reservation> {
    attempt.add_effect(Effect::named(format!("{} reserved", order.item)));
    Verdict::Success(Reservation { id: attempt.transaction().to_string() })
}

/// The handler. `deadline` is `context.deadline`.
async fn handler(
    engine: &Engine<MemoryStore>,
    order: Order,
    deadline: u64,
) -> Result<Reservation, Box<dyn std::error::Error>> {
    let number = Pointer::new("/number")?;
    let call = Call::of_input(Operation::new("shop", "reserve"), InputKey::At(&number), &order, EpochMs(deadline))?;
    Ok(engine.run(&call, |attempt| reserve(attempt, &order)).await?.into_result()?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = MemoryStore::new();
    let engine = Engine::builder(store.clone()).build();
    let deadline = engine.now().0 + 10_000;
    let first = handler(&engine, Order { number: 17, item: "tea" }, deadline).await?;
    let again = handler(&engine, Order { number: 17, item: "tea" }, deadline).await?;
    println!("reserved as {}, and as {} the second time", first.id, again.id);
    assert_eq!((&first, store.applied("tea reserved")), (&again, 1));
    match handler(&engine, Order { number: 17, item: "coffee" }, deadline).await {
        Ok(_) => return Err("another order must not take its number".into()),
        Err(error) => println!("another order under its number: {error}"),
    }
    assert_eq!(store.applied("coffee reserved"), 0);
    Ok(())
}
