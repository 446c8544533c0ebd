//! What could not be shown or done.

use axum::response::{IntoResponse, Response};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use payments::Shown;

use super::layout::{Time, comparison, page, status};
use crate::auth::Visit;
use crate::error::{Drift, Refusal};

pub(crate) fn refused(visit: Option<&Visit>, refusal: &Refusal) -> Response {
    let content = html! {
        h1 { (refusal.title) }
        p.problem role="alert" { (refusal.detail) }
        @match &refusal.drift {
            Some(drift) => (changed(drift)),
            None => @if visit.is_some() { p { a href="/console" { "Back to what is unresolved" } } },
        }
    };
    (refusal.status, refusal.told(), page(refusal.title, visit, content)).into_response()
}

/// What was seen beside what is there.
fn changed(drift: &Drift) -> Markup {
    let row = |name, cell: &dyn Fn(&Shown) -> Markup| {
        let now = drift.now.as_ref().map_or_else(|| html! { "gone" }, cell);
        (name, [cell(&drift.shown), now])
    };
    let rows = [
        row("Status", &|shown| status(&shown.status)),
        row("Attempt", &|shown| html! { (shown.attempt) }),
        row("Last written", &|shown| html! { (Time(EpochMs(shown.updated))) }),
    ];
    html! {
        (comparison("The record, as you saw it and as it is", ["You saw", "Now"], rows))
        p { a.button href={ "/console/records/" (drift.record) } { "Look at the record" } }
    }
}
