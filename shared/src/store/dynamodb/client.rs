//! A DynamoDB client with every time-out and retry written down.

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;

/// Makes a client from the environment of a Lambda function. Make it once per process.
///
/// The defaults of the SDK have no read time-out, so that one lost reply can use up the whole invocation, and
/// wait about a second before the first retry. Here a try has 1 s, all tries together 1.8 s, and up to three
/// retries start after about 25 ms: an operation ends within the engine's default margin of 2 s.
///
/// Where the environment holds credentials, as in Lambda, no other provider is asked.
pub async fn client() -> Client {
    Client::new(&sdk_config().await)
}

/// What [`client`] is made of, for the clients of other services.
pub(crate) async fn sdk_config() -> SdkConfig {
    let retries = RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(25))
        .with_max_backoff(Duration::from_millis(250));
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(1000))
        .read_timeout(Duration::from_millis(1000))
        .operation_attempt_timeout(Duration::from_millis(1000))
        .operation_timeout(Duration::from_millis(1800))
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(retries)
        .timeout_config(timeouts)
        // It would end a try after 20 s without a byte; the time-outs end it long before, and a check costs.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = std::env::var("AWS_REGION").ok().filter(|region| !region.is_empty()) {
        loader = loader.region(Region::new(region));
    }
    if std::env::var_os("AWS_ACCESS_KEY_ID").is_some() && std::env::var_os("AWS_SECRET_ACCESS_KEY").is_some() {
        let provider = aws_config::environment::EnvironmentVariableCredentialsProvider::new();
        loader = loader.credentials_provider(SharedCredentialsProvider::new(provider));
    }
    loader.load().await
}
