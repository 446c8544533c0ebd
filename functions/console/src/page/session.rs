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
use super::refused;
use crate::auth::{Cookie, Csrf, Denied, Visit, cookie, is_from_elsewhere};
use crate::error::Refusal;
use crate::request_log::Told;
use crate::state::Console;

#[derive(Deserialize)]
pub(super) struct SignIn {
    csrf: String,
    token: String,
}

#[derive(Deserialize)]
pub(super) struct SignOut {
    csrf: String,
}

pub(super) async fn form(RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let problem = query.is_some().then_some("Your token is not valid here, or no longer valid. Paste a new one.");
    sign_in(StatusCode::OK, &headers, problem)
}

/// A form of somebody who is not known yet is bound to a random cookie, so that nobody can be signed in as another.
fn sign_in(status: StatusCode, headers: &HeaderMap, problem: Option<&str>) -> Response {
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
                "A JSON Web Token of your identity provider with the claim " code { "role" } ": " code { "viewer" } " or "
                code { "operator" } ". It stays in a cookie that no script can read, until you close the browser or sign out."
            }
            textarea #token name="token" rows="6" required aria-describedby="token-hint" autocomplete="off" spellcheck="false" {}
            button type="submit" { "Sign in" }
        }
        p.hint {
            "Signed in already, and came here by a link on another site? Your browser then kept the cookie back. "
            a href="/console" { "Continue" }
        }
    };
    (status, [(header::SET_COOKIE, Cookie::SignIn.set(&secret))], page("Sign in", None, content)).into_response()
}

pub(super) async fn begin(
    State(console): State<Arc<Console>>,
    headers: HeaderMap,
    Form(form): Form<SignIn>,
) -> Response {
    let expected = cookie(&headers, Cookie::SignIn).map(Csrf::of);
    if is_from_elsewhere(&headers) || !expected.is_some_and(|expected| expected.allows(&form.csrf)) {
        return refused(None, &Refusal::foreign_form());
    }
    let token: String = form.token.split_whitespace().collect();
    match console.tokens.actor(&token).await {
        // Browsers drop a cookie that is longer, and the sign-in would begin anew for ever.
        Ok(_) if token.len() > 3900 => {
            sign_in(StatusCode::UNPROCESSABLE_ENTITY, &headers, Some("The token is too long for a cookie."))
        }
        Ok(actor) => (Told::done("signed in", &actor), signed_in(&token)).into_response(),
        Err(Denied::Invalid) => {
            let problem = "This token is not valid here, or no longer valid.";
            sign_in(StatusCode::UNPROCESSABLE_ENTITY, &headers, Some(problem))
        }
        Err(denied @ (Denied::NoRole(_) | Denied::KeysUnavailable(_))) => refused(None, &Refusal::denied(&denied)),
    }
}

fn signed_in(token: &str) -> Response {
    let cookies = [Cookie::Session.set(token), Cookie::SignIn.clear()];
    (AppendHeaders(cookies.map(|cookie| (header::SET_COOKIE, cookie))), Redirect::to("/console")).into_response()
}

pub(super) async fn end(visit: Visit, Form(form): Form<SignOut>) -> Response {
    if !visit.csrf.allows(&form.csrf) {
        return refused(Some(&visit), &Refusal::foreign_form());
    }
    let told = Told::done("signed out", &visit.actor);
    (told, [(header::SET_COOKIE, Cookie::Session.clear())], Redirect::to("/console/sign-in")).into_response()
}
