//! Wires the function that posts terminal sales from a Kafka topic. Its business logic is in [`handler`].

mod handler;

use idempotency::store::dynamodb;
use idempotency::streams::{Kafka, KafkaBatch, Stream};
use idempotency::{Engine, Operation};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{Invocation, Records, Table, init_telemetry, named, setting};

use handler::Handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("terminal-stream")?;
    let client = dynamodb::client();
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let engine = Engine::builder(Records::open(client, &table).await?).metrics(metrics).build();
    let stream = Stream::new(engine, Operation::new("ledger", "post from the stream"), "terminals");
    let kafka = Kafka::new(stream.generation(setting("TOPIC_GENERATION")?));
    let handler = Handler::new(table);
    let handle = async |event: LambdaEvent<KafkaBatch>| {
        let Invocation { deadline, .. } = Invocation::from(&event.context);
        kafka
            .handle(event.payload, deadline, |attempt, record| handler.handle(attempt, record))
            .await
            .map_err(Error::from)
    };
    lambda_runtime::run(named(service_fn(handle))).await
}
