//! The UNKNOWN records.

use std::sync::Arc;

use axum::extract::{Query, State};
use idempotency::protocol::{EpochMs, Record};
use maud::{Markup, html};

use super::layout::{Time, page, record_link};
use crate::auth::Visitor;
use crate::error::ConsoleError;
use crate::format;
use crate::lists::unknown::{Filter, Listing, Summary};
use crate::record::subject::SubjectSummary;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let listing = console.unknown_list(&filter).await?;
    let content = content(&filter, &listing, console.now());
    Ok((LogSummary::shown(&visitor.actor), page("Unresolved", Some(&visitor), content)))
}

fn content(filter: &Filter, listing: &Listing, now: EpochMs) -> Markup {
    html! {
        h1 { "Unresolved" }
        p.lead { "Operations with an unknown outcome. They wait for evidence; nothing runs again without it." }
        (summary(&listing.summary, now))
        (filters(filter))
        @if listing.records.is_empty() {
            p.empty { @if filter.is_empty() { "No unresolved records." } @else { "No unresolved records match the filter." } }
        } @else {
            (table(&listing.records, now))
        }
        @if let Some(next) = &listing.next {
            p { a.button rel="next" href=(url(next)) { "Next" } }
        }
        @if !filter.after.is_empty() {
            p { a href=(url(&Filter { after: String::new(), ..filter.clone() })) { "Back to the oldest" } }
        }
    }
}

fn url(filter: &Filter) -> String {
    // A flat struct of texts always serialises.
    format!("/console?{}", serde_urlencoded::to_string(filter).unwrap_or_default())
}

fn summary(summary: &Summary, now: EpochMs) -> Markup {
    let at_least = if summary.at_least { "at least " } else { "" };
    html! {
        dl.summary {
            div { dt { "Unresolved" } dd #count { (at_least) (summary.count) } }
            div {
                dt { "Oldest" }
                dd { @match summary.oldest { Some(oldest) => (format::duration(now.since(oldest))), None => "–" } }
            }
            div {
                dt { "Amount at risk" }
                dd {
                    @if summary.at_risk.is_empty() && summary.without_amount == 0 { "–" }
                    @for (currency, amount) in &summary.at_risk {
                        span.money { (at_least) (format::money(&amount.to_string(), currency)) }
                    }
                    @if summary.without_amount > 0 { small { (summary.without_amount) " without a known amount" } }
                }
            }
        }
    }
}

fn filters(filter: &Filter) -> Markup {
    const AGES: [(&str, &str); 5] =
        [("", "any age"), ("300", "5 minutes"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "1 week")];
    html! {
        details.filters open[!filter.is_empty()] {
            summary { "Filter" }
            form method="get" action="/console" {
                div {
                    label for="operation" { "Operation" }
                    input #operation name="operation" value=(filter.operation) placeholder="POST /payments";
                }
                div {
                    label for="age" { "Minimum age" }
                    select #age name="age_s" {
                        @for (seconds, label) in AGES {
                            option value=(seconds) selected[seconds == filter.age_s] { (label) }
                        }
                        @if !AGES.iter().any(|(seconds, _)| *seconds == filter.age_s) {
                            option value=(filter.age_s) selected { (filter.age_s) " seconds" }
                        }
                    }
                }
                div {
                    label for="principal" { "Principal digest" }
                    input #principal name="principal" value=(filter.principal) spellcheck="false" autocomplete="off";
                }
                div {
                    label for="transaction" { "Transaction id" }
                    input #transaction name="transaction" value=(filter.transaction) spellcheck="false" autocomplete="off";
                }
                div.buttons {
                    button type="submit" { "Apply" }
                    a href="/console" { "Clear" }
                }
            }
        }
    }
}

/// On a narrow screen each row becomes a block; the roles keep it a table for screen readers.
fn table(records: &[Record], now: EpochMs) -> Markup {
    html! {
        table.stacked role="table" {
            caption.hidden { "Unresolved records, oldest first" }
            thead role="rowgroup" {
                tr role="row" {
                    @for name in ["Record", "Operation", "Subject", "Age", "Attempts"] {
                        th role="columnheader" scope="col" { (name) }
                    }
                }
            }
            tbody role="rowgroup" { @for record in records { (row(record, now)) } }
        }
    }
}

fn row(record: &Record, now: EpochMs) -> Markup {
    html! {
        tr role="row" {
            td role="cell" data-label="Record" { (record_link(record.id.as_str())) }
            td role="cell" data-label="Operation" { (record.operation) }
            td role="cell" data-label="Subject" { (subject(record)) }
            td role="cell" data-label="Age" {
                (format::duration(now.since(record.created))) br; small { (Time(record.created)) }
            }
            td role="cell" data-label="Attempts" { (record.attempt) }
        }
    }
}

/// The money first, because it decides what is urgent.
fn subject(record: &Record) -> Markup {
    match (SubjectSummary::of(record), &record.subject) {
        (Some(subject), _) => html! {
            @match (subject.money(), subject.amount) {
                (Some(money), _) => { strong.money { (money) } " " }
                // A refund is in the currency of its payment.
                (None, Some(amount)) => { strong.money { (amount) " minor units" } " " }
                (None, None) => {}
            }
            @if let Some(account) = &subject.account { "for " (account) }
            @if let Some(payment) = &subject.payment { "refund of " span.code { (payment) } }
        },
        (None, Some(subject)) => html! { (subject.as_str()) },
        (None, None) => html! { "–" },
    }
}
