//! Terminals' sales from a Kafka topic: what the function is made of. What it does is in [`handler`].

mod handler;

use idempotency::protocol::EpochMs;
use idempotency::store::dynamodb;
use idempotency::streams::{Kafka, KafkaBatch, Stream};
use idempotency::{DynamoDbStore, Engine, Operation};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{Table, setting, watch};

use handler::Handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("terminal-stream")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let engine = Engine::builder(store).metrics(metrics).build();
    let stream = Stream::new(engine, Operation::new("ledger", "post from the stream"), "terminals");
    let kafka = Kafka::new(stream.generation(setting("TOPIC_GENERATION")?));
    let handler = Handler::new(Table::new(client, setting("PAYMENTS_TABLE")?));
    let handle = async |event: LambdaEvent<KafkaBatch>| {
        let deadline = EpochMs(event.context.deadline);
        kafka
            .handle(event.payload, deadline, |attempt, record| handler.handle(attempt, record))
            .await
            .map_err(Error::from)
    };
    lambda_runtime::run(service_fn(handle)).await
}
