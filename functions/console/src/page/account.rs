//! An account: its balances, its latest entries, and its unresolved records.

use std::sync::Arc;

use axum::extract::{Path, State};
use idempotency::protocol::{EpochMs, TransactionId};
use maud::{Markup, html};
use payments::{Balance, Posted};

use super::layout::{Time, page, record_link};
use super::unknown_list::{subject, url};
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::lists::found::{AccountDetails, POSTINGS};
use crate::lists::unknown::{Filter, Item};
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let details = console.account_details(&id).await?;
    Ok((LogSummary::shown(&visitor.actor), page("Account", Some(&visitor), content(&details, console.now()))))
}

fn content(details: &AccountDetails, now: EpochMs) -> Markup {
    let filter = Filter { account: details.id.to_string(), ..Filter::default() };
    html! {
        h1 { "Account " span.code { (details.id) } }
        @match &details.account {
            Some(account) => (balances(&account.balances)),
            None => p.empty { "Nothing is posted to it." },
        }
        h2 #unresolved { "Unresolved" }
        @if details.unresolved.is_empty() {
            p.empty { "Nothing about this account." }
        } @else {
            (unresolved(&details.unresolved, now))
            p { a href=(url(&filter)) { "All " @if details.at_least { "(at least " (details.unresolved_count) ")" } @else { (details.unresolved_count) } " in the list" } }
        }
        h2 #entries { "Latest entries" }
        @if details.postings.is_empty() { p.empty { "None." } } @else { (postings(&details.postings)) }
    }
}

fn balances(balances: &[Balance]) -> Markup {
    html! {
        dl.summary {
            @for balance in balances {
                div {
                    dt { "Balance in " (balance.currency) }
                    dd.money {
                        (format::money(&balance.balance.to_string(), balance.currency.code()))
                        small { (balance.entries) @if balance.entries == 1 { " entry" } @else { " entries" } }
                    }
                }
            }
        }
    }
}

fn unresolved(items: &[Item], now: EpochMs) -> Markup {
    html! {
        table.stacked role="table" {
            caption.hidden { "Unresolved records of the account, oldest first" }
            thead role="rowgroup" {
                tr role="row" { @for name in ["Record", "Operation", "Subject", "Age"] { th role="columnheader" scope="col" { (name) } } }
            }
            tbody role="rowgroup" {
                @for item in items {
                    tr role="row" {
                        td role="cell" data-label="Record" { (record_link(item.record.id.as_str())) }
                        td role="cell" data-label="Operation" { (item.record.operation) }
                        td role="cell" data-label="Subject" { (subject(item)) }
                        td role="cell" data-label="Age" { (format::duration(now.since(item.record.created))) }
                    }
                }
            }
        }
    }
}

fn postings(postings: &[Posted]) -> Markup {
    html! {
        table.stacked role="table" {
            caption { "The latest " (POSTINGS) " at most, newest request first" }
            thead role="rowgroup" {
                tr role="row" { @for name in ["Change", "For", "Requested"] { th role="columnheader" scope="col" { (name) } } }
            }
            tbody role="rowgroup" {
                @for posted in postings {
                    tr role="row" {
                        td.money role="cell" data-label="Change" {
                            (format::money(&posted.entry.amount.to_string(), posted.entry.currency.code()))
                        }
                        td role="cell" data-label="For" {
                            @match (&posted.payment, &posted.terminal) {
                                (Some(payment), _) => {
                                    @if posted.entry.amount < 0 { "refund of " }
                                    a.code href={ "/console/payments/" (payment) } { (payment) }
                                }
                                (None, Some(terminal)) => { "sale at terminal " span.code { (terminal) } }
                                (None, None) => { "–" }
                            }
                        }
                        td role="cell" data-label="Requested" {
                            @match TransactionId::from_bytes(posted.event.into_bytes()).made() {
                                Some(at) => (Time(at)),
                                None => "–",
                            }
                        }
                    }
                }
            }
        }
    }
}
