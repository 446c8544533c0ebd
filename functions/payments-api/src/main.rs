//! Wires the payments API behind API Gateway. Its business logic is in the library.

use idempotency::Engine;
use idempotency::store::dynamodb;
use lambda_http::{Adapter, Error, lambda_runtime};
use payments::{FencedAttempts, Records, Table, init_telemetry, named, provider, pseudonyms, secrets_client, setting};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("payments-api")?;
    let client = dynamodb::client();
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let secrets = secrets_client();
    let provider = provider(secrets.clone())?;
    let (records, _, pseudonyms) = tokio::join!(Records::open(client, &table), provider.warm(), pseudonyms(secrets));
    let fenced = FencedAttempts::new(table.clone(), "payments-api");
    let engine = Engine::builder(records?).metrics(metrics).observer(fenced).build();
    let service = payments_api::service(engine, provider, table, setting("ACCOUNTS_CLAIM").ok(), pseudonyms);
    lambda_runtime::run(named(Adapter::from(service))).await
}
