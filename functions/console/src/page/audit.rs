//! What was done by hand.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use payments::{AuditEntry, AuditKind, AuditPage};

use super::layout::{Time, page, record_link};
use super::refused;
use crate::api::AuditQuery;
use crate::auth::Visit;
use crate::error::Refusal;
use crate::format;
use crate::request_log::Told;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visit: Visit,
    Query(query): Query<AuditQuery>,
) -> Response {
    match console.audit(&query).await {
        Ok(found) => (Told::shown(&visit.actor), page("Audit", Some(&visit), content(&query, &found))).into_response(),
        Err(error) => refused(Some(&visit), &Refusal::unavailable(&error)),
    }
}

fn content(query: &AuditQuery, found: &AuditPage) -> Markup {
    html! {
        h1 { "Audit" }
        p.lead { "What was done by hand, and what came too late for it. Newest first; nothing here is ever changed." }
        details.filters open[!query.is_empty()] {
            summary { "Filter" }
            form method="get" action="/console/audit" {
                div { label for="actor" { "Actor" } input #actor name="actor" value=(query.actor) autocomplete="off"; }
                div { label for="record" { "Record" } input #record name="record" value=(query.record) spellcheck="false" autocomplete="off"; }
                div.buttons { button type="submit" { "Apply" } a href="/console/audit" { "Clear" } }
            }
        }
        @if found.entries.is_empty() { p.empty { "There are no such entries here." } } @else { (entries(&found.entries)) }
        @if let Some(next) = found.next {
            @let next = AuditQuery { after: next.to_string(), ..query.clone() };
            p { a.button rel="next" href={ "/console/audit?" (serde_urlencoded::to_string(&next).unwrap_or_default()) } { "Older" } }
        }
    }
}

/// What an entry's evidence is.
fn label(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Requested => "Asked for",
        AuditKind::Asked | AuditKind::Succeeded | AuditKind::Failed | AuditKind::Released | AuditKind::LateOwner => {
            "Evidence"
        }
    }
}

/// Entries as a list of small stories.
pub(super) fn entries(entries: &[AuditEntry]) -> Markup {
    html! {
        ol.entries {
            @for entry in entries {
                li {
                    p {
                        strong { (format::audited(entry.kind)) } " by " span.actor { (entry.actor) } ", "
                        (Time(EpochMs(entry.at)))
                        @if let Some(by) = &entry.requested_by { ", asked for by " span.actor { (by) } }
                    }
                    dl {
                        dt { "Record" } dd { (record_link(&entry.record)) ", attempt " (entry.attempt) }
                        dt { "Transaction" } dd.code { (entry.transaction) }
                        @if let Some(reason) = &entry.reason { dt { "Reason" } dd.words { (reason) } }
                        @if let Some(evidence) = &entry.evidence { dt { (label(entry.kind)) } dd.words { (evidence) } }
                        @if let Some(word) = &entry.provider { dt { "The provider" } dd.words { (word) } }
                        @if let Some(request) = &entry.request { dt { "Request" } dd.code { (request) } }
                    }
                }
            }
        }
    }
}
