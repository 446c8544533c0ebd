//! The home page: whether a customer is stuck, and whether reconciliation and posting work.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::EpochMs;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Mark, Time, mark, page_that_refreshes};
use super::unknown_list;
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::lists::home::Home;
use crate::lists::overview::{AGES, Group, Overview};
use crate::lists::unknown::{Filter, Summary};
use crate::queues::Depth;
use crate::request_log::LogSummary;
use crate::state::Console;

#[derive(Deserialize)]
pub(super) struct HomeQuery {
    /// Whether the page reloads itself; on request only, because a reload resets a screen reader's focus.
    refresh: Option<String>,
}

/// Seconds between two loads.
const REFRESH_S: u32 = 60;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(HomeQuery { refresh }): Query<HomeQuery>,
    Query(filter): Query<Filter>,
) -> Result<Response, ConsoleError> {
    // The list's former address, before it had a separate page.
    if !filter.is_empty() || !filter.after.is_empty() {
        return Ok(Redirect::to(&unknown_list::url(&filter)).into_response());
    }
    let refreshes = refresh.is_some_and(|refresh| refresh == REFRESH_S.to_string());
    let home = console.home().await?;
    let content = content(&home, refreshes);
    let refresh = refreshes.then_some(REFRESH_S);
    Ok((LogSummary::shown(&visitor.actor), page_that_refreshes("Home", &visitor, refresh, content)).into_response())
}

fn content(home: &Home, refreshes: bool) -> Markup {
    html! {
        h1 { "Home" }
        p.as-of {
            "As of " (Time(home.at)) ". "
            @if refreshes {
                "The page loads again every minute. " a href="/console" { "Stop that" }
            } @else {
                a href={ "/console?refresh=" (REFRESH_S) } { "Load it again every minute" }
            }
        }
        h2 #unresolved { "Unresolved" }
        (totals(&home.overview.total.summary, home.at))
        @if home.overview.by_operation.is_empty() {
            p.empty { "No operation has an unknown outcome." }
        } @else { (by_operation(&home.overview, home.at)) }
        h2 #machinery { "Reconciliation and posting" }
        (machinery(home))
    }
}

fn totals(summary: &Summary, now: EpochMs) -> Markup {
    html! {
        (unknown_list::summary(summary, now))
        p { a.button href="/console/unresolved" { "Open the list" } }
    }
}

/// The numbers link to the list of just these records.
fn by_operation(overview: &Overview, now: EpochMs) -> Markup {
    const NAMES: [&str; 4] = ["All", "Over 5 min", "Over 1 h", "Over 1 day"];
    html! {
        table.stacked role="table" {
            caption { "By operation and age" }
            thead role="rowgroup" {
                tr role="row" {
                    th role="columnheader" scope="col" { "Operation" }
                    @for name in NAMES { th.number role="columnheader" scope="col" { (name) } }
                    @for name in ["Oldest", "Amount at risk"] { th role="columnheader" scope="col" { (name) } }
                }
            }
            tbody role="rowgroup" {
                @for (operation, group) in &overview.by_operation {
                    tr role="row" {
                        th role="rowheader" scope="row" { (operation) }
                        @for ((count, age_s), name) in group.by_age.iter().zip(AGES).zip(NAMES) {
                            td.number role="cell" data-label=(name) { (count_link(*count, age_s, operation, group)) }
                        }
                        td role="cell" data-label="Oldest" { (unknown_list::oldest(&group.summary, now)) }
                        td role="cell" data-label="At risk" { (unknown_list::at_risk(&group.summary)) }
                    }
                }
            }
        }
    }
}

fn count_link(count: usize, age_s: u64, operation: &str, group: &Group) -> Markup {
    let age_s = if age_s == 0 { String::new() } else { age_s.to_string() };
    let filter = Filter { operation: operation.to_owned(), age_s, ..Filter::default() };
    let at_least = if group.summary.at_least { "≥ " } else { "" };
    html! {
        @if count == 0 { "0" } @else { a href=(unknown_list::url(&filter)) { (at_least) (count) } }
    }
}

fn machinery(home: &Home) -> Markup {
    let reconciler = match home.reconciler_ran {
        Some(ran) => html! { (format::duration(home.at.since(ran))) " ago" },
        None => html! { "never" },
    };
    let late = match (home.reconciler_ran, home.reconciler_is_late()) {
        (None, _) => mark(Mark::Bad, "has not run yet"),
        (Some(_), true) => mark(Mark::Bad, "late"),
        (Some(_), false) => mark(Mark::Good, "runs"),
    };
    html! {
        dl.summary {
            div { dt { "Reconciler’s last complete run" } dd #heartbeat { (reconciler) " " (late) } }
            div {
                dt { "Not posted to the ledger yet" }
                dd #ledger { (depth(&home.depths.ledger, |depth| html! {
                    (depth.waiting + depth.in_flight)
                    small { (depth.waiting) " waiting, " (depth.in_flight) " being posted, or waiting for the next try" }
                })) }
            }
            div {
                dt { a href="/console/dead-letters" { "Dead letters of the ledger" } }
                dd #dead-letters { (dead_letters(&home.depths.ledger_dead_letters)) }
            }
            div { dt { "Dead letters of follow-ups" } dd #follow-ups { (dead_letters(&home.depths.follow_up_dead_letters)) } }
            div {
                dt { a href="/console/approvals" { "Waiting for a second operator" } }
                dd #approvals { (home.approvals) }
            }
            @if let Some(signals) = home.signals {
                div {
                    dt { a href="/console/signals?label=none" { "Retry signals without a label" } }
                    dd #signals { (signals) small { "of the last seven days" } }
                }
            }
        }
    }
}

fn dead_letters(found: &Result<Depth, String>) -> Markup {
    depth(found, |depth| {
        let count = depth.waiting + depth.in_flight;
        let mark = if count == 0 { mark(Mark::Good, "none") } else { mark(Mark::Bad, "look at them") };
        html! { (count) " " (mark) }
    })
}

fn depth(found: &Result<Depth, String>, show: impl FnOnce(&Depth) -> Markup) -> Markup {
    match found {
        Ok(depth) => show(depth),
        Err(why) => html! { "not known" small { (why) } },
    }
}
