//! Finding by an id.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};

use super::layout::{csrf, page};
use crate::error::ConsoleError;
use crate::extract::{VerifiedForm, Visitor};
use crate::find::{Finding, Found, Question};
use crate::record::short;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) async fn show(visitor: Visitor) -> (LogSummary, Markup) {
    let content = content(&visitor, &Question::default(), None);
    (LogSummary::shown(&visitor.actor), page("Find", Some(&visitor), content))
}

/// Searches for an id; a single result is opened at once.
pub(super) async fn find(
    State(console): State<Arc<Console>>,
    VerifiedForm { visitor, fields: question }: VerifiedForm<Question>,
) -> Result<Response, ConsoleError> {
    let summary = LogSummary::shown(&visitor.actor);
    let finding = match console.find(&question).await {
        Ok(finding) => finding,
        Err(error) if error.code == "invalid" => Finding { found: Vec::new(), notes: vec![error.detail] },
        Err(error) => return Err(error),
    };
    Ok(match finding.found.as_slice() {
        [found] => (summary, Redirect::to(&address(found))).into_response(),
        _ => (summary, page("Find", Some(&visitor), content(&visitor, &question, Some(&finding)))).into_response(),
    })
}

/// The page of what was found.
pub(crate) fn address(found: &Found) -> String {
    match found {
        Found::Record(id) => format!("/console/records/{}", short(id.as_str())),
        Found::Payment(id) => format!("/console/payments/{id}"),
        Found::Account(account) => format!("/console/accounts/{account}"),
    }
}

fn content(visitor: &Visitor, question: &Question, finding: Option<&Finding>) -> Markup {
    html! {
        h1 { "Find" }
        @if let Some(finding) = finding { (result(finding)) }
        form.card method="post" action="/console/find" {
            (csrf(&visitor.csrf))
            label for="text" { "An id" }
            input #text name="text" value=(question.text) maxlength="2600" spellcheck="false" autocomplete="off";
            p.hint {
                "A payment (" span.code { "pay_…" } "), a refund (" span.code { "ref_…" } "), the provider’s charge ("
                span.code { "pi_…" } "), a transaction id, a record’s id or its first twelve characters, an account. "
                "Or a principal and a key, with a space between them."
            }
            fieldset {
                legend { "Or a client’s key" }
                label for="principal" { "Principal (the subject of the client’s token)" }
                input #principal name="principal" value=(question.principal) maxlength="2048" spellcheck="false" autocomplete="off";
                label for="key" { "Idempotency key" }
                input #key name="key" value=(question.key) maxlength="257" spellcheck="false" autocomplete="off";
            }
            div.buttons { button type="submit" { "Find it" } }
        }
    }
}

fn result(finding: &Finding) -> Markup {
    html! {
        div.problem[finding.found.is_empty()] role="status" {
            @if finding.found.is_empty() { p { strong { "Nothing was found." } } }
            @for note in &finding.notes { p { (note) } }
        }
        @if !finding.found.is_empty() {
            ul { @for found in &finding.found { li { a href=(address(found)) { (title(found)) } } } }
        }
    }
}

fn title(found: &Found) -> String {
    match found {
        Found::Record(id) => format!("Record {}", short(id.as_str())),
        Found::Payment(id) => format!("Payment {id}"),
        Found::Account(account) => format!("Account {account}"),
    }
}
