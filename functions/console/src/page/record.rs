//! One record.

use std::sync::Arc;

use axum::extract::{Path, State};
use idempotency::protocol::{EpochMs, History, HistoryEntry, Record, TransactionId};
use maud::{Markup, html};
use payments::{ActionKind, LedgerEntry, Payment};

use super::layout::{Time, csrf, page, status};
use super::{approvals, audit};
use crate::auth::{Role, Visitor};
use crate::error::ConsoleError;
use crate::format;
use crate::provider_status::ProviderAnswer;
use crate::record::details::Details;
use crate::record::subject::SubjectSummary;
use crate::record::{Openness, short};
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(record): Path<String>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let details = console.details(&record).await?;
    let summary = LogSummary::shown(&visitor.actor).about(&details.record);
    Ok((summary, page("Record", Some(&visitor), content(&visitor, &details, console.now()))))
}

fn content(visitor: &Visitor, details: &Details, now: EpochMs) -> Markup {
    let record = &details.record;
    let openness = Openness::of(record, now);
    html! {
        h1 { "Record " span.code { (short(record.id.as_str()).chars().take(12).collect::<String>()) } }
        p.state { (status(record.state.status().as_str())) " " (details.state(now)) }
        (facts(record, details.subject.as_ref(), details.transaction_before(), now))
        @if let Some(answer) = &details.provider { (provider(answer)) }
        @if !details.approvals.is_empty() {
            h2 #approvals { "Waiting for another operator’s approval" }
            (approvals::entries(&details.approvals))
        }
        @if !details.is_ours {
            p.hint { "This record belongs to another application that shares the table. It cannot be settled here." }
        } @else if openness != Openness::Closed { (actions(visitor, record, openness)) }
        (linked(details))
        h2 #story { "History" }
        (history(record))
        h2 #audit { "Audit" }
        @if details.audit.is_empty() { p.empty { "No manual actions." } } @else { (audit::entries(&details.audit)) }
    }
}

fn facts(record: &Record, subject: Option<&SubjectSummary>, before: Option<TransactionId>, now: EpochMs) -> Markup {
    html! {
        dl.facts {
            dt { "Operation" } dd { (record.operation) }
            @match (subject, &record.subject) {
                (Some(subject), _) => (subject_facts(subject)),
                (None, Some(subject)) => { dt { "Subject" } dd.words { (subject.as_str()) } }
                (None, None) => {}
            }
            dt { "Transaction" } dd.code { (record.transaction) }
            @if let Some(before) = before { dt { "Transaction before the release" } dd.code { (before) } }
            dt { "Attempts" } dd { (record.attempt) }
            dt { "Started" } dd { (Time(record.created)) " " small { (format::duration(now.since(record.created))) " ago" } }
            dt { "Last written" } dd { (Time(record.updated)) }
            dt { "Kept until" }
            dd {
                @match record.expiration() {
                    Some(at) => (Time(EpochMs(at.0.saturating_mul(1000)))),
                    None => "it is settled",
                }
            }
            @if let Some(principal) = &record.principal { dt { "Principal digest" } dd.code { (principal) } }
            dt { "Record" } dd.code { (short(record.id.as_str())) }
        }
    }
}

fn subject_facts(subject: &SubjectSummary) -> Markup {
    html! {
        @if let Some(money) = subject.money() {
            dt { "Amount" }
            dd.money { strong { (money) } " " small { (subject.amount.unwrap_or_default()) " minor units" } }
        }
        @if let Some(account) = &subject.account { dt { "Account" } dd { (account) } }
        @if let Some(payment) = &subject.payment { dt { "Refund of" } dd.code { (payment) } }
    }
}

fn provider(answer: &ProviderAnswer) -> Markup {
    html! {
        section.card aria-labelledby="provider" {
            h2 #provider { "At the provider now" }
            p { (answer.to_text()) }
        }
    }
}

fn actions(visitor: &Visitor, record: &Record, openness: Openness) -> Markup {
    let base = format!("/console/records/{}", short(record.id.as_str()));
    html! {
        @match (visitor.actor.role, openness) {
            (Role::Viewer, _) => p.hint { "You are a viewer. An operator can settle this record." },
            (Role::Operator, Openness::Held(until)) => p.hint {
                "It is held until " (Time(until)) " and cannot be settled before then. Reload this page after that."
            },
            (Role::Operator, Openness::Open | Openness::Closed) => section.card aria-labelledby="actions" {
                h2 #actions { "Settle it" }
                p { "Asking the provider changes nothing and is recorded in the audit. Every other action shows a preview first." }
                div.buttons {
                    form method="post" action={ (base) "/ask" } {
                        (csrf(&visitor.csrf))
                        button.quiet type="submit" { "Ask the provider now" }
                    }
                    @for kind in ActionKind::ALL {
                        a.button.danger[kind == ActionKind::Release] href={ (base) "/" (kind.as_str()) } { (format::action_title(kind)) "…" }
                    }
                }
            },
        }
    }
}

fn linked(details: &Details) -> Markup {
    html! {
        h2 { "Payment and ledger" }
        @match &details.payment {
            Some(payment) => (payment_facts(payment)),
            None => p.empty { "No payment is recorded." },
        }
        @if details.entries.is_empty() {
            p.empty { "Nothing is posted to the ledger." }
        } @else {
            (ledger(&details.entries))
        }
    }
}

fn payment_facts(payment: &Payment) -> Markup {
    let currency = payment.money.currency.code();
    html! {
        dl.facts {
            dt { "Payment" } dd.code { (payment.id) }
            dt { "Amount" } dd.money { (format::money(&payment.money.amount.to_string(), currency)) }
            dt { "Refunded" } dd.money { (format::money(&payment.refunded.to_string(), currency)) }
            dt { "Account" } dd { (payment.account) }
            dt { "Provider’s reference" } dd.code { (payment.intent) }
            @if let Some(reference) = &payment.reference { dt { "Reference" } dd.words { (reference) } }
        }
    }
}

fn ledger(entries: &[LedgerEntry]) -> Markup {
    html! {
        table {
            caption { "Ledger entries" }
            thead { tr { th scope="col" { "Account" } th scope="col" { "Change" } } }
            tbody {
                @for entry in entries {
                    tr { td { (entry.account) } td.money { (format::money(&entry.amount.to_string(), entry.currency.code())) } }
                }
            }
        }
    }
}

fn history(record: &Record) -> Markup {
    html! {
        @if record.history.entries().is_empty() {
            p.empty { "The version that wrote this record kept no history." }
        } @else {
            @if record.history.entries().len() == History::MAX_ENTRIES {
                p.hint { "Only the first entry and the latest " (History::MAX_ENTRIES - 1) " are kept; those between them are gone." }
            }
            ol.story { @for entry in record.history.entries() { (history_entry(entry)) } }
            p.hint { "Of several searches for evidence in a row that found none, the latest is shown." }
        }
    }
}

fn history_entry(entry: &HistoryEntry) -> Markup {
    html! {
        li {
            (Time(entry.at)) " " strong { "Attempt " (entry.attempt) } " " (format::event(entry.event))
            @if let Some(request) = &entry.request { br; small { "Request " span.code { (request) } } }
        }
    }
}
