//! The permission check in front of the embedded DynamoDB, which has none: a function's request passes if its role in
//! the template allows all of it. Other programs on this machine may do everything.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::access::Names;
use crate::{
    activity::{Activity, Place, Tone},
    template::{Access, Deployment, Role, Template},
};

/// The session token identifies the function; its value is the function's logical id.
pub(crate) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

const TOKEN_HEADER: &str = "x-amz-security-token";

pub(crate) struct Gate {
    upstream: SocketAddr,
    client: reqwest::Client,
    /// By the logical id of the function.
    roles: BTreeMap<String, Role>,
    names: Names,
    places: BTreeMap<String, Place>,
    activity: Activity,
    outage: Outage,
}

/// Whether DynamoDB answers the functions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outage(Arc<AtomicBool>);

impl Outage {
    pub(crate) fn set(&self, down: bool) {
        self.0.store(down, Ordering::Relaxed);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gate {
    pub(crate) fn new(
        upstream: SocketAddr,
        template: &Template,
        deployment: &Deployment,
        activity: Activity,
        outage: Outage,
    ) -> Result<Self> {
        let functions = template.functions.iter();
        Ok(Self {
            upstream,
            client: reqwest::Client::builder().no_proxy().build().context("no HTTP client")?,
            roles: functions.filter_map(|(id, function)| Some((id.clone(), function.role.clone()?))).collect(),
            names: Names::new(template.tables.values(), deployment.clone()),
            places: template.functions.iter().map(|(id, function)| (id.clone(), Place::of(function))).collect(),
            activity,
            outage,
        })
    }

    pub(crate) fn router(self) -> Router {
        Router::new().fallback(pass).layer(DefaultBodyLimit::disable()).with_state(Arc::new(self))
    }

    /// The first access of the request that its function's role does not allow.
    fn refused(&self, headers: &HeaderMap, body: &[u8]) -> Option<(String, Access)> {
        let function = headers.get(TOKEN_HEADER)?.to_str().ok()?;
        let role = self.roles.get(function)?;
        let operation = headers.get("x-amz-target")?.to_str().ok()?.rsplit('.').next()?;
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut accesses = self.names.accesses(operation, &request).into_iter();
        accesses.find(|access| !role.allows(access)).map(|access| {
            let Access { action, resource, leading_keys } = &access;
            tracing::error!("{function}: {} does not allow {action} on {resource}, keys {leading_keys:?}", role.name);
            (role.name.clone(), access)
        })
    }

    /// The place of the function that sent the request; other programs have none.
    fn place(&self, headers: &HeaderMap) -> Option<Place> {
        self.places.get(headers.get(TOKEN_HEADER)?.to_str().ok()?).copied()
    }

    async fn forward(&self, method: Method, uri: &Uri, headers: HeaderMap, body: Bytes) -> reqwest::Result<Response> {
        let url = format!("http://{}{uri}", self.upstream);
        let answer = self.client.request(method, url).headers(of_the_message(headers)).body(body).send().await?;
        let (status, headers) = (answer.status(), of_the_message(answer.headers().clone()));
        Ok((status, headers, answer.bytes().await?).into_response())
    }
}

async fn pass(State(gate): State<Arc<Gate>>, method: Method, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    if let Some((role, access)) = gate.refused(&headers, &body) {
        return denied(&role, &access);
    }
    let place = gate.place(&headers);
    if place.is_some() && gate.outage.is_down() {
        return unavailable();
    }
    let response = gate.forward(method, &uri, headers, body).await.unwrap_or_else(|error| {
        tracing::debug!("the embedded DynamoDB did not answer: {error}");
        StatusCode::BAD_GATEWAY.into_response()
    });
    if let Some(place) = place {
        // What a condition refuses is a duplicate, as far as can be seen from here.
        let tone = if response.status().is_success() { Tone::Normal } else { Tone::Duplicate };
        gate.activity.step(place, Place::Records, tone);
    }
    response
}

/// DynamoDB's reply in an outage.
fn unavailable() -> Response {
    let body = json!({ "__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": "the outage of /_local/" });
    let mut response = (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}

/// Without the headers of one connection (RFC 9110, section 7.6.1), and those that the next connection sets itself.
fn of_the_message(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// DynamoDB's reply.
fn denied(role: &str, Access { action, resource, .. }: &Access) -> Response {
    let message = format!(
        "User: {role} is not authorized to perform: {action} on resource: {resource} because no identity-based policy \
         allows the {action} action"
    );
    let body = json!({ "__type": "com.amazon.coral.service#AccessDeniedException", "Message": message });
    let mut response = (StatusCode::BAD_REQUEST, Json(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.0"));
    response
}
