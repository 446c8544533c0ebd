//! One record.

use std::sync::Arc;

use axum::extract::{Path, State};
use idempotency::protocol::{EpochMs, History, HistoryEntry, Record, TransactionId};
use maud::{Markup, html};
use payments::{AccountId, ActionKind, AuditEntry, AuditKind, PaymentId};

use super::layout::{Time, csrf, page, status};
use super::{approvals, audit, payment, timeline};
use crate::auth::Role;
use crate::details::Details;
use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::format;
use crate::provider_status::ProviderAnswer;
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
        p.state data-status=(record.state.status().as_str()) {
            (status(record.state.status().as_str())) " " (details.state(now))
        }
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
        (timeline::picture(details, now))
        (history(record))
        h2 #audit { "Audit" }
        @if details.audit.is_empty() { p.empty { "No manual actions." } } @else {
            (intentions(details))
            (audit::entries(&details.audit))
        }
    }
}

/// Actions that operators were about to carry out, without an audit entry that they did.
fn intentions(details: &Details) -> Markup {
    let is_followed = |entry: &AuditEntry| {
        details.audit.iter().any(|other| other.id == entry.id && matches!(other.kind, AuditKind::Settled(_)))
    };
    html! {
        @for entry in details.audit.iter().filter(|entry| !is_followed(entry)) {
            @if let Some(was_carried_out) = details.was_carried_out(entry) {
                p.hint {
                    (entry.actor) " " (format::audit_event(entry.kind)) ", " (Time(EpochMs(entry.at))) ". "
                    @if was_carried_out { "The history shows that it was done." } @else { "The history does not show that it was done." }
                }
            }
        }
    }
}

/// The information for the decision about a settlement, next to its form.
pub(super) fn evidence(details: &Details) -> Markup {
    let record = &details.record;
    let own = details.payment.as_ref().filter(|payment| payment.id == PaymentId::of(record.transaction));
    html! {
        section.card.evidence aria-labelledby="evidence" {
            h2 #evidence { "What is known" }
            dl.stack {
                dt { "At the provider now" }
                dd.words {
                    @match &details.provider {
                        Some(answer) => (answer.to_text()),
                        None => "It is not queried for a settled record.",
                    }
                }
                dt { "Recorded here under the transaction" }
                dd {
                    @match own {
                        Some(payment) => { "payment " span.code { (payment.id) } },
                        None => "no payment",
                    }
                    ", " (details.entries.len()) " ledger entries"
                }
                @if let Some(entry) = record.history.entries().last() {
                    dt { "Last in the history" } dd { (Time(entry.at)) ": attempt " (entry.attempt) " " (format::event(entry.event)) }
                }
                @if !details.approvals.is_empty() {
                    dt { "Requested already" }
                    dd {
                        @for approval in &details.approvals {
                            a href=(approvals::address(approval.id)) { (format::action_title(approval.proposal.action.kind())) }
                            " by " (approval.requested_by) " "
                        }
                    }
                }
                dt { "Transaction" } dd.code { (record.transaction) }
            }
        }
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
            dt { "Attempts, also to find evidence" } dd { (record.attempt) }
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
        @if let Some(account) = &subject.account { dt { "Account" } dd { (account_link(account)) } }
        @if let Some(payment) = &subject.payment { dt { "Refund of" } dd.code { (payment) } }
    }
}

/// A subject of another application may have any text as its account.
fn account_link(account: &str) -> Markup {
    html! {
        @if AccountId::parse(account).is_some() {
            a href={ "/console/accounts/" (account) } { (account) }
        } @else { (account) }
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
                p { "Every settlement shows a preview first. A lookup settles nothing without the provider’s evidence, and is recorded in the audit." }
                div.buttons {
                    (look(visitor, &base, "ask", "Ask the provider now"))
                    (look(visitor, &base, "reconcile", "Let the reconciler try now"))
                }
                div.choices { @for kind in ActionKind::ALL { (choice(&base, kind)) } }
            },
        }
    }
}

fn look(visitor: &Visitor, base: &str, verb: &str, label: &str) -> Markup {
    html! {
        form method="post" action={ (base) "/" (verb) } {
            (csrf(&visitor.csrf))
            button.quiet type="submit" { (label) }
        }
    }
}

/// An action with its meaning, worded so that success and failure cannot be confused.
fn choice(base: &str, kind: ActionKind) -> Markup {
    let (class, meaning) = match kind {
        ActionKind::Succeed => ("choice happened", "It happened: the customer has paid, or was refunded."),
        ActionKind::Fail => ("choice not-happened", "It did not happen and no longer can: nobody has paid."),
        ActionKind::Release => {
            ("choice dangerous", "It did not happen, and the next call runs again. Dangerous without evidence.")
        }
    };
    html! {
        div class=(class) {
            p { (meaning) }
            a.button href={ (base) "/" (kind.as_str()) } { (format::action_title(kind)) "…" }
        }
    }
}

fn linked(details: &Details) -> Markup {
    html! {
        h2 { "Payment and ledger" }
        @match &details.payment {
            Some(payment) => (payment::facts(payment)),
            None => p.empty { "No payment is recorded." },
        }
        @if details.entries.is_empty() {
            p.empty { "Nothing is posted to the ledger." }
        } @else {
            (payment::ledger(&details.entries))
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
