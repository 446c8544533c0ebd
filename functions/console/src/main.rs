//! The operators' console behind API Gateway, which lists UNKNOWN records and settles them with evidence.

mod api;
mod app;
mod audit;
mod auth;
mod dead_letters;
mod details;
mod document;
mod error;
mod extract;
mod find;
mod format;
mod lists;
mod page;
mod provider_status;
mod queues;
mod record;
mod records;
mod request_log;
mod settlement;
mod signals;
mod state;

use idempotency::Engine;
use idempotency::store::dynamodb;
use lambda_http::{Adapter, Error, lambda_runtime};
use payments::{
    FencedAttempts, ProviderResolver, Records, Secret, Table, init_telemetry, named, provider, secrets_client, setting,
};

use queues::Queues;
use state::Console;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("console")?;
    let client = dynamodb::client();
    let signals = signals::of_environment(&client)?;
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let store = Records::open(client, &table).await?;
    let fenced = FencedAttempts::new(table.clone(), "console");
    let engine = Engine::builder(store.clone()).metrics(metrics).observer(fenced).build();
    let secrets = secrets_client();
    let provider = provider(secrets.clone())?;
    let resolver = ProviderResolver::new(provider.clone(), table.clone());
    let sign_in = auth::sign_in(|name| Secret::new(secrets.clone(), name))?;
    let queues = Queues::of_environment()?;
    let router = app::router(Console { store, engine, table, provider, resolver, queues, sign_in, signals });
    lambda_runtime::run(named(Adapter::from(router))).await
}
