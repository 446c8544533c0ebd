//! The one line that a request leaves in the log, in the words of the library's own.
//!
//! Who asked, why, and on what evidence is never in it. It is in the audit, by the `requestId` of the span around the line.

use std::convert::Infallible;
use std::time::Instant;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{IntoResponseParts, Response, ResponseParts};
use idempotency::protocol::{Record, TransactionId};
use idempotency::telemetry::request_log::{is_cold_start, milliseconds};

use crate::access::{Actor, Role};
use crate::record::{id_of, short};

/// What a request came to. Its handler puts it into the response.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    outcome: Option<&'static str>,
    /// Of whoever was let in.
    role: Option<Role>,
    record: Option<String>,
    transaction: Option<TransactionId>,
    attempt: Option<u64>,
    error: Option<String>,
}

impl Told {
    pub(crate) fn shown(actor: &Actor) -> Self {
        Self::done("shown", actor)
    }

    pub(crate) fn done(outcome: &'static str, actor: &Actor) -> Self {
        Self { outcome: Some(outcome), role: Some(actor.role), ..Self::default() }
    }

    pub(crate) fn refused(code: &'static str, error: Option<String>) -> Self {
        Self { outcome: Some(code), error, ..Self::default() }
    }

    pub(crate) fn about(self, record: &Record) -> Self {
        let (transaction, attempt) = (Some(record.transaction), Some(record.attempt));
        Self { transaction, attempt, ..self.about_id(record.id.as_str()) }
    }

    pub(crate) fn about_id(self, record: &str) -> Self {
        Self { record: Some(short(record).to_owned()), ..self }
    }
}

impl IntoResponseParts for Told {
    type Error = Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Infallible> {
        parts.extensions_mut().insert(self);
        Ok(parts)
    }
}

/// Answers a request, and writes its line.
pub(crate) async fn told(
    route: Option<MatchedPath>,
    parameters: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // The route, and not the path: the token of a preview is part of that.
    let operation = format!("{} {}", request.method(), route.as_ref().map_or("elsewhere", MatchedPath::as_str));
    let mut response = next.run(request).await;
    let told = response.extensions_mut().remove::<Told>().unwrap_or_default();
    let record = told.record.or_else(|| named(&parameters.ok()?));
    // The level is part of a call site, so there is one for each.
    macro_rules! write {
        ($level:ident) => {
            tracing::$level!(
                outcome = told.outcome.unwrap_or_else(|| untold(response.status())),
                operation,
                record,
                status = response.status().as_u16(),
                role = told.role.map(Role::as_str),
                attempt = told.attempt,
                transaction = told.transaction.map(tracing::field::display),
                total_ms = milliseconds(started.elapsed()),
                cold_start = is_cold_start(),
                error = told.error,
            )
        };
    }
    match told.error {
        Some(_) => write!(error),
        None => write!(info),
    }
    response
}

/// The record that the URL names, whatever came of it. Other texts could be anything.
fn named(parameters: &RawPathParams) -> Option<String> {
    let (_, record) = parameters.iter().find(|(name, _)| *name == "record")?;
    id_of(record).map(|_| record.to_owned())
}

/// Of what no handler has seen, and of what is the same for everybody.
fn untold(status: StatusCode) -> &'static str {
    match status {
        status if status.is_success() => "shown",
        status if status.is_redirection() => "sent elsewhere",
        _ => "refused",
    }
}
