//! A DynamoDB client with explicit time-outs and retries.

use std::time::Duration;

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::{Client, Config};

#[cfg(feature = "static-user-agent")]
use super::user_agent::UserAgent;

/// Creates a client from the environment of a Lambda function. Create it once per process.
///
/// By default, the SDK has no read time-out, so that one lost reply can use up the whole invocation, and it waits about
/// a second before the first retry. With this client one attempt has 1 s, all attempts together have 1.8 s, and up to
/// three retries start after about 25 ms: an operation ends within the engine's default margin of 2 s.
///
/// Region, credentials and endpoint come from the [variables that Lambda sets][lambda] and from the [SDK's
/// own][endpoint] `AWS_ENDPOINT_URL_DYNAMODB`, `AWS_ENDPOINT_URL`, `AWS_USE_FIPS_ENDPOINT` and
/// `AWS_USE_DUALSTACK_ENDPOINT`. There are no other sources: the providers for profiles, roles and containers, which a
/// function never needs, would take up a seventh of its binary. If you need one, add it:
/// `client().config().to_builder().credentials_provider(…)`.
///
/// With the feature `static-user-agent` the user agent is computed once: the SDK, DynamoDB, the runtime, and the
/// `app_name` of the settings. It then omits the SDK features that a request uses.
///
/// [lambda]: https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
/// [endpoint]: https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html
#[must_use]
pub fn client() -> Client {
    let config = Config::from(&sdk_config("DYNAMODB")).to_builder();
    #[cfg(feature = "static-user-agent")]
    let config = config.interceptor(UserAgent);
    Client::from_conf(config.build())
}

/// The configuration of [`client`], for the clients of other services. `service` is the service's name in its endpoint
/// variable: `SECRETS_MANAGER` in `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
#[must_use]
pub fn sdk_config(service: &str) -> SdkConfig {
    let retries = RetryConfig::standard()
        .with_max_attempts(4)
        .with_initial_backoff(Duration::from_millis(25))
        .with_max_backoff(Duration::from_millis(250));
    // No read time-out: each attempt already has a time-out, and a second one would cost another timer per request.
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_millis(1000))
        .disable_read_timeout()
        .operation_attempt_timeout(Duration::from_millis(1000))
        .operation_timeout(Duration::from_millis(1800))
        .build();
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .retry_config(retries)
        .timeout_config(timeouts)
        // The protection would end an attempt after 20 s without a byte. The time-outs end it long before, and the
        // checks cost time.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(EnvironmentVariableCredentialsProvider::new()))
        .use_fips(is_on("AWS_USE_FIPS_ENDPOINT"))
        .use_dual_stack(is_on("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_region(variable("AWS_REGION").map(Region::new));
    config.set_endpoint_url(variable(&format!("AWS_ENDPOINT_URL_{service}")).or_else(|| variable("AWS_ENDPOINT_URL")));
    config.build()
}

fn is_on(name: &str) -> bool {
    variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
