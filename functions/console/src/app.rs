//! The console's routes: pages under `/console`, the same for scripts under `/console/api`.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;

use crate::state::Console;
use crate::{api, page, request_log};

pub(crate) fn router(console: Console) -> Router {
    let engine = console.engine.clone();
    Router::new()
        .merge(page::routes())
        .nest("/console/api", api::routes())
        .with_state(Arc::new(console))
        .layer(map_response(with_security_headers))
        .layer(from_fn(request_log::log_request))
        .layer(map_response(move |response: Response| {
            // The invocation ends here.
            engine.flush();
            std::future::ready(response)
        }))
}

/// No scripts, no inline styles, nothing from other origins, no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                                       base-uri 'none'; frame-ancestors 'none'";

async fn with_security_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
