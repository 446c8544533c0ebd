//! The ledger worker's process: settings, clients and the loop of Lambda.

use idempotency::protocol::EpochMs;
use idempotency::sqs::{SqsBatch, SqsVisibility};
use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledger_worker::Worker;
use payments::{Table, setting, watch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("ledger-worker")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let engine = Engine::builder(store).metrics(metrics).build();
    let worker = Worker::new(engine, Table::new(client, setting("PAYMENTS_TABLE")?))?;
    let worker = worker.visibility(SqsVisibility::from_environment());
    let handle = async |event: LambdaEvent<SqsBatch>| {
        worker.handle(&event.payload, EpochMs(event.context.deadline)).await.map_err(Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}
