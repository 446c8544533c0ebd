//! The audit.

use std::sync::Arc;

use axum::extract::{Query, State};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use payments::{AuditEntry, AuditKind, AuditPage};

use super::layout::{Time, page, record_link};
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::lists::audit::AuditQuery;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(query): Query<AuditQuery>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let found = console.audit(&query).await?;
    Ok((LogSummary::shown(&visitor.actor), page("Audit", Some(&visitor), content(&query, &found))))
}

fn content(query: &AuditQuery, found: &AuditPage) -> Markup {
    html! {
        h1 { "Audit" }
        p.lead { "Manual actions, and late owners that were refused. Newest first; entries never change." }
        details.filters open[!query.is_empty()] {
            summary { "Filter" }
            form method="get" action="/console/audit" {
                div { label for="actor" { "Actor" } input #actor name="actor" value=(query.actor) autocomplete="off"; }
                div { label for="record" { "Record" } input #record name="record" value=(query.record) spellcheck="false" autocomplete="off"; }
                div.buttons { button type="submit" { "Apply" } a href="/console/audit" { "Clear" } }
            }
        }
        @if found.entries.is_empty() { p.empty { "There are no entries that match." } } @else { (entries(&found.entries)) }
        @if let Some(next) = found.next {
            @let next = AuditQuery { after: next.to_string(), ..query.clone() };
            p { a.button rel="next" href={ "/console/audit?" (serde_urlencoded::to_string(&next).unwrap_or_default()) } { "Older" } }
        }
    }
}

fn evidence_label(kind: AuditKind) -> &'static str {
    match kind {
        AuditKind::Requested => "Requested action",
        AuditKind::Reconciled => "Result",
        AuditKind::Asked | AuditKind::Settled(_) | AuditKind::Intended(_) | AuditKind::FencedAttempt => "Evidence",
        AuditKind::Redriven => "Content",
    }
}

pub(super) fn entries(entries: &[AuditEntry]) -> Markup {
    html! {
        ol.entries {
            @for entry in entries {
                li {
                    p {
                        strong { (format::audit_event(entry.kind)) } " by " span.actor { (entry.actor) } ", "
                        (Time(EpochMs(entry.at)))
                        @if let Some(by) = &entry.requested_by { ", requested by " span.actor { (by) } }
                    }
                    dl {
                        @match entry.message() {
                            Some(message) => { dt { "Message" } dd.code { (message) } }
                            None => {
                                dt { "Record" }
                                dd { (record_link(&entry.record)) @if let Some(attempt) = entry.attempt { ", attempt " (attempt) } }
                            }
                        }
                        @if let Some(transaction) = entry.transaction { dt { "Transaction" } dd.code { (transaction) } }
                        @if let Some(reason) = &entry.reason { dt { "Reason" } dd.words { (reason) } }
                        @if let Some(evidence) = &entry.evidence { dt { (evidence_label(entry.kind)) } dd.words { (evidence) } }
                        @if let Some(answer) = &entry.provider { dt { "Provider" } dd.words { (answer) } }
                        @if let Some(request) = &entry.request { dt { "Request" } dd.code { (request) } }
                    }
                }
            }
        }
    }
}
