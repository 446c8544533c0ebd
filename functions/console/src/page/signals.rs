//! The list of retry signals.

use std::sync::Arc;

use axum::extract::{Query, State};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use retry_signals::{Label, Signal};
use signals::{Kind, Reason};

use super::layout::{Time, page};
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::request_log::LogSummary;
use crate::signals::{DETECTORS, Filter, address, date, label_title};
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(filter): Query<Filter>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let found = console.signal_list(&filter).await?;
    Ok((LogSummary::shown(&visitor.actor), page("Retry signals", Some(&visitor), content(&filter, &found))))
}

fn content(filter: &Filter, found: &[Signal]) -> Markup {
    html! {
        h1 { "Retry signals" }
        p.lead {
            "Callers and accounts that retried, failed or probed in a way that is unusual for their peers and for themselves. "
            "Advice, learned from this service’s own requests: no payment depends on it."
        }
        (filters(filter))
        @if found.is_empty() {
            p.empty { @if filter.is_empty() { "No caller or account was raised in the last seven days." } @else { "No signals match the filter." } }
        } @else {
            (table(found))
        }
    }
}

fn filters(filter: &Filter) -> Markup {
    let labels = [("", "any"), ("none", "not labelled")];
    let labels = labels.into_iter().chain(Label::ALL.map(|label| (label.name(), label_title(label))));
    let kinds = [("", "both")].into_iter().chain(Kind::ALL.map(|kind| (kind.name(), kind_title(kind))));
    let detectors = [("", "any")];
    let detectors = detectors.into_iter().chain(DETECTORS.map(|detector| (detector.name(), Reason::title(detector))));
    html! {
        details.filters open[!filter.is_empty()] {
            summary { "Filter" }
            form method="get" action="/console/signals" {
                div { label for="day" { "Day (UTC)" } input #day type="date" name="day" value=(filter.day); }
                (choice("kind", "About", kinds, &filter.kind))
                (choice("detector", "Pattern", detectors, &filter.detector))
                (choice("label", "Label", labels, &filter.label))
                div.buttons { button type="submit" { "Apply" } a href="/console/signals" { "Clear" } }
            }
        }
    }
}

fn choice<'c>(name: &str, label: &str, options: impl Iterator<Item = (&'c str, &'c str)>, chosen: &str) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (value, title) in options { option value=(value) selected[value == chosen] { (title) } }
            }
        }
    }
}

pub(super) const fn kind_title(kind: Kind) -> &'static str {
    match kind {
        Kind::Principal => "Caller",
        Kind::Account => "Account",
    }
}

/// On a narrow screen each row becomes a block; the roles keep it a table for screen readers.
fn table(found: &[Signal]) -> Markup {
    html! {
        table.stacked role="table" {
            caption.hidden { "Retry signals, newest day first" }
            thead role="rowgroup" {
                tr role="row" {
                    @for name in ["Who", "Why", "Odds", "Seen", "Label"] { th role="columnheader" scope="col" { (name) } }
                }
            }
            tbody role="rowgroup" { @for signal in found { (row(signal)) } }
        }
    }
}

fn row(signal: &Signal) -> Markup {
    html! {
        tr role="row" {
            td role="cell" data-label="Who" {
                (kind_title(signal.kind)) " " a.code href=(address(signal)) { (signal.entity) }
                br; small { (date(signal.day)) }
            }
            td role="cell" data-label="Why" { (signal.reasons.first().map_or("–", String::as_str)) }
            td role="cell" data-label="Odds" { (signal.odds) }
            td role="cell" data-label="Seen" {
                (Time(EpochMs(signal.first_s * 1000)))
                @if signal.last_s > signal.first_s { " to " (Time(EpochMs(signal.last_window().end_s() * 1000))) }
            }
            td role="cell" data-label="Label" { (signal.label().map_or("–", label_title)) }
        }
    }
}
