//! The console as a whole: what it reads and writes with, and which request goes where.

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, map_response};
use axum::response::Response;
use idempotency::{DynamoDbStore, Engine};
use payments::{Provider, Table};

use crate::auth::Tokens;
use crate::{api, page, request_log};

/// What the console is made of.
pub(crate) struct Console {
    pub(crate) store: DynamoDbStore,
    pub(crate) engine: Engine<DynamoDbStore>,
    pub(crate) table: Table,
    pub(crate) provider: Provider,
    pub(crate) tokens: Tokens,
}

impl Console {
    /// Pages under `/console`, the same for scripts under `/console/api`.
    pub(crate) fn router(self) -> Router {
        let engine = self.engine.clone();
        Router::new()
            .merge(page::routes())
            .nest("/console/api", api::routes())
            .with_state(Arc::new(self))
            .layer(map_response(guarded))
            .layer(from_fn(request_log::told))
            .layer(map_response(move |response: Response| {
                // The invocation ends here.
                engine.flush();
                std::future::ready(response)
            }))
    }
}

/// Nothing from elsewhere, nothing inline, no script at all, no frame around it, no copy kept.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                                       base-uri 'none'; frame-ancestors 'none'";

async fn guarded(mut response: Response) -> Response {
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
