use idempotency::telemetry::metrics::Emf;
use lambda_http::Error;

/// Sets up what a function says of itself: its log, its metrics under the name of its service, and with the feature
/// `otel` its spans.
///
/// # Errors
///
/// When the process has been set up before.
pub fn watch(service: &str) -> Result<Emf, Error> {
    #[cfg(feature = "otel")]
    idempotency::telemetry::otel::install(service, None)?;
    #[cfg(not(feature = "otel"))]
    idempotency::telemetry::log::install()?;
    Ok(Emf::install("Payments", service)?)
}
