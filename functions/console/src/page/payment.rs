//! A payment.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use idempotency::protocol::{EpochMs, RecordId};
use maud::{Markup, html};
use payments::{LedgerEntry, Made, Payment, Refund};

use super::layout::{Time, page, record_link, status};
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::lists::found::{PaymentDetails, RefundsFrom};
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(id): Path<String>,
    Query(RefundsFrom { after }): Query<RefundsFrom>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let details = console.payment_details(&id, after.as_deref()).await?;
    Ok((LogSummary::shown(&visitor.actor), page("Payment", Some(&visitor), content(&details))))
}

fn content(details: &PaymentDetails) -> Markup {
    let PaymentDetails { payment, record, refunds, after, entries } = details;
    html! {
        h1 { "Payment " span.code { (payment.made.id) } }
        (facts(&payment.made))
        h2 #record { "Its record" }
        @match (record, &payment.record) {
            (Some(record), _) => p {
                (status(record.state.status().as_str())) " " (record_link(record.id.as_str())) ", " (record.operation)
            },
            (None, Some(id)) => p.empty { "Its record " span.code { (id.as_str()) } " is no longer kept." },
            (None, None) => p.empty { "An older version, which did not store the record’s id, made this payment." },
        }
        h2 #refunds { "Refunds" }
        @if let Some(after) = after {
            p { "After " span.code { (after) } ". " a href={ "/console/payments/" (payment.made.id) "#refunds" } { "The oldest" } }
        }
        @if refunds.refunds.is_empty() { p.empty { "None." } } @else { (refund_table(&refunds.refunds)) }
        @if let Some(next) = details.next() {
            p { "There are more than the " (refunds.refunds.len()) " here. "
                a rel="next" href={ "/console/payments/" (payment.made.id) "?after=" (next) "#refunds" } { "The next ones" } }
        }
        h2 #ledger { "Ledger" }
        @if entries.is_empty() { p.empty { "Nothing is posted to the ledger." } } @else { (ledger(entries)) }
    }
}

/// A payment's data, also on the page of its record.
pub(super) fn facts(payment: &Payment) -> Markup {
    let currency = payment.money.currency.code();
    html! {
        dl.facts {
            dt { "Payment" } dd.code { a href={ "/console/payments/" (payment.id) } { (payment.id) } }
            dt { "Amount" } dd.money { (format::money(&payment.money.amount.to_string(), currency)) }
            dt { "Refunded" } dd.money { (format::money(&payment.refunded.to_string(), currency)) }
            dt { "Account" } dd { a href={ "/console/accounts/" (payment.account) } { (payment.account) } }
            dt { "Provider’s reference" } dd.code { (payment.intent) }
            @if let Some(reference) = &payment.reference { dt { "Reference" } dd.words { (reference) } }
            dt { "Transaction" } dd.code { (payment.id.transaction()) }
            dt { "Made" } dd { (Time(EpochMs(payment.created))) }
        }
    }
}

fn refund_table(refunds: &[Made<Refund>]) -> Markup {
    html! {
        table.stacked role="table" {
            caption.hidden { "Refunds, oldest first" }
            thead role="rowgroup" {
                tr role="row" {
                    @for name in ["Refund", "Amount", "Made", "Provider", "Record"] {
                        th role="columnheader" scope="col" { (name) }
                    }
                }
            }
            tbody role="rowgroup" {
                @for Made { made, record } in refunds {
                    tr role="row" {
                        td.code role="cell" data-label="Refund" { (made.id) }
                        td.money role="cell" data-label="Amount" {
                            (format::money(&made.money.amount.to_string(), made.money.currency.code()))
                        }
                        td role="cell" data-label="Made" { (Time(EpochMs(made.created))) }
                        td.code role="cell" data-label="Provider" { (made.reversal) }
                        td role="cell" data-label="Record" { (maybe_record(record.as_ref())) }
                    }
                }
            }
        }
    }
}

fn maybe_record(record: Option<&RecordId>) -> Markup {
    match record {
        Some(record) => record_link(record.as_str()),
        None => html! { "–" },
    }
}

/// The entries of one event, also on the page of its record.
pub(super) fn ledger(entries: &[LedgerEntry]) -> Markup {
    html! {
        table {
            caption { "Ledger entries" }
            thead { tr { th scope="col" { "Account" } th.number scope="col" { "Change" } } }
            tbody {
                @for entry in entries {
                    tr {
                        td { (entry.account) }
                        td.money.number { (format::money(&entry.amount.to_string(), entry.currency.code())) }
                    }
                }
            }
        }
    }
}
