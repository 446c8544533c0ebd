//! axum support: the layer around a `Router` or its routes, and extractors for what the layer has parsed.
//!
//! Around a whole router, which runs on Lambda:
//!
//! ```
//! # use idempotency::{Engine, IdempotencyLayer, store::memory::MemoryStore};
//! use axum::Router;
//! use axum::routing::post;
//! use idempotency::http::axum::refused_before_the_handler;
//! use idempotency::http::Route;
//! use idempotency::store::memory::Effect;
//! use idempotency::Attempt;
//! use tower::Layer;
//!
//! async fn pay(attempt: Attempt<Effect>) -> String {
//!     format!("paid under {}", attempt.transaction())
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let engine = Engine::builder(MemoryStore::new()).build();
//! let router: Router = Router::new().route("/payments", post(pay));
//! let service = IdempotencyLayer::new(engine, "payments")
//!     .route(Route::new("POST /payments")?)
//!     .verdict(refused_before_the_handler)
//!     .layer(router);
//! // lambda_http::run(service).await
//! # let _ = service;
//! # Ok(())
//! # }
//! ```
//!
//! Around some routes, with `Router::route_layer(layer)`: the name of the operation is then the route's.

use std::convert::Infallible;
use std::task::{Context, Poll};

use ::axum::body::Body as AxumBody;
use ::axum::extract::{FromRequestParts, MatchedPath};
use ::axum::response::{IntoResponse, Response as AxumResponse};
use futures::FutureExt;
use futures::future::BoxFuture;
use http::request::Parts;
use http::{Request as HttpRequest, Response, StatusCode};
use lambda_http::{Body, Request};
use tower::{Service, service_fn};

use super::body::ResponseBody;
use super::problem::Refusal;
use super::{Idempotency, NotProtected, Problem, Received};
use crate::engine::{Attempt, Verdict};
use crate::store::{BoxError, Store, TransactionalEffect};

/// A function for [`IdempotencyLayer::verdict`](super::IdempotencyLayer::verdict), by which a status that axum returns
/// before a handler runs means "not executed", so that a corrected request may use the same key. These are extractor
/// rejections (400, 413, 415, 422), unknown routes and methods (404, 405), and rejections of the caller by a layer
/// inside the router (401, 403).
///
/// **Do not use it for handlers that answer with one of these statuses after they did something**: a retry would do it
/// again.
#[must_use]
pub fn refused_before_the_handler(response: &Response<Body>) -> Option<Verdict<()>> {
    matches!(response.status().as_u16(), 400 | 401 | 403 | 404 | 405 | 413 | 415 | 422)
        .then_some(Verdict::NotExecuted(()))
}

impl ResponseBody for AxumBody {
    async fn whole(self) -> Result<Body, BoxError> {
        let bytes = ::axum::body::to_bytes(self, usize::MAX).await?;
        Ok(body_of(bytes.to_vec()))
    }
}

/// Returns text if the bytes are UTF-8, because API Gateway gets other bytes in base64.
fn body_of(bytes: Vec<u8>) -> Body {
    match String::from_utf8(bytes) {
        Ok(text) if text.is_empty() => Body::Empty,
        Ok(text) => Body::Text(text),
        Err(error) => Body::Binary(error.into_bytes()),
    }
}

fn axum_body(body: Body) -> AxumBody {
    match body {
        Body::Empty => AxumBody::empty(),
        Body::Text(text) => AxumBody::from(text),
        other => AxumBody::from(other.to_vec()),
    }
}

fn into_axum(response: Response<Body>) -> AxumResponse {
    response.map(axum_body)
}

/// Lets the layer wrap the routes of a router.
impl<S, H> Service<HttpRequest<AxumBody>> for Idempotency<S, H>
where
    S: Store,
    H: Service<HttpRequest<AxumBody>, Response = AxumResponse, Error = Infallible> + Clone + Send + 'static,
    H::Future: Send,
{
    type Response = AxumResponse;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<AxumResponse, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.handler.poll_ready(context)
    }

    fn call(&mut self, request: HttpRequest<AxumBody>) -> Self::Future {
        let (core, mut handler) = self.parts_for_a_call();
        async move {
            let (parts, body) = request.into_parts();
            let limit = core.max_body_bytes;
            let Ok(bytes) = ::axum::body::to_bytes(body, limit).await else {
                return Ok(into_axum(core.refuse(Refusal::content_too_large(limit))));
            };
            let request = Request::from_parts(parts, body_of(bytes.to_vec()));
            let handler = service_fn(move |request: Request| handler.call(request.map(axum_body)));
            let response = core.serve(request, handler).await?;
            core.engine.flush();
            Ok(into_axum(response))
        }
        .boxed()
    }
}

/// The route that axum has matched, inside a router.
pub(super) fn matched_route(request: &Request) -> Option<String> {
    let path = request.extensions().get::<MatchedPath>()?;
    Some(format!("{} {}", request.method(), path.as_str()))
}

/// Extracts the attempt under which the request runs. Rejects a request that is not protected, or an `E` that is not
/// the type of the store's effects: a handler that adds its effects to an attempt must not run without one.
impl<S: Send + Sync, E: TransactionalEffect> FromRequestParts<S> for Attempt<E> {
    type Rejection = NotProtected;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotProtected> {
        parts.extensions.get().cloned().ok_or(NotProtected)
    }
}

/// Extracts the parts that the layer has parsed from the request. Rejects a request that is not protected.
impl<S: Send + Sync> FromRequestParts<S> for Received {
    type Rejection = NotProtected;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, NotProtected> {
        parts.extensions.get().cloned().ok_or(NotProtected)
    }
}

/// Responds with 500 `not-protected`: the application has an error, and nothing was executed.
impl IntoResponse for NotProtected {
    fn into_response(self) -> AxumResponse {
        tracing::error!(
            error = &self as &dyn std::error::Error,
            "a handler that needs an attempt was called without one"
        );
        let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "not-protected", "The route is not protected");
        into_axum(problem.detail("Nothing was executed.").nothing_executed().into_response())
    }
}

/// Lets a handler return a problem as its response.
impl IntoResponse for Problem {
    fn into_response(self) -> AxumResponse {
        into_axum(Self::into_response(self))
    }
}

#[cfg(test)]
mod tests;
