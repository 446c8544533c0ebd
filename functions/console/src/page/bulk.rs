//! One action for several records: choosing it, the previews, and the results.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use idempotency::protocol::Record;
use maud::{Markup, html};
use payments::{ActionKind, AuditKind, Preview};
use serde::Deserialize;

use super::form;
use super::layout::{Mark, csrf, mark, page, record_link, status};
use super::unknown_list::at_risk;
use super::{approvals, settle};
use crate::error::{ConsoleError, FieldProblem};
use crate::extract::{VerifiedForm, Visitor};
use crate::lists::unknown::{Item, Summary};
use crate::record::subject::SubjectSummary;
use crate::record::{short, snapshot};
use crate::request_log::{LogOutcome, LogSummary};
use crate::settlement::bulk::{BulkAction, BulkForm, BulkItem, Hindrance, Looked};
use crate::settlement::confirmation::Confirmation;
use crate::state::Console;

/// The fields of the page's form; records and tokens are each one string, separated by spaces.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Fields {
    action: String,
    records: String,
    name: String,
    evidence: String,
    reason: String,
    understood: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tokens {
    tokens: String,
}

impl Fields {
    fn action(&self) -> Result<BulkAction, ConsoleError> {
        BulkAction::parse(&self.action).ok_or_else(|| ConsoleError::invalid("Choose an action."))
    }

    fn form(&self) -> BulkForm {
        let Self { action: _, records, name, evidence, reason, understood } = self.clone();
        // `RECORD`, or `RECORD.VERSION` once the page has shown it.
        let words = words(&records);
        let seen = words.iter().filter_map(|word| word.split_once('.'));
        let seen = seen.map(|(record, version)| (record.to_owned(), version.to_owned())).collect();
        let records = words.iter().map(|word| word.split('.').next().unwrap_or_default().to_owned()).collect();
        BulkForm { records, seen, name, evidence, reason, understood }
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// The form of the action, with the records that were chosen in the list.
pub(super) async fn choose(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    visitor.actor.require_operator()?;
    let of = |name: &str| {
        pairs.iter().filter(|(other, _)| other == name).map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    let fields = Fields { action: of("action").concat(), records: of("record").join(" "), ..Fields::default() };
    let action = fields.action()?;
    let records = console.chosen(&fields.form()).await?;
    let content = chosen(&visitor, action, &fields, &records, &[]);
    Ok((LogSummary::shown(&visitor.actor), page(action.title(), Some(&visitor), content)))
}

/// Queries the provider or searches for evidence at once, and makes previews of settlements.
pub(super) async fn go(
    State(console): State<Arc<Console>>,
    VerifiedForm { visitor, fields }: VerifiedForm<Fields>,
) -> Result<Response, ConsoleError> {
    let (action, form) = (fields.action()?, fields.form());
    let (actor, invocation) = (&visitor.actor, &visitor.invocation);
    let shown = match action.settlement() {
        Some(kind) => {
            let previews = console.previews(actor, invocation, kind, &form).await;
            previews.map(|items| (LogSummary::new(LogOutcome::Previewed, actor), previewed(&visitor, action, &items)))
        }
        None => {
            let looked = console.look(actor, invocation, action, &form).await;
            looked.map(|items| {
                let kind = if action == BulkAction::Ask { AuditKind::Asked } else { AuditKind::Reconciled };
                (LogSummary::audited(kind, actor), looked_at(action, &items))
            })
        }
    };
    match shown {
        Ok((summary, content)) => Ok((summary, page(action.title(), Some(&visitor), content)).into_response()),
        // The form again, with the operator's input.
        Err(error) if !error.fields.is_empty() => {
            let records = console.chosen(&form).await?;
            let content = chosen(&visitor, action, &fields, &records, &error.fields);
            let page = page(action.title(), Some(&visitor), content);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, error.log_summary(), page).into_response())
        }
        Err(error) => Err(error),
    }
}

pub(super) async fn confirm(
    State(console): State<Arc<Console>>,
    VerifiedForm { visitor, fields: Tokens { tokens } }: VerifiedForm<Tokens>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    let items = console.confirm_several(&visitor.actor, &visitor.invocation, words(&tokens)).await?;
    let summary = LogSummary::new(LogOutcome::Confirmed, &visitor.actor);
    Ok((summary, page("Results", Some(&visitor), confirmed(&items))))
}

fn chosen(
    visitor: &Visitor,
    action: BulkAction,
    fields: &Fields,
    items: &[BulkItem<Record>],
    problems: &[FieldProblem],
) -> Markup {
    let records: Vec<_> = items.iter().filter_map(|item| item.result.as_ref().ok()).collect();
    let version = |record: &Record| format!("{}.{}", short(record.id.as_str()), snapshot(record).version);
    let words: Vec<_> = records.iter().map(|record| version(record)).collect();
    html! {
        h1 { (action.title()) ": " (records.len()) @if records.len() == 1 { " record" } @else { " records" } }
        (form::problems(problems))
        (settle::advice(action.settlement()))
        div.beside {
            form.card method="post" action="/console/bulk" {
                (csrf(&visitor.csrf))
                input type="hidden" name="action" value=(action.as_str());
                input type="hidden" name="records" value=(words.join(" "));
                (form::input("name", &fields.name, problems))
                @match action.settlement() {
                    None => {}
                    Some(kind) => {
                        @match kind {
                            ActionKind::Succeed => p.hint { "The provider gives the reference for each; records for which it has none are left as they are." },
                            ActionKind::Fail => (form::textarea("evidence", &fields.evidence, problems)),
                            ActionKind::Release => (form::understood(&fields.understood, problems)),
                        }
                        (form::textarea("reason", &fields.reason, problems))
                    }
                }
                div.buttons {
                    button type="submit" { @if action.settlement().is_some() { "Preview" } @else { (action.title()) } }
                    a href="/console/unresolved" { "Cancel" }
                }
            }
            section.card aria-labelledby="records" {
                h2 #records { "The records" }
                ul { @for record in &records { li { (line(record)) } } }
                @if items.len() > records.len() {
                    h3 { "Left out" }
                    ul {
                        @for item in items {
                            @if let Err(hindrance) = &item.result {
                                li { (record_link(&item.record)) ": " (hindrance.error().detail) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn line(record: &Record) -> Markup {
    html! { (status(record.state.status().as_str())) " " (record_link(record.id.as_str())) " " (about(record)) }
}

fn about(record: &Record) -> Markup {
    let subject = SubjectSummary::of(record).unwrap_or_default();
    html! {
        (record.operation)
        @if let Some(money) = subject.money() { ", " span.money { (money) } }
        @if let Some(account) = &subject.account { " for " (account) }
    }
}

fn looked_at(action: BulkAction, items: &[BulkItem<Looked>]) -> Markup {
    html! {
        h1 { "Results: " (action.title()) }
        (results(items, |looked| html! { (mark(Mark::Good, "done")) " " (looked.detail()) }))
        p { a.button href="/console/unresolved" { "Back to the list" } }
    }
}

fn previewed(visitor: &Visitor, action: BulkAction, items: &[BulkItem<(Record, Preview)>]) -> Markup {
    let previews: Vec<_> = items.iter().filter_map(|item| item.result.as_ref().ok()).collect();
    let tokens: Vec<_> = previews.iter().map(|(_, preview)| preview.token.simple().to_string()).collect();
    let mut summary = Summary::default();
    previews.iter().for_each(|(record, _)| {
        summary.add(&Item { record: record.clone(), subject: SubjectSummary::of(record) });
    });
    html! {
        h1 { "Preview: " (action.title()) }
        p { "Nothing is written yet." }
        (results(items, |(record, preview)| html! {
            (about(record)) ". " a href=(settle::address(preview)) { "What changes" }
            @if let Some(evidence) = preview.proposal.action.evidence() { br; small.words { (evidence) } }
        }))
        @if let Some((_, preview)) = previews.first() {
            dl.facts {
                dt { "Together" } dd { (at_risk(&summary)) }
                dt { "Reason" } dd.words { (preview.proposal.reason) }
            }
        }
        @if tokens.is_empty() {
            p { a.button href="/console/unresolved" { "Back to the list" } }
        } @else {
            form method="post" action="/console/bulk/confirm" {
                (csrf(&visitor.csrf))
                input type="hidden" name="tokens" value=(tokens.join(" "));
                p.hint { "Each is checked and confirmed on its own; without evidence, another operator’s approval is requested." }
                div.buttons {
                    button.danger[action == BulkAction::Release] type="submit" {
                        "Confirm " (tokens.len()) ": " (action.title())
                    }
                    a href="/console/unresolved" { "Cancel" }
                }
            }
        }
    }
}

fn confirmed(items: &[BulkItem<Confirmation<Preview>>]) -> Markup {
    let confirmations = items.iter().filter_map(|item| item.result.as_ref().ok());
    let is_requested = |confirmation: &&Confirmation<Preview>| {
        confirmation.done.as_ref().is_some_and(|(kind, _)| *kind == AuditKind::Requested)
    };
    let waiting = confirmations.filter(is_requested).count();
    html! {
        h1 { "Results" }
        @if waiting > 0 {
            p #waiting {
                (waiting) " of them: nothing is settled before another operator approves it. "
                a href="/console/approvals" { "Approvals" }
            }
        }
        (results(items, |confirmation| match (&confirmation.confirmed.approval, &confirmation.done) {
            (Some(approval), _) => html! { "waits for " a href=(approvals::address(*approval)) { "another operator’s approval" } },
            (None, Some((AuditKind::Settled(_), _))) => html! { (mark(Mark::Good, "done")) },
            (None, _) => html! { "was done before" },
        }))
        p { a.button href="/console/unresolved" { "Back to the list" } }
    }
}

fn results<T>(items: &[BulkItem<T>], show: impl Fn(&T) -> Markup) -> Markup {
    let done = items.iter().filter(|item| item.result.is_ok()).count();
    let left_out = items.iter().filter(|item| matches!(item.result, Err(Hindrance::LeftOut(_)))).count();
    html! {
        p role="status" {
            (done) " of " (items.len() - left_out) " without a problem."
            @match left_out {
                0 => {}
                1 => " One was left out, and nothing is done to it.",
                more => { " " (more) " were left out, and nothing is done to them." }
            }
        }
        table.stacked role="table" {
            caption.hidden { "The result for each record" }
            thead role="rowgroup" {
                tr role="row" { @for name in ["Record", "Result"] { th role="columnheader" scope="col" { (name) } } }
            }
            tbody role="rowgroup" {
                @for item in items {
                    tr role="row" {
                        td role="cell" data-label="Record" {
                            @if item.record.is_empty() { "–" } @else { (record_link(&item.record)) }
                        }
                        td role="cell" data-label="Result" {
                            @match &item.result {
                                Ok(result) => (show(result)),
                                Err(Hindrance::LeftOut(error)) => { "Left out. " (error.detail) },
                                Err(Hindrance::Problem(error)) => { (mark(Mark::Bad, error.code)) " " (error.detail) },
                            }
                        }
                    }
                }
            }
        }
    }
}
