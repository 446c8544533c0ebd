//! What waits for a second operator, and giving the approval.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::{EpochMs, Record};
use maud::{Markup, html};
use payments::Approval;

use super::layout::{Time, csrf, page, record_link};
use super::refused;
use super::settle::{Bare, subject, title, what_changes};
use crate::auth::{Role, Visit};
use crate::confirmation::Look;
use crate::record::short;
use crate::request_log::Told;
use crate::state::Console;

pub(super) async fn list(State(console): State<Arc<Console>>, visit: Visit) -> Response {
    match console.approvals().await {
        Ok(approvals) => {
            let content = html! {
                h1 { "Approvals" }
                p.lead { "What an operator wants to settle without evidence from the provider. Another operator must approve it, within a day." }
                @if approvals.is_empty() { p.empty { "Nothing waits for an approval." } } @else { (entries(&approvals)) }
            };
            (Told::shown(&visit.actor), page("Approvals", Some(&visit), content)).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

/// Approvals as a list of small stories, each with the way to its page.
pub(super) fn entries(approvals: &[Approval]) -> Markup {
    html! {
        ol.entries {
            @for approval in approvals {
                li {
                    p {
                        strong { (title(&approval.action)) } ", asked for by " span.actor { (approval.requested_by) } ", "
                        (Time(EpochMs(approval.created)))
                    }
                    dl {
                        dt { "Record" } dd { (record_link(&approval.record)) }
                        dt { "Reason" } dd.words { (approval.reason) }
                    }
                    p { a.button href=(address(approval)) { "Look at it" } }
                }
            }
        }
    }
}

fn address(approval: &Approval) -> String {
    format!("/console/approvals/{}", approval.id.simple())
}

/// The approval's page: before, it shows what will be done; after, that it was done.
pub(super) async fn look(State(console): State<Arc<Console>>, visit: Visit, Path(id): Path<String>) -> Response {
    match console.look::<Approval>(&visit.actor, &id).await {
        Ok(Look::Open(approval, record)) => {
            let now = console.ask(&record).await.in_words();
            let told = Told::shown(&visit.actor).about(&record);
            (told, page("Approval", Some(&visit), open(&visit, &approval, &record, &now))).into_response()
        }
        Ok(Look::Used(approval)) => {
            let told = Told::shown(&visit.actor).about_id(&approval.record);
            (told, page("Done", Some(&visit), used(&approval))).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

pub(super) async fn approve(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Path(id): Path<String>,
    Form(form): Form<Bare>,
) -> Response {
    let approved = async {
        visit.may_act(&form.csrf)?;
        console.confirm::<Approval>(&visit.actor, &visit.invocation, &id).await
    };
    match approved.await {
        Ok(approved) => (approved.told(&visit.actor), Redirect::to(&address(&approved.warrant))).into_response(),
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

fn open(visit: &Visit, approval: &Approval, record: &Record, now: &str) -> Markup {
    html! {
        h1 { "Approval: " (title(&approval.action)) }
        (subject(record))
        p.problem { "The provider gave no evidence for it. If it is wrong, a customer pays twice, or for nothing." }
        (facts(approval, Some(now)))
        (what_changes(&approval.action, record))
        @match (visit.actor.role, visit.actor.name == approval.requested_by) {
            (Role::Viewer, _) => p.hint { "You are a viewer. An operator can approve it." },
            (Role::Operator, true) => p.hint {
                "Another operator must approve it, until " (Time(EpochMs(approval.expires()))) ". Nothing is settled yet."
            },
            (Role::Operator, false) => form method="post" action=(address(approval)) {
                (csrf(&visit.csrf))
                p.hint {
                    "Can be approved once, until " (Time(EpochMs(approval.expires())))
                    ". The provider is asked once more; if it says otherwise, nothing is done."
                }
                div.buttons {
                    button.danger type="submit" { "Approve: " (title(&approval.action)) }
                    a href={ "/console/records/" (short(&approval.record)) } { "Look at the record" }
                }
            },
        }
    }
}

fn used(approval: &Approval) -> Markup {
    html! {
        h1 { "Done: " (title(&approval.action)) }
        p.done role="status" {
            "It was done"
            @if let Some((_, at)) = &approval.used { ", " (Time(EpochMs(*at))) }
            ". Approving again changes nothing."
        }
        (facts(approval, None))
        p { a.button href={ "/console/records/" (short(&approval.record)) } { "Look at the record" } }
    }
}

fn facts(approval: &Approval, now: Option<&str>) -> Markup {
    html! {
        dl.facts {
            dt { "Asked for by" } dd { span.actor { (approval.requested_by) } ", " (Time(EpochMs(approval.created))) }
            @if let Some((by, _)) = &approval.used { dt { "Approved by" } dd { (by) } }
            dt { "Reason" } dd.words { (approval.reason) }
            @if let Some(evidence) = approval.action.evidence() { dt { "Evidence" } dd.words { (evidence) } }
            dt { "The provider said" } dd.words { (approval.provider) }
            @if let Some(now) = now { dt { "The provider says now" } dd.words { (now) } }
        }
    }
}

/// What is shown after a confirmation that was not enough.
pub(super) fn requested(id: uuid::Uuid) -> Redirect {
    Redirect::to(&format!("/console/approvals/{}", id.simple()))
}
