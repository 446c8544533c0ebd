use idempotency::telemetry::metrics::Emf;
use lambda_http::Error;

use crate::setting;

/// Installs the log and the metrics of a function under its service name, and with the feature `otel` its spans. The
/// namespace of the metrics is the stack's own: `METRICS_NAMESPACE`.
///
/// # Errors
///
/// When telemetry was installed before in this process, or the setting is missing.
pub fn init_telemetry(service: &str) -> Result<Emf, Error> {
    #[cfg(feature = "otel")]
    idempotency::telemetry::otel::install(service, None)?;
    #[cfg(not(feature = "otel"))]
    idempotency::telemetry::log::install()?;
    Ok(Emf::install(setting("METRICS_NAMESPACE")?, service)?)
}
