//! Signing in and out.

use std::sync::Arc;

use axum::Form;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::html;
use serde::Deserialize;
use uuid::Uuid;

use super::layout::{csrf, page};
use crate::auth::{Cookie, Csrf, Denied, NoFields, VerifiedForm, cookie, is_cross_site};
use crate::error::ConsoleError;
use crate::request_log::{LogOutcome, LogSummary};
use crate::state::Console;

#[derive(Deserialize)]
pub(super) struct SignIn {
    csrf: String,
    token: String,
}

pub(super) async fn form(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let problem = query.is_some().then_some("Your token is invalid or expired. Paste a new one.");
    sign_in_form(StatusCode::OK, &headers, problem)
}

/// Before the sign-in, the form is bound to a random cookie, so that no other site can sign a browser in.
fn sign_in_form(status: StatusCode, headers: &HeaderMap, problem: Option<&str>) -> Response {
    let mut random = [0; 16];
    if getrandom::fill(&mut random).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let secret = match cookie(headers, Cookie::SignIn) {
        Some(known) => known.to_owned(),
        None => Uuid::from_bytes(random).simple().to_string(),
    };
    let content = html! {
        h1 { "Sign in" }
        @if let Some(problem) = problem { p.problem role="alert" { (problem) } }
        form.card method="post" action="/console/session" {
            (csrf(&Csrf::of(&secret)))
            label for="token" { "Token" }
            p.hint #token-hint {
                "A JSON Web Token from your identity provider, with the claim " code { "role" } ": " code { "viewer" } " or "
                code { "operator" } ". It stays in a cookie that no script can read, until you close the browser or sign out."
            }
            textarea #token name="token" rows="6" required aria-describedby="token-hint" autocomplete="off" spellcheck="false" {}
            button type="submit" { "Sign in" }
        }
        p.hint {
            "Already signed in, but followed a link from another site? Your browser did not send the cookie. "
            a href="/console" { "Continue" }
        }
    };
    (status, [(header::SET_COOKIE, Cookie::SignIn.set(&secret))], page("Sign in", None, content)).into_response()
}

pub(super) async fn sign_in(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Result<Response, ConsoleError> {
    let expected = cookie(&headers, Cookie::SignIn).map(Csrf::of);
    if is_cross_site(&headers) || !expected.is_some_and(|expected| expected.allows(&form.csrf)) {
        return Err(ConsoleError::csrf_rejected());
    }
    let token: String = form.token.split_whitespace().collect();
    let again = |problem| sign_in_form(StatusCode::UNPROCESSABLE_ENTITY, &headers, Some(problem));
    match console.tokens.actor(&token).await {
        // Browsers drop a longer cookie, and the sign-in would start again without end.
        Ok(_) if token.len() > 3900 => Ok(again("The token is too long for a cookie.")),
        Ok(actor) => Ok((LogSummary::new(LogOutcome::SignedIn, &actor), signed_in(&token)).into_response()),
        Err(Denied::Invalid) => Ok(again("This token is invalid or expired.")),
        Err(denied @ (Denied::NoRole(_) | Denied::KeysUnavailable(_))) => Err(ConsoleError::denied(&denied)),
    }
}

fn signed_in(token: &str) -> Response {
    let cookies = [Cookie::Session.set(token), Cookie::SignIn.clear()];
    (AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie))), Redirect::to("/console")).into_response()
}

pub(super) async fn sign_out(
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> impl IntoResponse {
    let summary = LogSummary::new(LogOutcome::SignedOut, &visitor.actor);
    (summary, [(header::SET_COOKIE, Cookie::Session.clear())], Redirect::to("/console/sign-in"))
}
