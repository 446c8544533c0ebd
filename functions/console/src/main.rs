//! The operators' console behind API Gateway: what it is made of. What it does is in [`state`].

mod api;
mod approvals;
mod auth;
mod changes;
mod confirmable;
mod confirmation;
mod error;
mod evidence;
mod format;
mod page;
mod provider_status;
mod record;
mod request_log;
mod settlement;
mod state;
mod unknown_list;

use idempotency::store::dynamodb;
use idempotency::{DynamoDbStore, Engine};
use lambda_http::Error;
use payments::{LateOwners, Table, provider, setting, watch};

use auth::Tokens;
use state::Console;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = watch("console")?;
    let client = dynamodb::client();
    let store = DynamoDbStore::new(client.clone(), setting("RECORDS_TABLE")?);
    let table = Table::new(client, setting("PAYMENTS_TABLE")?);
    let engine =
        Engine::builder(store.clone()).metrics(metrics).observer(LateOwners::new(table.clone(), "console")).build();
    let provider = provider()?;
    let tokens = Tokens::new(setting("JWT_ISSUER")?, setting("JWT_AUDIENCE")?, setting("JWT_KEYS_URL").ok())?;
    let console = Console { store, engine, table, provider, tokens };
    lambda_http::run(console.router()).await
}
