//! One record.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use idempotency::protocol::{HistoryEntry, Record};
use maud::{Markup, html};
use payments::{LedgerEntry, Payment};

use super::approvals;
use super::audit::entries;
use super::layout::{Time, csrf, page, status};
use super::refused;
use crate::access::{Role, Visit};
use crate::asking::Answer;
use crate::console::Console;
use crate::line::Told;
use crate::record::{About, Details, Standing, short};
use crate::settling::Verb;
use crate::words;

pub(super) async fn show(State(console): State<Arc<Console>>, visit: Visit, Path(record): Path<String>) -> Response {
    match console.details(&record).await {
        Ok(details) => {
            let told = Told::shown(&visit.actor).about(&details.record);
            (told, page("Record", Some(&visit), content(&visit, &details))).into_response()
        }
        Err(refusal) => refused(Some(&visit), &refusal),
    }
}

fn content(visit: &Visit, details: &Details) -> Markup {
    let record = &details.record;
    let standing = Standing::of(record, words::now());
    html! {
        h1 { "Record " span.code { (short(record.id.as_str()).chars().take(12).collect::<String>()) } }
        p.state { (status(record.state.status().as_str())) " " (words::state(&record.state, words::now())) }
        (facts(record, details.about.as_ref()))
        @if let Some(answer) = &details.provider { (provider(answer)) }
        @if !details.approvals.is_empty() {
            h2 #approvals { "Waits for another operator’s approval" }
            (approvals::entries(&details.approvals))
        }
        @if !details.is_ours {
            p.hint { "It is a record of another application that shares the table. Nothing can be done about it here." }
        } @else if standing != Standing::Closed { (actions(visit, record, standing)) }
        (linked(details))
        h2 #story { "History" }
        (history(record))
        h2 #audit { "Audit" }
        @if details.audit.is_empty() { p.empty { "Nothing was done by hand." } } @else { (entries(&details.audit)) }
    }
}

fn facts(record: &Record, about: Option<&About>) -> Markup {
    html! {
        dl.facts {
            dt { "Operation" } dd { (record.operation) }
            @match (about, &record.subject) {
                (Some(about), _) => (subject(about)),
                (None, Some(subject)) => { dt { "About" } dd.words { (subject.as_str()) } }
                (None, None) => {}
            }
            dt { "Transaction" } dd.code { (record.transaction) }
            dt { "Attempts" } dd { (record.attempt) }
            dt { "Began" } dd { (Time(record.created)) " " small { (words::duration(words::now().since(record.created))) " ago" } }
            dt { "Last written" } dd { (Time(record.updated)) }
            dt { "Kept until" }
            dd {
                @match record.expiration() {
                    Some(at) => (Time(idempotency::protocol::EpochMs(at.0.saturating_mul(1000)))),
                    None => "it is settled",
                }
            }
            @if let Some(principal) = &record.principal { dt { "Principal’s digest" } dd.code { (principal) } }
            dt { "Record" } dd.code { (short(record.id.as_str())) }
        }
    }
}

fn subject(about: &About) -> Markup {
    html! {
        @if let Some(money) = about.money() {
            dt { "Amount" }
            dd.money { strong { (money) } " " small { (about.amount.unwrap_or_default()) " minor units" } }
        }
        @if let Some(account) = &about.account { dt { "Account" } dd { (account) } }
        @if let Some(payment) = &about.payment { dt { "Refund of" } dd.code { (payment) } }
    }
}

fn provider(answer: &Answer) -> Markup {
    html! {
        section.card aria-labelledby="provider" {
            h2 #provider { "What the provider says now" }
            p { (answer.in_words()) }
        }
    }
}

fn actions(visit: &Visit, record: &Record, standing: Standing) -> Markup {
    let base = format!("/console/records/{}", short(record.id.as_str()));
    html! {
        @match (visit.actor.role, standing) {
            (Role::Viewer, _) => p.hint { "You are a viewer. An operator can settle this record." },
            (Role::Operator, Standing::Held(until)) => p.hint {
                "It is held until " (Time(until)) ", and cannot be settled before. Reload this page then."
            },
            (Role::Operator, Standing::Open | Standing::Closed) => section.card aria-labelledby="actions" {
                h2 #actions { "Settle it" }
                p { "Asking changes nothing, and is noted in the audit. The others first show what they will do." }
                div.buttons {
                    form method="post" action={ (base) "/ask" } {
                        (csrf(&visit.csrf))
                        button.quiet type="submit" { "Ask the provider now" }
                    }
                    @for verb in Verb::ALL {
                        a.button.danger[verb == Verb::Release] href={ (base) "/" (verb.as_str()) } { (verb.title()) "…" }
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
            p.empty { "Nothing of it is posted to the ledger." }
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
            dt { "Amount" } dd.money { (words::money(&payment.money.amount.to_string(), currency)) }
            dt { "Refunded" } dd.money { (words::money(&payment.refunded.to_string(), currency)) }
            dt { "Account" } dd { (payment.account) }
            dt { "At the provider" } dd.code { (payment.intent) }
            @if let Some(reference) = &payment.reference { dt { "Reference" } dd.words { (reference) } }
        }
    }
}

fn ledger(entries: &[LedgerEntry]) -> Markup {
    html! {
        table {
            caption { "Entries in the ledger" }
            thead { tr { th scope="col" { "Account" } th scope="col" { "Change" } } }
            tbody {
                @for entry in entries {
                    tr { td { (entry.account) } td.money { (words::money(&entry.amount.to_string(), entry.currency.code())) } }
                }
            }
        }
    }
}

fn history(record: &Record) -> Markup {
    html! {
        @if record.history.entries().is_empty() {
            p.empty { "It was written by a version that told no stories." }
        } @else {
            ol.history { @for step in record.history.entries() { (told(step)) } }
        }
    }
}

fn told(step: &HistoryEntry) -> Markup {
    html! {
        li {
            (Time(step.at)) " " strong { "Attempt " (step.attempt) } " " (words::event(step.event))
            @if let Some(request) = &step.request { br; small { "request " span.code { (request) } } }
        }
    }
}
