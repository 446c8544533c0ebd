//! Wires the reconciler behind a table's stream and two kinds of schedules. Its business logic is in [`handler`].

mod follow_up;
mod handler;

use std::time::Duration;

use idempotency::Engine;
use idempotency::follow_up::FollowUpEvent;
use idempotency::store::dynamodb;

use lambda_runtime::{Error, LambdaEvent, service_fn};
use payments::{
    FencedAttempts, Invocation, ProviderResolver, Records, Table, init_telemetry, named, provider, secrets_client,
    setting,
};
use serde_json::Value;

use follow_up::FollowUp;
use handler::Handler;
use handler::checkpoint::Checkpoints;
use handler::scope::Scope;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let metrics = init_telemetry("reconciler")?;
    let client = dynamodb::client();
    let table = Table::new(client.clone(), setting("PAYMENTS_TABLE")?);
    let store = Records::open(client.clone(), &table).await?;
    let fenced = FencedAttempts::new(table.clone(), "reconciler");
    let engine = Engine::builder(store.clone()).metrics(metrics).observer(fenced).build();
    let resolver = ProviderResolver::new(provider(secrets_client())?, table);
    let checkpoints = Checkpoints::new(client, setting("PAYMENTS_TABLE")?);
    let interval = Duration::from_secs(setting("SCAN_INTERVAL_S")?.parse()?);
    let follow_up = FollowUp::new(engine.clone(), resolver.clone())?;
    let handler = Handler::new(engine, store, resolver, checkpoints, interval);
    let handle = async |event: LambdaEvent<Value>| answer(&follow_up, &handler, event).await;
    lambda_runtime::run(named(service_fn(handle))).await
}

/// What is no follow-up is a run of the whole: of the schedule, or by hand.
async fn answer(
    follow_up: &FollowUp<Records>,
    handler: &Handler<Records>,
    event: LambdaEvent<Value>,
) -> Result<Value, Error> {
    let LambdaEvent { payload, context } = event;
    match FollowUpEvent::read(payload) {
        Ok(event) => Ok(serde_json::to_value(follow_up.handle(event, &context).await?)?),
        Err(event) => {
            let scope = Scope::of(&event);
            Ok(serde_json::to_value(handler.handle(Invocation::from(&context), scope).await?)?)
        }
    }
}
