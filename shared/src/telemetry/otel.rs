//! Spans for an OpenTelemetry collector, with the feature `otel`.
//!
//! The span of a request belongs to its client's trace (`traceparent`) or to X-Ray's. The span of a message or a
//! partition belongs to its invocation and is linked to the producer's span. Their child spans are `claim`, `run`,
//! `commit`, `reconcile` and `replay`; a replay and a reconciliation are linked to the span of the first call. The
//! sampling decision is that of the trace's first span.
//!
//! Spans are sent over HTTP (OTLP, protocol buffers) to a collector next to the function as soon as a batch or a
//! request is answered, because a sandbox may freeze after that. A missing collector costs an invocation only a log
//! line; one that does not answer costs a second.

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

/// The reason that the export of spans could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// The endpoint of the collector is invalid.
    #[error("spans cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// The process already has a `tracing` subscriber.
    #[error("a log is set up already: {0}")]
    Log(#[from] TryInitError),
}

/// Sets up the log of this process like [`log::install`](crate::telemetry::log::install), but without the library's
/// spans, and sends spans under this service name.
///
/// `endpoint` is the URL for traces; `None` uses the one in `OTEL_EXPORTER_OTLP_ENDPOINT`, or
/// `http://localhost:4318/v1/traces`.
///
/// # Errors
/// [`InstallError`] if the endpoint is invalid or the process already has a `tracing` subscriber.
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

/// Selects the library's and the application's spans. The runtime's own span is not exported, because it ends after an
/// invocation's spans are sent.
fn is_exported(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && *metadata.level() <= tracing::Level::INFO && !metadata.target().starts_with("lambda_runtime")
}
