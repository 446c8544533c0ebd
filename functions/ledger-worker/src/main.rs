//! The ledger worker behind SQS: what it is made of. What it does is in [`handler`].

mod handler;

use idempotency::protocol::{Compare, EpochMs, Principal};
use idempotency::sqs::{SqsBatch, SqsVisibility};
use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine, Operation, Queue};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{Message, Table, setting, watch};

use handler::Handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("ledger-worker")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let engine = Engine::builder(store).metrics(metrics).build();
    let operation = Operation::new("ledger", "post to the ledger").compare(Compare::Selected(Message::compared()?));
    // The messages are the payments application's own, whichever queue brings them.
    let queue = Queue::new(engine, operation, Principal::new("payments")?, Message::key()?).single_write();
    let queue = queue.traceparent(Message::traceparent()?);
    let queue = queue.contention(handler::contention).visibility(SqsVisibility::from_environment());
    let handler = Handler::new(Table::new(client, setting("PAYMENTS_TABLE")?));
    let handle = async |event: LambdaEvent<SqsBatch>| {
        let deadline = EpochMs(event.context.deadline);
        queue
            .handle(&event.payload, deadline, |attempt, message| handler.handle(attempt, message))
            .await
            .map_err(Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}
