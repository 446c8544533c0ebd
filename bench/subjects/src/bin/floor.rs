//! The DynamoDB calls by hand; see [`Floor`].

use aws_sdk_dynamodb::Client;
use lambda_http::Error;
use lambda_runtime::service_fn;
use subjects::floor::Floor;
use subjects::setting;

/// As in the functions of the application.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::v2026_01_12()).await;
    let floor =
        &Floor { client: Client::new(&config), records: setting("RECORDS_TABLE"), effects: setting("EFFECTS_TABLE") };
    match setting("MODE").as_str() {
        "http" => lambda_http::run(service_fn(async |request| floor.request(request).await)).await,
        "one-trip" => lambda_http::run(service_fn(async |request| floor.single_write(request).await)).await,
        _ => lambda_runtime::run(service_fn(async |event| floor.batch(event).await)).await,
    }
}
