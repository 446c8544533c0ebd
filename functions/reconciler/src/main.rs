//! The reconciler behind a schedule: what it is made of. What it does is in [`handler`].

mod handler;

use std::time::Duration;

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{LateOwners, ProviderResolver, Table, provider, setting, watch};
use serde_json::Value;

use handler::Handler;
use handler::checkpoint::Checkpoints;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("reconciler")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let engine =
        Engine::builder(store.clone()).metrics(metrics).observer(LateOwners::new(table.clone(), "reconciler")).build();
    let provider = provider()?;
    let resolver = ProviderResolver::new(provider, table);
    let checkpoints = Checkpoints::new(client, setting("PAYMENTS_TABLE")?);
    let interval = Duration::from_secs(setting("SCAN_INTERVAL_S")?.parse()?);
    let handler = Handler::new(engine, store, resolver, checkpoints, interval);
    lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| handler.handle(&event.context).await)).await
}
