//! The API's responses.

use std::error::Error;
use std::time::Duration;

use idempotency::http::{InvalidField, Problem, ProblemType};
use lambda_http::http::StatusCode;
use lambda_http::{Body, Response};
use payments::problems::{INVALID_REQUEST, NOT_FOUND, PROVIDER_UNAVAILABLE, address, problem};
use payments::{Invalid, reply};
use serde::Serialize;

pub(super) fn found(resource: &impl Serialize) -> Response<Body> {
    reply::json(StatusCode::OK, resource)
}

/// Sent before anything is executed, so that the corrected request may use the same key.
pub(super) fn invalid(invalid: &Invalid) -> Response<Body> {
    let fields = invalid.problems().iter().map(|problem| InvalidField {
        field: problem.field.clone().unwrap_or_default(),
        detail: problem.detail.clone(),
    });
    Problem::invalid_request(fields.collect()).described_at(address(&INVALID_REQUEST)).into_response()
}

pub(super) fn not_found(detail: &str) -> Response<Body> {
    problem(&NOT_FOUND).detail(detail).into_response()
}

pub(super) fn forbidden() -> Response<Body> {
    problem(&ProblemType::MISSING_PRINCIPAL).into_response()
}

pub(super) fn provider_unavailable(error: &(dyn Error + 'static)) -> Response<Body> {
    tracing::error!(error, "the provider executed nothing");
    unavailable(&PROVIDER_UNAVAILABLE)
}

pub(super) fn table_unavailable(error: &(dyn Error + 'static)) -> Response<Body> {
    tracing::error!(error, "the payments table could not be read");
    unavailable(&ProblemType::STORE_UNAVAILABLE)
}

fn unavailable(kind: &ProblemType) -> Response<Body> {
    problem(kind)
        .detail("This request was not executed. Send the same request again after Retry-After.")
        .retry_after(Duration::from_secs(1))
        .nothing_executed()
        .into_response()
}
