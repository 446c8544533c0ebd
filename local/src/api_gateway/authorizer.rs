//! JWT authorizers (AWS, "Control access to HTTP APIs with JWT authorizers").

use axum::http::{HeaderMap, Uri};
use serde_json::{Map, Value, json};

use super::event::parse_query;
use crate::{
    template::{Authorization, HttpApi, Route},
    token::Issuer,
};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denial {
    /// No token, or not a good one.
    Unauthorized,
    /// A good token without the route's scopes.
    Forbidden,
}

/// What becomes `requestContext.authorizer`; `None` on an open route.
pub(super) fn check(
    api: &HttpApi,
    route: &Route,
    issuer: &Issuer,
    headers: &HeaderMap,
    uri: &Uri,
) -> Result<Option<Value>, Denial> {
    let (name, scopes) = match &route.authorization {
        Authorization::None => return Ok(None),
        Authorization::Authorizer { name, scopes } => (name, scopes.as_slice()),
        Authorization::Inherited => match &api.default_authorizer {
            Some(name) => (name, [].as_slice()),
            None => return Ok(None),
        },
    };
    let authorizer = api.authorizers.get(name).ok_or(Denial::Unauthorized)?;
    let token = token(&authorizer.identity_source, headers, uri).ok_or(Denial::Unauthorized)?;
    let claims = issuer.claims(&token, &authorizer.issuer, &authorizer.audience).ok_or(Denial::Unauthorized)?;
    let required = if scopes.is_empty() { authorizer.scopes.as_slice() } else { scopes };
    let granted = claims.get("scope").or_else(|| claims.get("scp")).and_then(Value::as_str).unwrap_or_default();
    if !required.is_empty() && !granted.split(' ').any(|scope| required.iter().any(|required| required == scope)) {
        return Err(Denial::Forbidden);
    }
    Ok(Some(
        json!({ "jwt": { "claims": texts(&claims), "scopes": if required.is_empty() { Value::Null } else { json!(required) } } }),
    ))
}

fn token(source: &str, headers: &HeaderMap, uri: &Uri) -> Option<String> {
    if let Some(name) = source.strip_prefix("$request.querystring.") {
        return parse_query(uri.query().unwrap_or_default())
            .into_iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value);
    }
    let value = headers.get(source.strip_prefix("$request.header.").unwrap_or(source))?.to_str().ok()?;
    // The scheme is optional and not case-sensitive.
    let token = match value.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token,
        Some(_) => return None,
        None => value,
    };
    Some(token.trim().to_owned())
}

/// API Gateway passes every claim as a string; a list as `[a b]`.
fn texts(claims: &Map<String, Value>) -> Map<String, Value> {
    fn text(value: &Value) -> String {
        match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(" ")),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
        }
    }
    claims.iter().map(|(name, value)| (name.clone(), Value::String(text(value)))).collect()
}
