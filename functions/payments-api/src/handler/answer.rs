//! The answers of the API.

use std::error::Error;
use std::time::Duration;

use idempotency::http::{InvalidField, Problem};
use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use lambda_http::{Body, Response};
use payments::{Invalid, Refusal};
use serde::Serialize;

pub(super) fn created(location: &str, resource: &impl Serialize) -> Response<Body> {
    let mut response = json(StatusCode::CREATED, resource);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

pub(super) fn found(resource: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, resource)
}

fn json(status: StatusCode, resource: &impl Serialize) -> Response<Body> {
    // The resources are plain structs; serde_json has nothing to refuse in them.
    let body = serde_json::to_string(resource).unwrap_or_default();
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Raised before anything is executed, so that the corrected request may use the same key.
pub(super) fn invalid(invalid: &Invalid) -> Response<Body> {
    let fields = invalid.problems().iter().map(|problem| InvalidField {
        field: problem.field.clone().unwrap_or_default(),
        detail: problem.detail.clone(),
    });
    Problem::invalid_request(fields.collect()).into_response()
}

/// Final: a new attempt needs a new key.
pub(super) fn declined(code: &str, message: &str) -> Response<Body> {
    Problem::new(StatusCode::PAYMENT_REQUIRED, code, "The payment was declined").detail(message).into_response()
}

/// Final: the provider does not accept the request as it is.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let code = refusal.code.as_deref().unwrap_or("refused");
    let title = "The payment provider does not accept the request";
    let detail = match &refusal.param {
        Some(param) => format!("{param}: {}", refusal.message),
        None => refusal.message.clone(),
    };
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, title).detail(detail).into_response()
}

pub(super) fn not_found(detail: &str) -> Response<Body> {
    Problem::new(StatusCode::NOT_FOUND, "not-found", "Not found").detail(detail).into_response()
}

pub(super) fn forbidden() -> Response<Body> {
    Problem::new(StatusCode::FORBIDDEN, "missing-principal", "The request is of nobody").into_response()
}

pub(super) fn provider_unavailable(error: &(dyn Error + 'static)) -> Response<Body> {
    tracing::error!(error, "the provider executed nothing");
    unavailable("provider-unavailable", "The payment provider is not available")
}

pub(super) fn table_unavailable(error: &(dyn Error + 'static)) -> Response<Body> {
    tracing::error!(error, "the payments table could not be read");
    unavailable("store-unavailable", "The payments are not available")
}

fn unavailable(code: &str, title: &str) -> Response<Body> {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, title)
        .detail("Nothing was executed. Send the same request again after Retry-After.")
        .retry_after(Duration::from_secs(1))
        .nothing_executed()
        .into_response()
}

/// The route is not behind the layer: a mistake of deployment, and no reason to move money unprotected.
pub(super) fn unprotected() -> Response<Body> {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "unprotected", "The operation is not protected")
        .nothing_executed()
        .into_response()
}
