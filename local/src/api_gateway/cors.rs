//! CORS as the API answers it itself (AWS, "Configure CORS for HTTP APIs"); headers of the function's are replaced.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::template::Cors;

pub(super) fn preflight(cors: &Cors, request: &HeaderMap) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if request.get(header::ORIGIN).is_none_or(|origin| !allow(cors, origin, headers)) {
        return response;
    }
    set(headers, header::ACCESS_CONTROL_ALLOW_METHODS, &cors.allow_methods);
    set(headers, header::ACCESS_CONTROL_ALLOW_HEADERS, &cors.allow_headers);
    if let Some(seconds) = cors.max_age {
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, seconds.into());
    }
    response
}

pub(super) fn expose(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) {
    for name in [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
    ] {
        headers.remove(name);
    }
    if allow(cors, origin, headers) {
        set(headers, header::ACCESS_CONTROL_EXPOSE_HEADERS, &cors.expose_headers);
    }
}

fn allow(cors: &Cors, origin: &HeaderValue, headers: &mut HeaderMap) -> bool {
    let any = cors.allow_origins.iter().any(|allowed| allowed == "*");
    let named = cors
        .allow_origins
        .iter()
        .any(|allowed| allowed.as_bytes() == origin.as_bytes() || scheme_wildcard(allowed, origin));
    if !any && !named {
        return false;
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        if any && !cors.allow_credentials { HeaderValue::from_static("*") } else { origin.clone() },
    );
    if cors.allow_credentials {
        headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    }
    true
}

/// `https://*` and `http://*`.
fn scheme_wildcard(allowed: &str, origin: &HeaderValue) -> bool {
    allowed
        .strip_suffix('*')
        .is_some_and(|prefix| prefix.ends_with("://") && origin.as_bytes().starts_with(prefix.as_bytes()))
}

fn set(headers: &mut HeaderMap, name: HeaderName, values: &[String]) {
    if let (false, Ok(value)) = (values.is_empty(), HeaderValue::from_str(&values.join(","))) {
        headers.insert(name, value);
    }
}
