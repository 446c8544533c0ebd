//! Settling a record: the form, the preview, and the result.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use idempotency::protocol::{EpochMs, Record};
use maud::{Markup, html};
use payments::{Action, ActionKind, AuditKind, Preview};
use serde::Deserialize;

use super::layout::{Time, csrf, page, record_button};
use super::proposal::{reason, record_line, title, what_changes};
use super::{approvals, form, record::evidence};
use crate::details::Details;
use crate::error::{ConsoleError, FieldProblem};
use crate::extract::{NoFields, VerifiedForm, Visitor};
use crate::format::action_title;
use crate::record::short;
use crate::records::own_operation;
use crate::request_log::{LogOutcome, LogSummary};
use crate::settlement::confirmable::Confirmable;
use crate::settlement::confirmation::Loaded;
use crate::settlement::form::SettlementForm;
use crate::state::Console;

/// Asks the provider, writes its answer into the audit, and shows the record with it.
pub(super) async fn ask(
    State(console): State<Arc<Console>>,
    Path(record): Path<String>,
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    let (asked, _) = console.ask_for_audit(&visitor.actor, &visitor.invocation, &record, None).await?;
    let summary = LogSummary::audited(AuditKind::Asked, &visitor.actor).about(&asked);
    Ok((summary, Redirect::to(&format!("/console/records/{record}#audit"))))
}

/// Searches for evidence as the reconciler does, and shows the record with the result.
pub(super) async fn reconcile(
    State(console): State<Arc<Console>>,
    Path(record): Path<String>,
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    let (found, _) = console.reconcile_now(&visitor.actor, &visitor.invocation, &record, None).await?;
    let summary = LogSummary::audited(AuditKind::Reconciled, &visitor.actor).about(&found);
    Ok((summary, Redirect::to(&format!("/console/records/{record}#audit"))))
}

#[derive(Deserialize)]
pub(super) struct FormQuery {
    /// The preview whose input fills the form again.
    from: Option<String>,
}

pub(super) async fn form(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path((record, kind)): Path<(String, ActionKind)>,
    Query(FormQuery { from }): Query<FormQuery>,
) -> Result<(LogSummary, Markup), ConsoleError> {
    visitor.actor.require_operator()?;
    let details = console.details(&record).await?;
    own_operation(&details.record)?;
    let mut form = match from {
        Some(preview) => SettlementForm::of(&Preview::read(&console, &visitor.actor, &preview).await?.proposal),
        None => SettlementForm::default(),
    };
    if form.reference.is_empty() {
        let answer = details.provider.as_ref();
        form.reference = answer.and_then(|answer| answer.reference()).unwrap_or_default().to_owned();
    }
    let content = settlement_form(&visitor, &details, kind, &form, &[]);
    let summary = LogSummary::shown(&visitor.actor).about(&details.record);
    Ok((summary, page(action_title(kind), Some(&visitor), content)))
}

pub(super) async fn preview(
    State(console): State<Arc<Console>>,
    Path((record, kind)): Path<(String, ActionKind)>,
    VerifiedForm { visitor, fields: form }: VerifiedForm<SettlementForm>,
) -> Result<Response, ConsoleError> {
    match console.preview(&visitor.actor, &record, kind, &form).await {
        Ok((preview, record)) => {
            let summary = LogSummary::new(LogOutcome::Previewed, &visitor.actor).about(&record);
            Ok((summary, Redirect::to(&address(&preview))).into_response())
        }
        // The form again, with the operator's input.
        Err(error) if !error.fields.is_empty() => {
            let details = console.details(&record).await?;
            let content = settlement_form(&visitor, &details, kind, &form, &error.fields);
            let summary = error.log_summary().about(&details.record);
            let page = page(action_title(kind), Some(&visitor), content);
            Ok((StatusCode::UNPROCESSABLE_ENTITY, summary, page).into_response())
        }
        Err(error) => Err(error),
    }
}

/// The form, next to the information for the decision.
fn settlement_form(
    visitor: &Visitor,
    details: &Details,
    kind: ActionKind,
    fields: &SettlementForm,
    problems: &[FieldProblem],
) -> Markup {
    let record = &details.record;
    let base = format!("/console/records/{}", short(record.id.as_str()));
    html! {
        h1 { (action_title(kind)) }
        (record_line(record))
        (form::problems(problems))
        (advice(Some(kind)))
        div.beside {
            form.card method="post" action={ (base) "/" (kind.as_str()) } {
                (csrf(&visitor.csrf))
                @match kind {
                    ActionKind::Succeed => (form::input("reference", &fields.reference, problems)),
                    ActionKind::Fail => (form::textarea("evidence", &fields.evidence, problems)),
                    ActionKind::Release => (form::understood(&fields.understood, problems)),
                }
                (form::textarea("reason", &fields.reason, problems))
                div.buttons {
                    button type="submit" { "Preview" }
                    a href=(base) { "Cancel" }
                }
            }
            (evidence(details))
        }
    }
}

/// What an action means for the client, worded so that success and failure cannot be confused.
pub(super) fn advice(kind: Option<ActionKind>) -> Markup {
    match kind {
        Some(ActionKind::Succeed) => html! {
            div.meaning.happened {
                p { strong { "It happened. " } "The customer has paid, or was refunded." }
                p { "The client’s next retry gets the answer that it happened. The payment is recorded and posted." }
            }
        },
        Some(ActionKind::Fail) => html! {
            div.meaning.not-happened {
                p { strong { "It did not happen, and no longer can. " } "The customer has not paid, or was not refunded." }
                p { "The client’s next retry gets the answer that it did not happen. “Not found” at the provider is no evidence: a \
                     frozen attempt may still send its request." }
            }
        },
        Some(ActionKind::Release) => html! {
            div.problem {
                p { strong { "Dangerous. " } "The next call with the key runs again, under a new transaction id, which the \
                    provider cannot distinguish from a new order. If the first attempt did take effect, it happens twice." }
            }
        },
        None => html! {
            p.hint { "Nothing is settled without the provider’s evidence. Each is recorded in the audit." }
        },
    }
}

/// The preview's page: before the confirmation, the action and its changes; after it, a notice that it was done.
pub(super) async fn open_preview(
    State(console): State<Arc<Console>>,
    visitor: Visitor,
    Path(token): Path<String>,
) -> Result<Response, ConsoleError> {
    let summary = LogSummary::shown(&visitor.actor);
    let loaded = match console.load::<Preview>(&visitor.actor, &token).await {
        Ok(loaded) => loaded,
        Err(error) => return Err(with_text(&console, &visitor, &token, error).await),
    };
    Ok(match loaded {
        Loaded::Open(preview, record) => {
            let content = open(&visitor, &preview, &record);
            (summary.about(&record), page("Preview", Some(&visitor), content)).into_response()
        }
        Loaded::Used(preview) => {
            let summary = summary.about_id(&preview.proposal.record);
            match preview.approval {
                Some(approval) => (summary, Redirect::to(&approvals::address(approval))).into_response(),
                None => (summary, page("Done", Some(&visitor), used(&preview))).into_response(),
            }
        }
    })
}

pub(super) async fn confirm(
    State(console): State<Arc<Console>>,
    Path(token): Path<String>,
    VerifiedForm { visitor, fields: NoFields {} }: VerifiedForm<NoFields>,
) -> Result<(LogSummary, Redirect), ConsoleError> {
    let confirmed = console.confirm::<Preview>(&visitor.actor, &visitor.invocation, &token).await;
    let confirmation = match confirmed {
        Ok(confirmation) => confirmation,
        Err(error) => return Err(with_text(&console, &visitor, &token, error).await),
    };
    let preview = &confirmation.confirmed;
    let address = preview.approval.map_or_else(|| address(preview), approvals::address);
    Ok((confirmation.log_summary(&visitor.actor), Redirect::to(&address)))
}

/// An error about a preview, with a link back to the form with the operator's input.
async fn with_text(console: &Console, visitor: &Visitor, token: &str, error: ConsoleError) -> ConsoleError {
    match Preview::read(console, &visitor.actor, token).await {
        Ok(Preview { proposal, .. }) => {
            let (record, verb) = (short(&proposal.record), proposal.action.kind().as_str());
            error.with_form(format!("/console/records/{record}/{verb}?from={token}"))
        }
        Err(_) => error,
    }
}

pub(super) fn address(preview: &Preview) -> String {
    format!("/console/previews/{}", preview.token.simple())
}

fn open(visitor: &Visitor, preview: &Preview, record: &Record) -> Markup {
    let action = &preview.proposal.action;
    let dangerous = *action == Action::Release;
    html! {
        h1 { "Preview: " (title(action)) }
        (record_line(record))
        p { "Nothing is written yet." }
        @if let Action::Succeed { verified: false, .. } = action {
            p.problem {
                "The provider did not answer, so the reference is not verified. If it does not answer at the confirmation "
                "either, another operator must approve this."
            }
        }
        @if dangerous { (advice(Some(ActionKind::Release))) }
        @match action {
            Action::Fail { .. } | Action::Release => p.hint {
                "When you confirm, the provider is queried again, and a tombstone blocks the request’s idempotency key there. "
                "If it happened or still may happen, nothing is done. If the provider gives no evidence, another operator "
                "must approve this."
            },
            Action::Succeed { .. } => {},
        }
        (what_changes(action, record))
        (facts(preview))
        form method="post" action=(address(preview)) {
            (csrf(&visitor.csrf))
            p.hint { "Only you can confirm this, once, until " (Time(EpochMs(preview.expires()))) "." }
            div.buttons {
                button.danger[dangerous] type="submit" { "Confirm: " (title(action)) }
                a href={ "/console/records/" (short(&preview.proposal.record)) } { "Cancel" }
            }
        }
    }
}

fn used(preview: &Preview) -> Markup {
    html! {
        h1 { "Done: " (title(&preview.proposal.action)) }
        p.done role="status" {
            "It was done"
            @if let Some(at) = preview.used { " at " (Time(EpochMs(at))) }
            ". Confirming it again changes nothing."
        }
        (facts(preview))
        p { (record_button(&preview.proposal.record)) }
    }
}

fn facts(preview: &Preview) -> Markup {
    html! { dl.facts { (reason(&preview.proposal)) dt { "Operator" } dd { (preview.actor) } } }
}
