use std::sync::OnceLock;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::instrument::{Instrument, Instrumented};
use tracing::{Metadata, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::protocol::Trace;

/// The target of the library's spans: they are exported, and omitted from log lines.
const TARGET: &str = "idempotency::span";

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// A span that begins now and ends with the future that it [wraps](Span::of).
pub(crate) struct Span(tracing::Span);

impl Span {
    /// The span of a request, in the trace of its client.
    pub(crate) fn request(operation: &str, parent: Option<Trace>) -> Self {
        Self::begin(operation, "server").under(parent)
    }

    /// The span of a message or of a partition's records, in the trace of the invocation that delivered them. Their
    /// producers' spans may have ended long ago, and there are many per invocation, so they are linked instead.
    pub(crate) fn message(operation: &str) -> Self {
        Self::begin(operation, "consumer").under(invocation())
    }

    /// The span of a step, in the current span, which is the invocation's if there is no closer one.
    pub(crate) fn step(name: &'static str) -> Self {
        let is_part = tracing::Span::current().context().has_active_span();
        let span = Self::begin(name, "internal");
        if is_part { span } else { span.under(invocation()) }
    }

    pub(crate) fn linked(self, to: Option<Trace>) -> Self {
        if let Some(trace) = to {
            self.0.add_link(context(trace));
        }
        self
    }

    /// The trace position of the span itself.
    pub(crate) fn trace(&self) -> Option<Trace> {
        let context = self.0.context();
        let context = context.span().span_context().clone();
        Trace::new(context.trace_id().to_bytes(), context.span_id().to_bytes(), context.is_sampled())
    }

    /// Ends the span at once.
    pub(crate) fn end(self) {}

    pub(crate) fn of<F: Future>(self, future: F) -> Instrumented<F> {
        future.instrument(self.0)
    }

    fn begin(name: &str, kind: &'static str) -> Self {
        Self(info_span!(target: TARGET, "idempotency", otel.name = name, otel.kind = kind))
    }

    fn under(self, parent: Option<Trace>) -> Self {
        if let Some(trace) = parent {
            // An error means that there is no exporter for spans.
            let _ = self.0.set_parent(Context::new().with_remote_span_context(context(trace)));
        }
        self
    }
}

/// Keeps the provider that sends spans, for [`flush`].
pub(crate) fn keep(provider: SdkTracerProvider) {
    let _ = PROVIDER.set(provider);
}

/// Sends the spans that have ended, before the sandbox may freeze.
pub(crate) fn flush() {
    if let Some(Err(error)) = PROVIDER.get().map(SdkTracerProvider::force_flush) {
        tracing::warn!(%error, "spans could not be sent");
    }
}

pub(crate) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET
}

/// The trace of this invocation, from the variable in which Lambda's runtime puts X-Ray's header.
fn invocation() -> Option<Trace> {
    Trace::from_xray(&std::env::var("_X_AMZN_TRACE_ID").ok()?)
}

fn context(trace: Trace) -> SpanContext {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (id, span) = (TraceId::from_bytes(trace.id().to_bytes()), SpanId::from_bytes(trace.span()));
    SpanContext::new(id, span, flags, true, TraceState::default())
}
