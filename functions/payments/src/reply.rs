//! The final answers of the API: the same bytes, whether the request itself, a reconciler or an operator finds the
//! outcome.

use lambda_http::http::StatusCode;
use lambda_http::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, LOCATION};
use lambda_http::{Body, Response};
use serde::Serialize;

use crate::problems::{DECLINED, REFUSED, SETTLED_AS_FAILED, problem};
use crate::{Decline, Payment, ProviderRejection, Refund};

/// 201: the payment succeeded.
pub fn payment(payment: &Payment) -> Response<Body> {
    created(&format!("/payments/{}", payment.id), payment)
}

/// 201: the refund succeeded.
pub fn refund(payment: &Payment, refund: &Refund) -> Response<Body> {
    created(&format!("/payments/{}", payment.id), refund)
}

/// 402: the card was declined; a new attempt needs a new key.
pub fn declined(decline: &Decline) -> Response<Body> {
    problem(&DECLINED).code(decline.reason()).detail(decline.message.clone()).into_response()
}

/// 422: the provider does not accept the request as it is.
pub fn refused(rejection: &ProviderRejection) -> Response<Body> {
    let detail = match &rejection.param {
        Some(param) => format!("{param}: {}", rejection.message),
        None => rejection.message.clone(),
    };
    problem(&REFUSED).code(rejection.code()).detail(detail).into_response()
}

/// 422: an operator settled it as failed.
pub fn settled_as_failed() -> Response<Body> {
    problem(&SETTLED_AS_FAILED)
        .detail("Its outcome was unknown at first. An operator settled it: nothing was charged or refunded.")
        .into_response()
}

/// A resource as JSON, not to be stored by caches.
pub fn json(status: StatusCode, resource: &impl Serialize) -> Response<Body> {
    // The resources are plain structs, which always serialise.
    let body = serde_json::to_string(resource).unwrap_or_default();
    let mut response = Response::new(Body::Text(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn created(location: &str, resource: &impl Serialize) -> Response<Body> {
    let mut response = json(StatusCode::CREATED, resource);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
