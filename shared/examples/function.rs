//! A function that Step Functions, EventBridge or another function invokes directly, made idempotent in one expression;
//! and a Step Functions task that charges a card, where the outcome may be unknown.
//!
//! `cargo run -p idempotency --example function --features examples` needs no AWS: the store is in memory, and the
//! input is made here. In a function the store is `DynamoDbStore`, and `lambda_runtime::run(service_fn(handler))`
//! passes input and deadline.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use idempotency::engine::{InputKey, NoAnswer};
use idempotency::protocol::{EpochMs, Pointer, Record, Subject};
use idempotency::reconcile::{Evidence, Resolver};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::{Attempt, Call, Engine, ErrorKind, Operation, Verdict};
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

/// The business logic, which runs once per order number.
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

/// The answer of the Step Functions task.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum Charge {
    Charged { id: String },
    NotSent,
}

/// A provider that keeps each charge under our transaction id. Its first call fails, and the reply to the second is
/// lost.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Calls>>);

#[derive(Default)]
struct Calls {
    count: u32,
    charges: Vec<String>,
}

enum Failure {
    NotSent,
    NoReply,
}

impl Provider {
    fn charge(&self, id: &str) -> Result<(), Failure> {
        let mut calls = self.0.lock().map_err(|_| Failure::NotSent)?;
        calls.count += 1;
        if calls.count == 1 {
            return Err(Failure::NotSent);
        }
        calls.charges.push(id.to_owned());
        if calls.count == 2 { Err(Failure::NoReply) } else { Ok(()) }
    }

    fn charges(&self) -> Vec<String> {
        self.0.lock().map(|calls| calls.charges.clone()).unwrap_or_default()
    }
}

impl Resolver<Effect, Charge> for Provider {
    async fn resolve(&self, record: &Record, _: Attempt<Effect>) -> Evidence<Charge> {
        let id = record.transaction.to_string();
        match self.charges().contains(&id) {
            true => Evidence::Happened(Charge::Charged { id }),
            false => Evidence::Unclear("the provider does not know it, which is no evidence".into()),
        }
    }
}

async fn charge(provider: &Provider, attempt: Attempt<Effect>) -> Verdict<Charge> {
    let id = attempt.transaction().to_string();
    match provider.charge(&id) {
        Ok(()) => Verdict::Success(Charge::Charged { id }),
        Err(Failure::NotSent) => Verdict::NotExecuted(Charge::NotSent),
        Err(Failure::NoReply) => Verdict::Unknown("the provider did not answer".into()),
    }
}

/// The task. Its error is a name, which the state's `Retry` and `Catch` match, and a message: in a function
/// `lambda_runtime::Diagnostic { error_type, error_message }`. Let `Retry` repeat all errors except `InvalidInput`,
/// `Mismatch` and `Settled`, and repeat `OutcomeUnknown` for as long as the provider may need to answer the resolver.
async fn charge_task(
    engine: &Engine<MemoryStore>,
    provider: &Provider,
    order: &Order,
    deadline: u64,
) -> Result<Charge, (&'static str, String)> {
    // The hash of the order names the call. Other parts of the task's input, such as the execution's name, do not
    // count. A repetition after the retention is a new call, under a new transaction id. The retention is therefore
    // longer than the time within which retries, a redrive of the execution or a replay of the event may come.
    let operation = Operation::new("shop", "charge").retention(Duration::from_secs(30 * 24 * 60 * 60));
    let call = Call::of_input(operation, InputKey::Whole, order, EpochMs(deadline))
        .map_err(|cause| ("InvalidInput", cause.to_string()))?
        .about(Subject::new(format!("order {}", order.number)));
    let outcome = engine.run_or_reconcile(&call, |attempt| charge(provider, attempt), provider).await;
    let outcome = outcome.map_err(|cause| {
        let name = match cause.kind() {
            ErrorKind::NothingRan => "NotNow",
            ErrorKind::Settled => "Settled",
            // Also covers errors that a later version may add.
            _ => "OutcomeUnknown",
        };
        (name, cause.to_string())
    })?;
    match outcome.into_result() {
        Ok(charged @ Charge::Charged { .. }) => Ok(charged),
        // This is also an answer, but it is not recorded: the next attempt runs.
        Ok(Charge::NotSent) => Err(("NotSent", "nothing was sent to the provider".to_owned())),
        Err(cause @ NoAnswer::Unknown { .. }) => Err(("OutcomeUnknown", cause.to_string())),
        Err(cause @ NoAnswer::InProgress { .. }) => Err(("InProgress", cause.to_string())),
        Err(cause @ (NoAnswer::Mismatch | NoAnswer::Conflict)) => Err(("Mismatch", cause.to_string())),
    }
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

    let (provider, order) = (Provider::default(), Order { number: 18, item: "tea" });
    for expected in [Err("NotSent"), Err("OutcomeUnknown"), Ok(()), Ok(())] {
        let answer = charge_task(&engine, &provider, &order, deadline).await;
        println!("charge: {answer:?}");
        assert_eq!(answer.as_ref().map(|_| ()).map_err(|(name, _)| *name), expected);
    }
    assert_eq!(provider.charges().len(), 1, "charged once");
    Ok(())
}
