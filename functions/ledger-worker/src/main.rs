//! Wires the ledger worker behind SQS. Its business logic is in the library.

use idempotency::Engine;
use idempotency::sqs::{SqsBatch, SqsVisibility};
use idempotency::store::dynamodb;
use lambda_runtime::{Error, LambdaEvent, service_fn};
use ledger_worker::Worker;
use payments::{Invocation, Records, Table, init_telemetry, named, setting};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("ledger-worker")?;
    let client = dynamodb::client();
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let engine = Engine::builder(Records::open(client, &table).await?).metrics(metrics).build();
    let worker = Worker::new(engine, table)?;
    let worker = worker.visibility(SqsVisibility::from_environment());
    let handle = async |event: LambdaEvent<SqsBatch>| {
        let Invocation { deadline, .. } = Invocation::from(&event.context);
        worker.handle(&event.payload, deadline).await.map_err(Error::from)
    };
    lambda_runtime::run(named(service_fn(handle))).await
}
