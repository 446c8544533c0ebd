//! What handlers take from a request: who sent it, and a form that a visitor has sent.

use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

use axum::Form;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::EpochMs;
use payments::Invocation;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::{Actor, Cookie, Csrf, Denied, Flaw, Role, Target, cookie};
use crate::error::ConsoleError;
use crate::state::Console;

/// The user of a browser.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    pub(crate) actor: Actor,
    pub(crate) csrf: Csrf,
    pub(crate) invocation: Invocation,
    /// Whether the stack has retry signals, for the navigation.
    pub(crate) has_signals: bool,
}

/// The console's own scheme and host, as the request names them. They can be trusted: API Gateway sets the scheme and
/// routes by the host, and an issuer redirects only to registered addresses.
pub(crate) struct Origin(pub(crate) String);

/// A script.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) actor: Actor,
    pub(crate) invocation: Invocation,
}

/// A form that this visitor has sent from a page of the console.
pub(crate) struct VerifiedForm<T> {
    pub(crate) visitor: Visitor,
    pub(crate) fields: T,
}

/// The fields of a form that is only a button.
#[derive(Debug, Deserialize)]
pub(crate) struct NoFields {}

/// An extension of page requests that [`Visitor`] fills, so that the error page knows the visitor, too.
pub(crate) type VisitorSlot = Arc<OnceLock<Visitor>>;

impl Actor {
    pub(crate) fn require_operator(&self) -> Result<(), ConsoleError> {
        match self.role {
            Role::Operator => Ok(()),
            Role::Viewer => Err(ConsoleError::viewer()),
        }
    }
}

impl FromRequestParts<Arc<Console>> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, Response> {
        let sign_in = |page| {
            // The page of a form is opened again; what was typed is lost.
            let target = if parts.method == Method::GET { Target::of(&parts.uri) } else { Target::home() };
            Redirect::to(&target.after(page)).into_response()
        };
        let Some(token) = cookie(&parts.headers, Cookie::Session) else {
            return Err(sign_in("/console/sign-in"));
        };
        if parts.method != Method::GET && is_cross_site(&parts.headers) {
            return Err(ConsoleError::csrf_rejected().into_response());
        }
        match console.sign_in.visitor(token).await {
            Ok(actor) => {
                let (csrf, invocation) = (Csrf::of(token), invocation(parts));
                let visitor = Self { actor, csrf, invocation, has_signals: console.signals.is_some() };
                if let Some(slot) = parts.extensions.get::<VisitorSlot>() {
                    slot.get_or_init(|| visitor.clone());
                }
                Ok(visitor)
            }
            Err(Denied::Invalid(_)) => Err(sign_in("/console/sign-in?ended")),
            Err(denied @ (Denied::NoRole(_) | Denied::IssuerUnavailable(_) | Denied::SecretUnavailable(_))) => {
                Err(ConsoleError::denied(&denied).with_sign_in(Target::home()).into_response())
            }
        }
    }
}

impl<T: DeserializeOwned> FromRequest<Arc<Console>> for VerifiedForm<T> {
    type Rejection = Response;

    async fn from_request(request: Request, console: &Arc<Console>) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let visitor = Visitor::from_request_parts(&mut parts, console).await?;
        let form = Form::from_request(Request::from_parts(parts, body), console).await;
        let Form(SentForm { csrf, fields }) = form.map_err(IntoResponse::into_response)?;
        if !visitor.csrf.allows(&csrf) {
            return Err(ConsoleError::csrf_rejected().into_response());
        }
        Ok(Self { visitor, fields })
    }
}

#[derive(Deserialize)]
struct SentForm<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

impl FromRequestParts<Arc<Console>> for Caller {
    type Rejection = ConsoleError;

    /// Cookies are ignored here: a browser sends them automatically, so they do not prove intent.
    async fn from_request_parts(parts: &mut Parts, console: &Arc<Console>) -> Result<Self, ConsoleError> {
        let token = bearer(&parts.headers).ok_or_else(|| ConsoleError::denied(&Denied::Invalid(Flaw::Missing)))?;
        let actor = console.sign_in.caller(token).await.map_err(|denied| ConsoleError::denied(&denied))?;
        Ok(Self { actor, invocation: invocation(parts) })
    }
}

impl<S: Sync> FromRequestParts<S> for Origin {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let scheme = text("x-forwarded-proto").unwrap_or("https");
        Ok(Self(format!("{scheme}://{}", text("host").unwrap_or_default())))
    }
}

fn invocation(parts: &Parts) -> Invocation {
    let context = parts.extensions.get::<lambda_http::Context>();
    context.map_or(Invocation { id: None, deadline: EpochMs(0) }, Invocation::from)
}

/// The token, with or without its scheme: API Gateway accepts both.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim();
    match value.split_once(' ') {
        Some((scheme, token)) => scheme.eq_ignore_ascii_case("bearer").then_some(token.trim()),
        None => Some(value),
    }
}

/// Whether the browser reports that another site made the request. A second check next to the form's CSRF value.
fn is_cross_site(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settlement::form::SettlementForm;

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

    #[test]
    fn the_csrf_value_is_read_next_to_the_forms_own_fields() {
        let button: SentForm<NoFields> = serde_urlencoded::from_str("csrf=c&more=x").unwrap();
        assert_eq!(button.csrf, "c");
        let form: SentForm<SettlementForm> = serde_urlencoded::from_str("reason=because&csrf=c&evidence=e").unwrap();
        assert_eq!((&*form.csrf, &*form.fields.reason, &*form.fields.evidence), ("c", "because", "e"));
        let form: SentForm<SettlementForm> = serde_urlencoded::from_str("").unwrap();
        assert_eq!(form.csrf, "", "no value is a wrong value");
    }
}
