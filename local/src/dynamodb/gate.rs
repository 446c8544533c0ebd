//! What stands before the embedded DynamoDB, which knows no permissions: a function's request passes if its role in the
//! template allows all that it asks for. Whoever else is on this machine may do everything.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc};

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
use crate::template::{Access, Deployment, Role, Template};

/// Says whose request it is: the session token, which a function has in its environment. Its logical id.
pub(crate) const SESSION_TOKEN: &str = "AWS_SESSION_TOKEN";

const TOKEN_HEADER: &str = "x-amz-security-token";

pub(crate) struct Gate {
    upstream: SocketAddr,
    client: reqwest::Client,
    /// By the logical id of the function.
    roles: BTreeMap<String, Role>,
    names: Names,
}

impl Gate {
    pub(crate) fn new(upstream: SocketAddr, template: &Template, deployment: &Deployment) -> Result<Self> {
        let functions = template.functions.iter();
        Ok(Self {
            upstream,
            client: reqwest::Client::builder().no_proxy().build().context("no HTTP client")?,
            roles: functions.filter_map(|(id, function)| Some((id.clone(), function.role.clone()?))).collect(),
            names: Names::new(template.tables.values(), deployment.clone()),
        })
    }

    pub(crate) fn router(self) -> Router {
        Router::new().fallback(pass).layer(DefaultBodyLimit::disable()).with_state(Arc::new(self))
    }

    /// What of the request its function's role does not allow.
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
    gate.forward(method, &uri, headers, body).await.unwrap_or_else(|error| {
        tracing::debug!("the embedded DynamoDB did not answer: {error}");
        StatusCode::BAD_GATEWAY.into_response()
    })
}

/// Without what is of one connection only (RFC 9110, section 7.6.1), or made anew for the next one.
fn of_the_message(mut headers: HeaderMap) -> HeaderMap {
    for name in [header::HOST, header::CONNECTION, header::CONTENT_LENGTH, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    headers
}

/// As DynamoDB answers.
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
