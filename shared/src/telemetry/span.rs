//! Spans of what the library does: of a call, and of the steps in it. Without the feature `otel` there are none, and
//! nothing of this costs anything.

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
