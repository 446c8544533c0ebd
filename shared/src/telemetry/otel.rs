//! Spans for a collector of OpenTelemetry, with the feature `otel`.
//!
//! A request is a span of the trace that its client is in (`traceparent`), or of X-Ray's; a message or a partition is
//! one of its invocation, linked to its producer's. In them are `claim`, `run`, `commit`, `reconcile` and `replay`; a
//! replay and a reconciliation are linked to the span of the first call. Whether a span is kept is decided where its
//! trace began.
//!
//! They are sent over HTTP (OTLP, protocol buffers) to a collector next to the function, when a batch or a request is
//! answered: a sandbox freezes after that. A collector that is not there costs an invocation nothing but a line in the
//! log; one that does not answer, a second.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{ExporterBuildError, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::Metadata;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::telemetry::log::lines;
use crate::telemetry::span;

/// How long an invocation may wait for a collector that does not answer.
const RETRY_BUDGET: Duration = Duration::from_secs(1);

/// Why no spans are sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The endpoint of the collector is none.
    #[error("spans cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The process has a subscriber of `tracing` already.
    #[error("a log is set up already: {0}")]
    Log(#[from] TryInitError),
}

/// Sets up the log of this process as [`log`](crate::log) does, without our spans, and the sending of spans under the name of this service.
///
/// `endpoint` is the URL that takes traces; without it, the one that `OTEL_EXPORTER_OTLP_ENDPOINT` says, or
/// `http://localhost:4318/v1/traces`.
///
/// # Errors
/// [`InstallError`].
pub fn install(service: impl Into<String>, endpoint: Option<&str>) -> Result<(), InstallError> {
    let retries = RetryPolicy::default().with_max_retries(0);
    let exporter = SpanExporter::builder().with_http().with_timeout(RETRY_BUDGET).with_retry_policy(retries);
    let exporter = match endpoint {
        Some(endpoint) => exporter.with_endpoint(endpoint),
        None => exporter,
    };
    let provider = SdkTracerProvider::builder()
        .with_resource(Resource::builder().with_service_name(service.into()).build())
        .with_batch_exporter(exporter.build()?)
        .build();
    let spans = tracing_opentelemetry::layer().with_tracer(provider.tracer("idempotency"));
    tracing_subscriber::registry()
        .with(lines(|metadata| !(metadata.is_span() && span::is_ours(metadata))))
        .with(spans.with_filter(filter_fn(is_exported)))
        .try_init()?;
    span::keep(provider);
    Ok(())
}

/// Ours and the application's. The runtime's own span ends after all that is sent with an invocation.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= tracing::Level::INFO && !metadata.target().starts_with("lambda_runtime")
}
