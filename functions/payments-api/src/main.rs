//! The payments API behind API Gateway: what it is made of. What it does is in [`handler`].

mod handler;

use std::time::Duration;

use idempotency::metrics::Emf;
use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine, IdempotencyLayer, Uncertain};
use lambda_http::tower::Layer;
use lambda_http::{Error, service_fn};
use payments::{Provider, Table, setting};

use handler::Handler;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    lambda_http::tracing::init_default_subscriber();
    let client = dynamodb::client().await;
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    store.warm().await;
    let engine = Engine::builder(store).metrics(Emf::install("Payments", "payments-api")?).build();
    // The provider deduplicates by our transaction id, and forgets it after 24 hours.
    let repeat = Uncertain::Repeat { within: Duration::from_secs(23 * 60 * 60) };
    let layer = IdempotencyLayer::new(engine, "payments").uncertain(repeat).max_body_bytes(64 * 1024);
    let provider = Provider::new(&setting("PROVIDER_URL")?, &setting("PROVIDER_API_KEY")?, Duration::from_secs(2))?;
    let handler = Handler::new(provider, Table::new(client, setting("PAYMENTS_TABLE")?));
    lambda_http::run(layer.layer(service_fn(move |request| handler.clone().handle(request)))).await
}
