//! The payments API's process: settings, clients and the loop of Lambda.

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_http::Error;
use payments::{LateOwners, Table, provider, setting, watch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("payments-api")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let table = Table::new(client, setting("PAYMENTS_TABLE")?);
    let observer = LateOwners::new(table.clone(), "payments-api");
    let engine = Engine::builder(store).metrics(metrics).observer(observer).build();
    lambda_http::run(payments_api::service(engine, provider()?, table, setting("ACCOUNTS_CLAIM").ok())).await
}
