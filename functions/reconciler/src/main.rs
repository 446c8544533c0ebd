//! Wires the reconciler behind a schedule. Its business is in [`handler`].

mod handler;

use std::time::Duration;

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{
    FencedAttempts, Invocation, ProviderResolver, Table, init_telemetry, named, provider, secrets_client, setting,
};
use serde_json::Value;

use handler::Handler;
use handler::checkpoint::Checkpoints;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("reconciler")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let fenced = FencedAttempts::new(table.clone(), "reconciler");
    let engine = Engine::builder(store.clone()).metrics(metrics).observer(fenced).build();
    let resolver = ProviderResolver::new(provider(secrets_client())?, table);
    let checkpoints = Checkpoints::new(client, setting("PAYMENTS_TABLE")?);
    let interval = Duration::from_secs(setting("SCAN_INTERVAL_S")?.parse()?);
    let handler = Handler::new(engine, store, resolver, checkpoints, interval);
    let handle = async |event: LambdaEvent<Value>| handler.handle(Invocation::from(&event.context)).await;
    lambda_runtime::run(named(service_fn(handle))).await
}
