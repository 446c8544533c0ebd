//! Signing in and out at the issuer.

use std::sync::Arc;

use axum::extract::{Query, RawQuery, State};
use axum::http::{HeaderMap, header};
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{page, page_on_the_way};
use crate::auth::{Callback, Cookie, SignedIn, Started, Target, cookie};
use crate::error::ConsoleError;
use crate::extract::{NoFields, Origin, VerifiedForm};
use crate::request_log::{LogOutcome, LogSummary};
use crate::state::Console;

#[derive(Deserialize)]
pub(super) struct SignInQuery {
    #[serde(default)]
    to: String,
    /// The session has ended.
    ended: Option<String>,
    /// Set if the issuer must ask for credentials even if it has a session.
    again: Option<String>,
}

/// The page links to the issuer instead of redirecting: a person who has signed out stays signed out, and a browser
/// that did not send the cookie, because the link was on another site, gets another chance.
pub(super) async fn invite(State(console): State<Arc<Console>>, Query(query): Query<SignInQuery>) -> Markup {
    let target = Target::parse(&query.to);
    let content = html! {
        h1 { "Sign in" }
        @if query.ended.is_some() { p.problem role="alert" { "Your session has ended." } }
        div.card {
            p { "You sign in at " strong { (console.sign_in.issuer()) } ", with a role in this console." }
            p { a.button href=(target.after("/console/sign-in/start")) { "Sign in" } }
        }
        p.hint {
            "Already signed in, but followed a link from another site? Your browser did not send the cookie. "
            a href=(target.path()) { "Continue" }
        }
    };
    page("Sign in", None, content)
}

pub(super) async fn start(
    State(console): State<Arc<Console>>,
    Origin(origin): Origin,
    Query(query): Query<SignInQuery>,
) -> Result<Response, ConsoleError> {
    let target = Target::parse(&query.to);
    let started = console.sign_in.start(&origin, target.clone(), query.again.is_some()).await;
    let Started { url, cookie } = started.map_err(|error| ConsoleError::sign_in(&error, target))?;
    Ok(([(header::SET_COOKIE, Cookie::SignIn.set(&cookie))], Redirect::to(&url)).into_response())
}

/// The address to which the issuer sends the browser back. Whatever the result, the sign-in is over.
pub(super) async fn callback(
    State(console): State<Arc<Console>>,
    Origin(origin): Origin,
    headers: HeaderMap,
    RawQuery(query): RawQuery,
) -> Response {
    let callback: Callback = serde_urlencoded::from_str(&query.unwrap_or_default()).unwrap_or_default();
    let pending = cookie(&headers, Cookie::SignIn);
    let over = (header::SET_COOKIE, Cookie::SignIn.clear());
    match console.sign_in.finish(&origin, pending, callback).await {
        Ok(SignedIn { actor, id_token, target }) => {
            let cookies = AppendHeaders([(header::SET_COOKIE, Cookie::Session.set(&id_token)), over]);
            (LogSummary::new(LogOutcome::SignedIn, &actor), cookies, signed_in(&target)).into_response()
        }
        Err(error) => {
            let target = console.sign_in.target(pending).await;
            (AppendHeaders([over]), ConsoleError::sign_in(&error, target)).into_response()
        }
    }
}

/// A page of the console redirects further: after a redirect that began at the issuer, a browser would not send the
/// cookie, which is only for requests from this site.
fn signed_in(target: &Target) -> Markup {
    let content = html! {
        h1 { "You are signed in" }
        p { a.button href=(target.path()) { "Continue" } }
    };
    page_on_the_way("You are signed in", target.path(), content)
}

/// Ends the session here, and links to the issuer's page that ends it there. This is not a redirect, because the page's
/// policy allows no form to lead to another site.
pub(super) async fn sign_out(
    State(console): State<Arc<Console>>,
    Origin(origin): Origin,
    headers: HeaderMap,
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> Response {
    let id_token = cookie(&headers, Cookie::Session).unwrap_or_default();
    let url = console.sign_in.sign_out_url(&origin, id_token).await;
    let summary = LogSummary::new(LogOutcome::SignedOut, &visitor.actor);
    let cookies = [(header::SET_COOKIE, Cookie::Session.clear())];
    (summary, cookies, signing_out(&console, url.as_deref())).into_response()
}

fn signing_out(console: &Console, url: Option<&str>) -> Markup {
    let title = "You are signed out of the console";
    let issuer = console.sign_in.issuer();
    match url {
        Some(url) => page_on_the_way(
            title,
            url,
            html! {
                h1 { (title) }
                p { "Your session at " strong { (issuer) } " is ended next." }
                p { a.button href=(url) { "Sign out there, too" } }
            },
        ),
        None => page(
            title,
            None,
            html! {
                h1 { (title) }
                p.problem role="alert" {
                    strong { (issuer) } " has no page for signing out, or does not answer: your session there may go on, and "
                    "whoever uses this browser next may sign in as you."
                }
            },
        ),
    }
}

/// The address to which the issuer sends the browser back after signing out.
pub(super) async fn signed_out() -> Markup {
    let content = html! {
        h1 { "You are signed out" }
        p { a.button href=(Target::home().after("/console/sign-in/start")) { "Sign in" } }
    };
    page("You are signed out", None, content)
}
