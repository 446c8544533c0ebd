//! The approvals that wait for a second operator.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Redirect;
use idempotency::protocol::{EpochMs, Record};
use maud::{Markup, html};
use payments::Approval;
use uuid::Uuid;

use super::layout::{Time, csrf, page, record_button, record_link};
use super::proposal::{reason, record_line, title, what_changes};
use crate::auth::Role;
use crate::error::ConsoleError;
use crate::extract::{NoFields, VerifiedForm, Visitor};
use crate::record::short;
use crate::request_log::LogSummary;
use crate::settlement::confirmation::Loaded;
use crate::state::Console;

pub(super) async fn list(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let approvals = console.approvals().await?;
    let content = html! {
        h1 { "Approvals" }
        p.lead { "Actions without evidence from the provider. Another operator must approve each of them within a day." }
        @if approvals.is_empty() { p.empty { "No approval is requested." } } @else { (entries(&approvals)) }
    };
    Ok((LogSummary::shown(&visitor.actor), page("Approvals", Some(&visitor), content)))
}

pub(super) fn entries(approvals: &[Approval]) -> Markup {
    html! {
        ol.entries {
            @for approval in approvals {
                li {
                    p {
                        strong { (title(&approval.proposal.action)) } ", requested by "
                        span.actor { (approval.requested_by) } ", " (Time(EpochMs(approval.created)))
                    }
                    dl {
                        dt { "Record" } dd { (record_link(&approval.proposal.record)) }
                        dt { "Reason" } dd.words { (approval.proposal.reason) }
                    }
                    p { a.button href=(address(approval.id)) { "Open the request" } }
                }
            }
        }
    }
}

pub(super) fn address(approval: Uuid) -> String {
    format!("/console/approvals/{}", approval.simple())
}

/// The approval's page: before the approval, the requested action; after it, a notice that the action was done.
pub(super) async fn open(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let summary = LogSummary::shown(&visitor.actor);
    Ok(match console.load::<Approval>(&visitor.actor, &id).await? {
        Loaded::Open(approval, record) => {
            let answer = console.ask(&record).await.to_text();
            let content = requested(&visitor, &approval, &record, &answer);
            (summary.about(&record), page("Approval", Some(&visitor), content))
        }
        Loaded::Used(approval) => {
            (summary.about_id(&approval.proposal.record), page("Done", Some(&visitor), used(&approval)))
        }
    })
}

pub(super) async fn approve(
    State(console): State<Arc<Console>>,
    Path(id): Path<String>,
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    let approval = console.confirm::<Approval>(&visitor.actor, &visitor.invocation, &id).await?;
    Ok((approval.log_summary(&visitor.actor), Redirect::to(&address(approval.confirmed.id))))
}

fn requested(visitor: &Visitor, approval: &Approval, record: &Record, answer: &str) -> Markup {
    let action = &approval.proposal.action;
    html! {
        h1 { "Approval: " (title(action)) }
        (record_line(record))
        p.problem { "The provider gave no evidence for this. If it is wrong, a customer pays twice, or pays for nothing." }
        (facts(approval, Some(answer)))
        (what_changes(action, record))
        @match (visitor.actor.role, visitor.actor.name == approval.requested_by) {
            (Role::Viewer, _) => p.hint { "You are a viewer. An operator can approve this." },
            (Role::Operator, true) => p.hint {
                "Another operator must approve this by " (Time(EpochMs(approval.expires()))) ". Nothing is settled yet."
            },
            (Role::Operator, false) => form method="post" action=(address(approval.id)) {
                (csrf(&visitor.csrf))
                p.hint {
                    "It can be approved once, until " (Time(EpochMs(approval.expires())))
                    ". The provider is queried again; if it contradicts this, nothing is done."
                }
                div.buttons {
                    button.danger type="submit" { "Approve: " (title(action)) }
                    a href={ "/console/records/" (short(&approval.proposal.record)) } { "Look at the record" }
                }
            },
        }
    }
}

fn used(approval: &Approval) -> Markup {
    html! {
        h1 { "Done: " (title(&approval.proposal.action)) }
        p.done role="status" {
            "It was done"
            @if let Some((_, at)) = &approval.used { " at " (Time(EpochMs(*at))) }
            ". Approving it again changes nothing."
        }
        (facts(approval, None))
        p { (record_button(&approval.proposal.record)) }
    }
}

fn facts(approval: &Approval, answer: Option<&str>) -> Markup {
    html! {
        dl.facts {
            dt { "Requested by" } dd { span.actor { (approval.requested_by) } ", " (Time(EpochMs(approval.created))) }
            @if let Some((by, _)) = &approval.used { dt { "Approved by" } dd { (by) } }
            (reason(&approval.proposal))
            dt { "Provider, at the request" } dd.words { (approval.provider) }
            @if let Some(answer) = answer { dt { "Provider, now" } dd.words { (answer) } }
        }
    }
}
