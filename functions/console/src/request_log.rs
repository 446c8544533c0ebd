//! The log line of a request, with the same fields as the library's lines.
//!
//! It never contains the actor, the reason or the evidence. Those are in the audit, under the `requestId` of the line's
//! span.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponseParts, Response, ResponseParts};
use idempotency::protocol::{Record, TransactionId};
use idempotency::telemetry::request_log::{is_cold_start, milliseconds};
use payments::AuditKind;

use crate::auth::{Actor, Role};
use crate::format;
use crate::record::{id_of, short};

/// The handler's part of a request's log line, which it adds to the response.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogSummary {
    outcome: Option<LogOutcome>,
    role: Option<Role>,
    record: Option<String>,
    transaction: Option<TransactionId>,
    attempt: Option<u64>,
    error: Option<String>,
}

/// The field `outcome`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogOutcome {
    Shown,
    Previewed,
    Audited(AuditKind),
    /// A retry signal got a label, or lost it.
    Labelled,
    /// Several previews were confirmed; the audit has each.
    Confirmed,
    /// Confirmed again after it was done.
    DoneBefore,
    SignedIn,
    SignedOut,
    Redirected,
    /// Refused with this code.
    Refused(&'static str),
}

impl LogOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Shown => "shown",
            Self::Previewed => "previewed",
            Self::Audited(kind) => format::audit_event(kind),
            Self::Labelled => "labelled",
            Self::Confirmed => "confirmed several",
            Self::DoneBefore => "done before",
            Self::SignedIn => "signed in",
            Self::SignedOut => "signed out",
            Self::Redirected => "sent elsewhere",
            Self::Refused(code) => code,
        }
    }

    /// For responses without a summary: static files, and requests that reached no handler.
    fn of_status(status: StatusCode) -> Self {
        match status {
            status if status.is_success() => Self::Shown,
            status if status.is_redirection() => Self::Redirected,
            _ => Self::Refused("refused"),
        }
    }
}

impl LogSummary {
    pub(crate) fn shown(actor: &Actor) -> Self {
        Self::new(LogOutcome::Shown, actor)
    }

    pub(crate) fn audited(kind: AuditKind, actor: &Actor) -> Self {
        Self::new(LogOutcome::Audited(kind), actor)
    }

    pub(crate) fn new(outcome: LogOutcome, actor: &Actor) -> Self {
        Self { outcome: Some(outcome), role: Some(actor.role), ..Self::default() }
    }

    pub(crate) fn refused(code: &'static str, error: Option<String>) -> Self {
        Self { outcome: Some(LogOutcome::Refused(code)), error, ..Self::default() }
    }

    pub(crate) fn about(self, record: &Record) -> Self {
        let (transaction, attempt) = (Some(record.transaction), Some(record.attempt));
        Self { transaction, attempt, ..self.about_id(record.id.as_str()) }
    }

    pub(crate) fn about_id(self, record: &str) -> Self {
        Self { record: Some(short(record).to_owned()), ..self }
    }
}

impl IntoResponseParts for LogSummary {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Writes one line for each request.
pub(crate) async fn log_request(
    route: Option<MatchedPath>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // The route instead of the path, which may contain a preview's token.
    let operation = format!("{} {}", request.method(), route.as_ref().map_or("elsewhere", MatchedPath::as_str));
    let mut response = next.run(request).await;
    let summary = response.extensions_mut().remove::<LogSummary>().unwrap_or_default();
    let record = summary.record.or_else(|| record_parameter(&parameters.ok()?));
    // The level is part of a call site, so there is one for each.
    macro_rules! write {
        ($level:ident) => {
            tracing::$level!(
                outcome = summary.outcome.unwrap_or_else(|| LogOutcome::of_status(response.status())).as_str(),
                operation,
                record,
                status = response.status().as_u16(),
                role = summary.role.map(Role::as_str),
                attempt = summary.attempt,
                transaction = summary.transaction.map(tracing::field::display),
                total_ms = milliseconds(started.elapsed()),
                cold_start = is_cold_start(),
                error = summary.error,
            )
        };
    }
    match summary.error {
        Some(_) => write!(error),
        None => write!(info),
    }
    response
}

/// The record in the URL, if it is a valid id. Other texts could be anything.
fn record_parameter(parameters: &RawPathParams) -> Option<String> {
    let (_, record) = parameters.iter().find(|(name, _)| *name == "record")?;
    id_of(record).map(|_| record.to_owned())
}
