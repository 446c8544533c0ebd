use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::{EpochMs, InvocationId};

use super::{Actor, Cookie, Csrf, Denied, Role, cookie};
use crate::console::Console;
use crate::page;
use crate::refusal::Refusal;

/// Somebody at a browser.
#[derive(Clone, Debug)]
pub(crate) struct Visit {
    pub(crate) actor: Actor,
    pub(crate) csrf: Csrf,
    pub(crate) invocation: Invocation,
}

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) invocation: Invocation,
}

/// What Lambda says of this invocation.
#[derive(Clone, Debug)]
pub(crate) struct Invocation {
    pub(crate) request: Option<String>,
    pub(crate) deadline: EpochMs,
}

impl Visit {
    /// A form counts if an operator sent it from a page of ours.
    pub(crate) fn may_act(&self, csrf: &str) -> Result<(), Refusal> {
        self.actor.may_act()?;
        if self.csrf.allows(csrf) { Ok(()) } else { Err(Refusal::foreign_form()) }
    }
}

impl Actor {
    pub(crate) fn may_act(&self) -> Result<(), Refusal> {
        match self.role {
            Role::Operator => Ok(()),
            Role::Viewer => Err(Refusal::viewer()),
        }
    }
}

impl Invocation {
    fn of(parts: &Parts) -> Self {
        let context = parts.extensions.get::<lambda_http::Context>();
        Self {
            request: context.map(|context| context.request_id.clone()).filter(|id| !id.is_empty()),
            deadline: EpochMs(context.map_or(0, |context| context.deadline)),
        }
    }

    pub(crate) fn request_id(&self) -> Option<InvocationId> {
        self.request.as_deref().and_then(InvocationId::parse)
    }
}

impl FromRequestParts<Arc<Console>> for Visit {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let Some(token) = cookie(&parts.headers, Cookie::Session) else {
            return Err(Redirect::to("/console/sign-in").into_response());
        };
        if parts.method != axum::http::Method::GET && is_from_elsewhere(&parts.headers) {
            return Err(page::refused(None, &Refusal::foreign_form()));
        }
        match console.tokens.actor(token).await {
            Ok(actor) => Ok(Self { actor, csrf: Csrf::of(token), invocation: Invocation::of(parts) }),
            Err(Denied::Invalid) => Err(Redirect::to("/console/sign-in?again").into_response()),
            Err(denied @ (Denied::NoRole(_) | Denied::KeysUnavailable(_))) => {
                Err(page::refused(None, &Refusal::denied(&denied)))
            }
        }
    }
}

impl FromRequestParts<Arc<Console>> for Caller {
    type Rejection = Refusal;

    /// Cookies do not count here: what a browser sends by itself proves no intent.
    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Refusal> {
        let token = bearer(&parts.headers).ok_or_else(|| Refusal::denied(&Denied::Invalid))?;
        let actor = console.tokens.actor(token).await.map_err(|denied| Refusal::denied(&denied))?;
        Ok(Self { actor, invocation: Invocation::of(parts) })
    }
}

/// The token alone, or after its scheme: API Gateway takes both.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    match value.split_once(' ') {
        Some((scheme, token)) => scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()),
        None => Some(value),
    }
}

/// Whether the browser says that another site made the request. A second lock beside the form's value.
pub(crate) fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_alone_or_after_its_scheme() {
        let bearer = |value: &str| {
            let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value.parse().unwrap())]);
            bearer(&headers).map(str::to_owned)
        };
        for value in ["x.y.z", "Bearer x.y.z", "bearer  x.y.z", " x.y.z "] {
            assert_eq!(bearer(value).as_deref(), Some("x.y.z"), "{value}");
        }
        assert_eq!(bearer("Basic eDp5"), None);
    }
}
