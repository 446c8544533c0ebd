//! The HTTP API in front of the functions (AWS, "API Gateway HTTP APIs", payload format 2.0).

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{ConnectInfo, Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    activity::{Answered, Place, Tone},
    function::Function,
    invocation::Failure,
    metrics::Series,
    now,
    output::Output,
    template::{Authorizer, Deployment, HttpApi},
    token::Issuer,
};
use authorizer::Denial;
use event::Context;
use routes::Routes;

mod authorizer;
mod cors;
mod event;
mod response;
mod routes;

/// The console's pages are there and below: people's, and no requests of the API's clients.
pub(crate) const CONSOLE: &str = "/console";

/// AWS, "Quotas for HTTP APIs": payload size.
const MAXIMUM_BODY: usize = 10 * 1024 * 1024;

/// AWS, same page: integration timeout.
const INTEGRATION_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct ApiGateway(Arc<Inner>);

struct Inner {
    api: HttpApi,
    routes: Routes,
    /// By logical id.
    functions: BTreeMap<String, Function>,
    issuer: Issuer,
    deployment: Deployment,
    output: Output,
}

impl ApiGateway {
    pub(crate) fn new(
        api: HttpApi,
        functions: BTreeMap<String, Function>,
        issuer: Issuer,
        deployment: Deployment,
        output: Output,
    ) -> anyhow::Result<Self> {
        let routes = Routes::new(&api.routes)?;
        Ok(Self(Arc::new(Inner { api, routes, functions, issuer, deployment, output })))
    }

    /// The authorizer of the API's routes.
    pub(crate) fn authorizer(&self) -> Option<&Authorizer> {
        let api = &self.0.api;
        api.default_authorizer
            .as_ref()
            .and_then(|name| api.authorizers.get(name))
            .or_else(|| api.authorizers.values().next())
    }

    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(serve).with_state(self.clone())
    }
}

async fn serve(
    State(gateway): State<ApiGateway>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let id = Uuid::new_v4().simple().to_string();
    let origin = request.headers().get(header::ORIGIN).cloned();
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let started = Instant::now();
    let activity = gateway.0.output.activity();
    activity.step(Place::Client, Place::Gateway, Tone::Normal);
    if !is_of_console(&path) {
        activity.requested();
    }
    // Of this invocation, if there is one: its line is found by it.
    let invocation = Uuid::new_v4().to_string();
    let mut response = gateway.answer(&id, &invocation, peer, request).await;
    gateway.report(Exchange { method, path, invocation, duration: started.elapsed() }, &response);
    if let (Some(cors), Some(origin)) = (&gateway.0.api.cors, &origin) {
        cors::expose(cors, origin, response.headers_mut());
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert("apigw-requestid", id);
    }
    response
}

/// A request that was answered.
struct Exchange {
    method: String,
    path: String,
    invocation: String,
    duration: Duration,
}

impl ApiGateway {
    /// Tells whoever watches, and counts as API Gateway does (AWS, "HTTP API metrics").
    fn report(&self, exchange: Exchange, response: &Response) {
        let Inner { output, api, .. } = &*self.0;
        let metrics = output.metrics();
        let status = response.status();
        let series = |name| Series::new("AWS/ApiGateway", name, &[("ApiId", api.id.as_str())]);
        metrics.put(series("Count"), 1.0);
        metrics.put(series("5xx"), if status.is_server_error() { 1.0 } else { 0.0 });
        let replayed = response.headers().get("idempotency-replayed").is_some_and(|value| value == "true");
        let tone = match status.as_u16() {
            500.. => Tone::Failed,
            409 => Tone::Duplicate,
            _ if replayed => Tone::Duplicate,
            _ => Tone::Normal,
        };
        output.activity().step(Place::Gateway, Place::Client, tone);
        let output = output.clone();
        let Exchange { method, path, invocation, duration } = exchange;
        let at = now::seconds();
        tokio::spawn(async move {
            let line = output.activity().line_of(&invocation).await;
            let milliseconds = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
            let is_of_console = is_of_console(&path);
            let answered = Answered { at, method, path, status: status.as_u16(), milliseconds, line };
            output.answered(&answered);
            if !is_of_console {
                output.activity().answered(answered);
            }
        });
    }

    async fn answer(&self, id: &str, invocation: &str, peer: SocketAddr, request: Request) -> Response {
        let inner = &self.0;
        let found = inner.routes.find(request.method(), request.uri().path());
        if let Some(cors) = &inner.api.cors
            && request.method() == Method::OPTIONS
            && found.as_ref().is_none_or(|found| found.route.method != "OPTIONS")
        {
            return cors::preflight(cors, request.headers());
        }
        let Some(found) = found else { return message(StatusCode::NOT_FOUND, "Not Found") };
        let claims = match authorizer::check(&inner.api, found.route, &inner.issuer, request.headers(), request.uri()) {
            Ok(claims) => claims,
            Err(Denial::Unauthorized) => {
                let mut response = message(StatusCode::UNAUTHORIZED, "Unauthorized");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return response;
            }
            Err(Denial::Forbidden) => return message(StatusCode::FORBIDDEN, "Forbidden"),
        };
        if let Some(key) = request.headers().get("idempotency-key") {
            let caller = claims.as_ref().map(|claims| claims["jwt"]["claims"]["sub"].to_string());
            inner.output.activity().keyed(format!("{caller:?} {} {} {key:?}", request.method(), request.uri().path()));
        }
        let Some(function) = inner.functions.get(&found.route.function) else {
            return message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error");
        };
        let (parts, body) = request.into_parts();
        let Ok(body) = to_bytes(body, MAXIMUM_BODY).await else {
            return message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
        };
        let context = Context { id, peer, api: "local", account: &inner.deployment.account };
        let event = event::build(&parts, &body, &found, claims, &context);
        integrate(function.clone(), invocation.to_owned(), event.to_string()).await
    }
}

fn is_of_console(path: &str) -> bool {
    path.strip_prefix(CONSOLE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The invocation goes on when the caller hangs up or the integration gives up, as on AWS.
async fn integrate(function: Function, id: String, event: String) -> Response {
    let invocation = tokio::spawn(async move { function.invoke_as(id, event.into()).await });
    match tokio::time::timeout(INTEGRATION_TIMEOUT, invocation).await {
        Err(_) => message(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
        Ok(Ok(Ok(payload))) => response::build(&payload)
            .unwrap_or_else(|| message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")),
        Ok(Ok(Err(Failure::RequestTooLarge))) => message(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large"),
        Ok(Ok(Err(Failure::Error(_) | Failure::TimedOut(_))) | Err(_)) => {
            message(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error")
        }
    }
}

fn message(status: StatusCode, text: &str) -> Response<Body> {
    (status, Json(json!({ "message": text }))).into_response()
}
