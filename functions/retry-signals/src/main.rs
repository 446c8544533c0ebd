//! Wires retry signals behind a log subscription and a schedule.

use std::time::Duration;

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{Invocation, init_telemetry, named, setting};
use retry_signals::count::Counter;
use retry_signals::handler::Handler;
use retry_signals::score::Scorer;
use retry_signals::table::Signals;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("retry-signals")?;
    let client = dynamodb::client();
    let engine =
        Engine::builder(DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?)).metrics(metrics).build();
    let window = Duration::from_secs(setting("SIGNAL_WINDOW_S")?.parse()?);
    let table = Signals::new(client, setting("SIGNALS_TABLE")?, window);
    let counter = Counter::new(table.clone(), setting("ACCOUNT")?, setting("LOG_GROUP")?);
    let scorer = Scorer::new(engine.clone(), table, setting("ALERTS_PER_DAY")?.parse()?);
    let handler = Handler::new(engine, counter, scorer);
    let handle =
        async |event: LambdaEvent<Value>| handler.handle(&event.payload, Invocation::from(&event.context)).await;
    lambda_runtime::run(named(service_fn(handle))).await
}
