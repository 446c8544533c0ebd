//! The UNKNOWN records.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use idempotency::protocol::EpochMs;
use maud::{Markup, html};

use super::layout::{Time, page, record_link};
use crate::auth::Role;
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::lists::export::Export;
use crate::lists::unknown::{Filter, Item, Listing, MAX_READ, Summary};
use crate::record::short;
use crate::request_log::LogSummary;
use crate::settlement::bulk::{BulkAction, MAX_CHOSEN};
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let listing = console.unknown_list(&filter).await?;
    let content = content(&visitor, &filter, &listing, console.now());
    Ok((LogSummary::shown(&visitor.actor), page("Unresolved", Some(&visitor), content)))
}

pub(super) async fn csv(
    console: State<Arc<Console>>,
    visitor: Visitor,
    filter: Query<Filter>,
) -> Result<Exported, ConsoleError> {
    export(console, visitor, filter, Export::Csv).await
}

pub(super) async fn json_lines(
    console: State<Arc<Console>>,
    visitor: Visitor,
    filter: Query<Filter>,
) -> Result<Exported, ConsoleError> {
    export(console, visitor, filter, Export::JsonLines).await
}

type Exported = (LogSummary, Response);

async fn export(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
    export: Export,
) -> Result<Exported, ConsoleError> {
    let window = console.unknown_window(&filter).await?;
    Ok((LogSummary::shown(&visitor.actor), export.response(&window)))
}

fn content(visitor: &Visitor, filter: &Filter, listing: &Listing, now: EpochMs) -> Markup {
    html! {
        h1 { "Unresolved" }
        p.lead { "Operations with an unknown outcome. They wait for evidence; nothing runs again without it." }
        (summary(&listing.summary, now))
        (filters(filter))
        @if listing.items.is_empty() {
            p.empty { @if filter.is_empty() { "No unresolved records." } @else { "No unresolved records match the filter." } }
        } @else {
            @match visitor.actor.role {
                Role::Operator => form method="get" action="/console/bulk" {
                    (table(&listing.items, now, true))
                    (bulk_actions())
                },
                Role::Viewer => (table(&listing.items, now, false)),
            }
        }
        (pages(listing))
        @if listing.summary.count > 0 { (exports(filter)) }
    }
}

/// The address of the list with this filter.
pub(super) fn url(filter: &Filter) -> String {
    with_filter("/console/unresolved", filter)
}

fn with_filter(page: &str, filter: &Filter) -> String {
    // A flat struct of strings always serialises.
    let query = serde_urlencoded::to_string(filter).unwrap_or_default();
    if query.is_empty() { page.to_owned() } else { format!("{page}?{query}") }
}

pub(super) fn summary(summary: &Summary, now: EpochMs) -> Markup {
    html! {
        dl.summary {
            div { dt { "Unresolved" } dd #count { (at_least(summary)) (summary.count) } }
            div { dt { "Oldest" } dd { (oldest(summary, now)) } }
            div { dt { "Amount at risk" } dd { (at_risk(summary)) } }
        }
    }
}

fn at_least(summary: &Summary) -> &'static str {
    if summary.at_least { "at least " } else { "" }
}

pub(super) fn oldest(summary: &Summary, now: EpochMs) -> String {
    summary.oldest.map_or_else(|| "–".to_owned(), |oldest| format::duration(now.since(oldest)))
}

pub(super) fn at_risk(summary: &Summary) -> Markup {
    html! {
        @if summary.at_risk.is_empty() && summary.without_amount == 0 { "–" }
        @for (currency, amount) in &summary.at_risk {
            span.money { (at_least(summary)) (format::money(&amount.to_string(), currency)) } " "
        }
        @if summary.without_amount > 0 { small { (summary.without_amount) " without a known amount" } }
    }
}

fn filters(filter: &Filter) -> Markup {
    html! {
        details.filters open[!filter.is_empty()] {
            summary { "Filter" }
            form method="get" action="/console/unresolved" {
                div {
                    label for="operation" { "Operation" }
                    input #operation name="operation" value=(filter.operation) placeholder="POST /payments";
                }
                (age(filter))
                (field("account", "Account", &filter.account, None))
                (field("amount_min", "Amount from (minor units)", &filter.amount_min, Some("numeric")))
                (field("amount_max", "Amount up to (minor units)", &filter.amount_max, Some("numeric")))
                (field("principal", "Principal digest", &filter.principal, None))
                (field("transaction", "Transaction id", &filter.transaction, None))
                div.buttons {
                    button type="submit" { "Apply" }
                    a href="/console/unresolved" { "Clear" }
                }
            }
        }
    }
}

fn age(filter: &Filter) -> Markup {
    const AGES: [(&str, &str); 5] =
        [("", "any age"), ("300", "5 minutes"), ("3600", "1 hour"), ("86400", "1 day"), ("604800", "1 week")];
    html! {
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
    }
}

fn field(name: &'static str, label: &str, value: &str, mode: Option<&str>) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) inputmode=[mode] spellcheck="false" autocomplete="off";
        }
    }
}

/// On a narrow screen each row becomes a block; the roles keep it a table for screen readers.
fn table(items: &[Item], now: EpochMs, is_choice: bool) -> Markup {
    html! {
        table.stacked role="table" {
            caption.hidden { "Unresolved records, oldest first" }
            thead role="rowgroup" {
                tr role="row" {
                    @if is_choice { th role="columnheader" scope="col" { span.hidden { "Chosen" } } }
                    @for name in ["Record", "Operation", "Subject", "Age", "Attempts"] {
                        th role="columnheader" scope="col" { (name) }
                    }
                }
            }
            tbody role="rowgroup" { @for item in items { (row(item, now, is_choice)) } }
        }
    }
}

fn row(item: &Item, now: EpochMs, is_choice: bool) -> Markup {
    let record = &item.record;
    let id = short(record.id.as_str());
    html! {
        tr role="row" {
            @if is_choice {
                td role="cell" data-label="Choose" {
                    input type="checkbox" name="record" value=(id) aria-label={ "Choose " (id.chars().take(12).collect::<String>()) };
                }
            }
            td role="cell" data-label="Record" { (record_link(record.id.as_str())) }
            td role="cell" data-label="Operation" { (record.operation) }
            td role="cell" data-label="Subject" { (subject(item)) }
            td role="cell" data-label="Age" {
                (format::duration(now.since(record.created))) br; small { (Time(record.created)) }
            }
            td role="cell" data-label="Attempts" { (record.attempt) }
        }
    }
}

/// The subject of a record. The amount comes first, because it decides what is urgent.
pub(super) fn subject(item: &Item) -> Markup {
    match (&item.subject, &item.record.subject) {
        (Some(subject), _) => html! {
            @match (subject.money(), subject.amount) {
                (Some(money), _) => { strong.money { (money) } " " }
                // The refund's payment was not found, so the currency is not known.
                (None, Some(amount)) => { strong.money { (amount) " minor units" } " " }
                (None, None) => {}
            }
            @if let Some(account) = &subject.account { "for " (account) " " }
            @if let Some(payment) = &subject.payment { "refund of " span.code { (payment) } }
        },
        (None, Some(subject)) => html! { (subject.as_str()) },
        (None, None) => html! { "–" },
    }
}

fn bulk_actions() -> Markup {
    html! {
        fieldset.bulk {
            legend { "Action for the chosen records, up to " (MAX_CHOSEN) " of one state" }
            label.hidden for="action" { "Action" }
            select #action name="action" {
                @for action in BulkAction::ALL { option value=(action.as_str()) { (action.title()) } }
            }
            button.quiet type="submit" { "Go on…" }
        }
    }
}

fn pages(listing: &Listing) -> Markup {
    let Summary { count, .. } = listing.summary;
    html! {
        nav.pages aria-label="Pages of the list" {
            @if let Some(previous) = &listing.previous { a.button.quiet rel="prev" href=(url(previous)) { "Previous" } }
            @if let (Some(first), false) = (listing.first, listing.items.is_empty()) {
                span #place { (first) "–" (first + listing.items.len() - 1) " of " (at_least(&listing.summary)) (count) }
            }
            @if let Some(next) = &listing.next { a.button.quiet rel="next" href=(url(next)) { "Next" } }
        }
    }
}

fn exports(filter: &Filter) -> Markup {
    let all = Filter { after: String::new(), ..filter.clone() };
    html! {
        p.hint {
            "Export the matches among the oldest " (MAX_READ) ": "
            a href=(with_filter("/console/unresolved.csv", &all)) { "CSV" } ", "
            a href=(with_filter("/console/unresolved.jsonl", &all)) { "JSON Lines" }
        }
    }
}
