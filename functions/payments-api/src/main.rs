//! Wires the payments API behind API Gateway. Its business is in [`handler`].

mod handler;

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine, IdempotencyLayer};
use lambda_http::tower::Layer;
use lambda_http::{Error, service_fn};
use payments::{FencedAttempts, NAMESPACE, ProviderResolver, Table, init_telemetry, operations, provider, setting};

use handler::Handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("payments-api")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let provider = provider()?;
    let table = Table::new(client, setting("PAYMENTS_TABLE")?);
    let fenced = FencedAttempts::new(table.clone(), "payments-api");
    let engine = Engine::builder(store).metrics(metrics).observer(fenced).build();
    let layer = IdempotencyLayer::new(engine, NAMESPACE);
    let layer = operations()
        .iter()
        .fold(layer, |layer, operation| layer.operation(operation.clone()))
        .subject(handler::subject)
        .resolver(ProviderResolver::new(provider.clone(), table.clone()))
        .max_body_bytes(64 * 1024);
    let handler = Handler::new(provider, table, setting("ACCOUNTS_CLAIM").ok());
    lambda_http::run(layer.layer(service_fn(move |request| handler.clone().handle(request)))).await
}
