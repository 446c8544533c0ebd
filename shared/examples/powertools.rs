//! A function that replaces one with Powertools for AWS Lambda (Python): orders that the old function has charged are
//! not charged again.
//!
//! `cargo run -p idempotency --example powertools --features examples,embedded-dynamodb,powertools` needs no AWS: the
//! tables are in an embedded DynamoDB, and the old function's record is written here as Powertools writes it. In a
//! function the client is `store::dynamodb::client()`, and `lambda_runtime::run(service_fn(handler))` passes order and
//! deadline.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_dynamodb::types::{AttributeValue, TransactWriteItem};
use idempotency::engine::InputKey;
use idempotency::powertools::Predecessor;
use idempotency::protocol::{EpochMs, Pointer};
use idempotency::store::dynamodb::EmbeddedDynamoDb;
use idempotency::{Attempt, Call, DynamoDbStore, Engine, Operation, Verdict};
use serde_json::{Value, json};

static CHARGES: AtomicU32 = AtomicU32::new(0);

/// The business logic. The idempotency key for the provider is now the attempt's transaction id.
async fn charge(_: Attempt<TransactWriteItem>, order: &Value) -> Verdict<Value> {
    CHARGES.fetch_add(1, Ordering::SeqCst);
    Verdict::Success(json!({"charged": order["amount"]}))
}

/// The old function was
///
/// ```python
/// @idempotent_function(data_keyword_argument="order", persistence_store=DynamoDBPersistenceLayer("Records"),
///                      config=IdempotencyConfig(event_key_jmespath="id"))
/// def charge(order): ...
/// ```
///
/// in the module `app` of the Lambda function `pay`.
async fn handler(
    engine: &Engine<DynamoDbStore>,
    old: &Predecessor,
    order: &Value,
    deadline: EpochMs,
) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
    let id = Pointer::new("/id")?;
    let call = Call::of_input(Operation::new("pay", "charge"), InputKey::At(&id), order, deadline)?;
    let outcome = old.run(engine, &call, &old.key(&order["id"])?, |attempt| charge(attempt, order)).await?;
    Ok(outcome.into_result()?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let database = EmbeddedDynamoDb::start().await?;
    // One table for both functions, as in production.
    let engine = Engine::builder(database.store("Records").await?).build();
    let old = Predecessor::python(database.client(), "Records", "pay.app.charge");
    let deadline = engine.now().plus(std::time::Duration::from_secs(10));

    // The record that Powertools left when it charged order 17; its id is the MD5 of `"order-17"`.
    let expiration = (engine.now().seconds().0 + 3600).to_string();
    let put = database.client().put_item().table_name("Records");
    let put = put
        .item("id", AttributeValue::S("pay.app.charge#307f2c7570f91850a9ad3456ef9ad74f".into()))
        .item("status", AttributeValue::S("COMPLETED".into()))
        .item("data", AttributeValue::S(r#"{"charged": 5}"#.into()))
        .item("expiration", AttributeValue::N(expiration));
    put.send().await?;

    for (order, expected) in [("order-17", 0), ("order-18", 1), ("order-17", 1), ("order-18", 1)] {
        let answer = handler(&engine, &old, &json!({"id": order, "amount": 5}), deadline).await?;
        let charges = CHARGES.load(Ordering::SeqCst);
        println!("{order}: {answer}, charges: {charges}");
        assert_eq!((answer, charges), (json!({"charged": 5}), expected));
    }
    Ok(())
}
