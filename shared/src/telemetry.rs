//! The request log, metrics and spans of the library.

#[cfg(feature = "log")]
pub mod log;
pub mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
pub mod request_log;
pub(crate) mod span;
pub(crate) mod timings;
