use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use payments::RecordSnapshot;

use super::layout::{Time, comparison, page, record_button, record_link, status};
use crate::auth::Target;
use crate::error::{ConsoleError, LeftOut, RecordChange, Remedy};
use crate::extract::{Visitor, VisitorSlot};

/// Turns a [`ConsoleError`] of a handler or extractor into a page.
pub(super) async fn as_page(mut request: Request, next: Next) -> Response {
    let visitor = VisitorSlot::default();
    request.extensions_mut().insert(VisitorSlot::clone(&visitor));
    let mut response = next.run(request).await;
    match response.extensions_mut().remove::<ConsoleError>() {
        Some(error) => error_page(visitor.get(), &error),
        None => response,
    }
}

fn error_page(visitor: Option<&Visitor>, error: &ConsoleError) -> Response {
    let content = html! {
        h1 { (error.title) }
        p.problem role="alert" { (error.detail) }
        @match &error.change {
            Some(change) => (versions(change)),
            None => @if visitor.is_some() { p { a href="/console" { "Back to the list" } } },
        }
        @match error.remedy.as_deref() {
            Some(Remedy::SignIn(target)) => (sign_in(target)),
            Some(Remedy::Form(address)) => p { a.button href=(address) { "Open the form with your text" } },
            Some(Remedy::Records(records)) => (left_out(records)),
            None => {}
        }
    };
    (error.status, error.log_summary(), page(error.title, visitor, content)).into_response()
}

fn left_out(records: &[LeftOut]) -> Markup {
    html! {
        ul { @for LeftOut { record, detail, .. } in records { li { (record_link(record)) ": " (detail) } } }
    }
}

/// The issuer would sign the same person in again without credentials, so the second link makes it ask for them.
fn sign_in(target: &Target) -> Markup {
    html! {
        p { a.button href=(target.after("/console/sign-in/start")) { "Sign in again" } }
        p { a href=(target.after("/console/sign-in/start?again")) { "Sign in as somebody else" } }
    }
}

/// The version that was shown, and the current one.
fn versions(change: &RecordChange) -> Markup {
    let row = |name, cell: &dyn Fn(&RecordSnapshot) -> Markup| {
        let now = change.now.as_ref().map_or_else(|| html! { "gone" }, cell);
        (name, [cell(&change.shown), now])
    };
    let rows = [
        row("Status", &|snapshot| status(&snapshot.status)),
        row("Attempt", &|snapshot| html! { (snapshot.attempt) }),
        row("Last written", &|snapshot| html! { (Time(EpochMs(snapshot.updated))) }),
    ];
    html! {
        (comparison("The record, as you saw it and as it is", ["You saw", "Now"], rows))
        p { (record_button(&change.record)) }
    }
}
