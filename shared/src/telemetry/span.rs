//! Spans of a call and of its steps. Without the feature `otel` there are no spans, and the functions here cost
//! nothing.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod on;

#[cfg(not(feature = "otel"))]
pub(crate) use off::{Span, flush};
#[cfg(feature = "otel")]
pub(crate) use on::{Span, flush};
#[cfg(feature = "otel")]
pub(crate) use on::{is_ours, keep};
