//! The pages' content as JSON, for scripts: under `/console/api`, with the token in `Authorization`.
//!
//! Amounts are strings of digits: a client whose numbers are floats must not round money.

mod bulk;
mod dead_letters;
mod find;
mod home;
mod signals;

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use idempotency::protocol::{EpochMs, Record};
use payments::{Action, ActionKind, Approval, AuditEntry, AuditKind, LedgerEntry, Payment, Preview};
use serde_json::{Value, json};

use crate::details::Details;
use crate::document;
use crate::error::ConsoleError;
use crate::extract::Caller;
use crate::format;
use crate::lists::audit::AuditQuery;
use crate::lists::export::Export;
use crate::lists::unknown::{Filter, Listing, Summary};
use crate::record::{short, snapshot};
use crate::request_log::{LogOutcome, LogSummary};
use crate::settlement::changes::changes;
use crate::settlement::confirmation::Loaded;
use crate::settlement::form::SettlementForm;
use crate::state::Console;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/unresolved", get(unknown_list))
        .route("/unresolved.csv", get(csv))
        .route("/unresolved.jsonl", get(json_lines))
        .route("/records/{record}", get(record))
        .route("/records/{record}/ask", post(ask))
        .route("/records/{record}/reconcile", post(reconcile))
        .route("/records/{record}/{verb}", post(preview))
        .route("/previews/{token}", get(open_preview).post(confirm))
        .route("/approvals", get(approvals))
        .route("/approvals/{id}", get(open_approval).post(approve))
        .route("/audit", get(audit))
        .merge(home::routes())
        .merge(find::routes())
        .merge(bulk::routes())
        .merge(dead_letters::routes())
        .merge(signals::routes())
        .fallback(not_found)
}

type Answer = Result<(LogSummary, Json<Value>), ConsoleError>;

async fn not_found(_: Caller) -> ConsoleError {
    ConsoleError::no_page()
}

async fn unknown_list(State(console): State<Arc<Console>>, caller: Caller, Query(filter): Query<Filter>) -> Answer {
    let Listing { items, first, previous, next, summary } = console.unknown_list(&filter).await?;
    let body = json!({
        "count": summary.count,
        "at_least": summary.at_least,
        "oldest": summary.oldest.map(format::rfc3339),
        "at_risk": at_risk(&summary),
        "without_amount": summary.without_amount,
        "records": items.iter().map(|item| document::row(&item.record, item.subject.as_ref())).collect::<Vec<_>>(),
        "first": first.filter(|_| !items.is_empty()),
        "previous": previous.map(|previous| previous.after),
        "next": next.map(|next| next.after),
    });
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}

fn at_risk(summary: &Summary) -> Vec<Value> {
    let at_risk = summary.at_risk.iter();
    at_risk.map(|(currency, amount)| json!({ "currency": currency, "amount": amount.to_string() })).collect()
}

async fn csv(State(console): State<Arc<Console>>, caller: Caller, Query(filter): Query<Filter>) -> Exported {
    export(&console, &caller, &filter, Export::Csv).await
}

async fn json_lines(State(console): State<Arc<Console>>, caller: Caller, Query(filter): Query<Filter>) -> Exported {
    export(&console, &caller, &filter, Export::JsonLines).await
}

type Exported = Result<(LogSummary, Response), ConsoleError>;

async fn export(console: &Console, caller: &Caller, filter: &Filter, export: Export) -> Exported {
    let window = console.unknown_window(filter).await?;
    Ok((LogSummary::shown(&caller.actor), export.response(&window)))
}

async fn record(State(console): State<Arc<Console>>, caller: Caller, Path(record): Path<String>) -> Answer {
    let details = console.details(&record).await?;
    let (state, before) = (details.state(console.now()), details.transaction_before());
    let audit: Vec<Value> = details.audit.iter().map(|entry| audit_json(&details, entry)).collect();
    let Details { record, subject, payment, entries, is_ours, provider, approvals, audit: _ } = details;
    let mut body = document::row(&record, subject.as_ref());
    body["state"] = state.into();
    body["transaction_before_release"] = before.map(|before| before.to_string()).into();
    body["version"] = snapshot(&record).version.into();
    body["expiration"] = record.expiration().map(|at| format::rfc3339(EpochMs(at.0.saturating_mul(1000)))).into();
    body["story"] = record
        .history
        .entries()
        .iter()
        .map(|entry| {
            json!({
                "at": format::rfc3339(entry.at),
                "attempt": entry.attempt,
                "event": format::event(entry.event),
                "request": entry.request.map(|request| request.to_string()),
            })
        })
        .collect();
    body["ours"] = is_ours.into();
    body["provider"] = provider.as_ref().map(|answer| answer.to_json()).into();
    body["payment"] = payment.as_ref().map(payment_json).into();
    body["entries"] = entries.iter().map(entry_json).collect();
    body["approvals"] = approvals.iter().map(|approval| approval_json(approval, None)).collect();
    body["audit"] = audit.into();
    Ok((LogSummary::shown(&caller.actor).about(&record), Json(body)))
}

/// An audit entry of one record, with whether an announced action was carried out.
fn audit_json(details: &Details, entry: &AuditEntry) -> Value {
    let mut shown = document::audit_entry(entry);
    if let Some(was_carried_out) = details.was_carried_out(entry) {
        shown["carried_out"] = was_carried_out.into();
    }
    shown
}

fn entry_json(entry: &LedgerEntry) -> Value {
    json!({ "account": entry.account, "amount": entry.amount.to_string(), "currency": entry.currency })
}

fn payment_json(payment: &Payment) -> Value {
    json!({
        "id": payment.id,
        "account": payment.account,
        "amount": payment.money.amount.to_string(),
        "currency": payment.money.currency,
        "refunded": payment.refunded.to_string(),
        "intent": payment.intent,
    })
}

async fn ask(State(console): State<Arc<Console>>, caller: Caller, Path(record): Path<String>) -> Answer {
    let (record, answer) = console.ask_for_audit(&caller.actor, &caller.invocation, &record, None).await?;
    Ok((LogSummary::audited(AuditKind::Asked, &caller.actor).about(&record), Json(answer.to_json())))
}

async fn reconcile(State(console): State<Arc<Console>>, caller: Caller, Path(record): Path<String>) -> Answer {
    let (record, search) = console.reconcile_now(&caller.actor, &caller.invocation, &record, None).await?;
    let summary = LogSummary::audited(AuditKind::Reconciled, &caller.actor).about(&record);
    Ok((summary, Json(json!({ "result": search.as_str(), "detail": search.detail }))))
}

async fn preview(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path((record, kind)): Path<(String, ActionKind)>,
    form: Result<Json<SettlementForm>, JsonRejection>,
) -> Result<(StatusCode, LogSummary, Json<Value>), ConsoleError> {
    // The role is checked first, so a viewer gets the same answer whatever the body is.
    caller.actor.require_operator()?;
    let Json(form) = form?;
    let (preview, record) = console.preview(&caller.actor, &record, kind, &form).await?;
    let summary = LogSummary::new(LogOutcome::Previewed, &caller.actor).about(&record);
    Ok((StatusCode::CREATED, summary, Json(preview_json(&preview, Some(&record)))))
}

async fn open_preview(State(console): State<Arc<Console>>, caller: Caller, Path(token): Path<String>) -> Answer {
    let summary = LogSummary::shown(&caller.actor);
    Ok(match console.load::<Preview>(&caller.actor, &token).await? {
        Loaded::Open(preview, record) => (summary.about(&record), Json(preview_json(&preview, Some(&record)))),
        Loaded::Used(preview) => (summary.about_id(&preview.proposal.record), Json(preview_json(&preview, None))),
    })
}

async fn confirm(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<(StatusCode, LogSummary, Json<Value>), ConsoleError> {
    let confirmation = console.confirm::<Preview>(&caller.actor, &caller.invocation, &token).await?;
    let preview = &confirmation.confirmed;
    // The request for approval is accepted, but nothing is settled yet.
    let status = if preview.approval.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, confirmation.log_summary(&caller.actor), Json(preview_json(preview, None))))
}

async fn approvals(State(console): State<Arc<Console>>, caller: Caller) -> Answer {
    let approvals = console.approvals().await?;
    let approvals: Vec<_> = approvals.iter().map(|approval| approval_json(approval, None)).collect();
    Ok((LogSummary::shown(&caller.actor), Json(json!({ "approvals": approvals }))))
}

async fn open_approval(State(console): State<Arc<Console>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let summary = LogSummary::shown(&caller.actor);
    Ok(match console.load::<Approval>(&caller.actor, &id).await? {
        Loaded::Open(approval, record) => (summary.about(&record), Json(approval_json(&approval, Some(&record)))),
        Loaded::Used(approval) => (summary.about_id(&approval.proposal.record), Json(approval_json(&approval, None))),
    })
}

async fn approve(State(console): State<Arc<Console>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let approval = console.confirm::<Approval>(&caller.actor, &caller.invocation, &id).await?;
    Ok((approval.log_summary(&caller.actor), Json(approval_json(&approval.confirmed, None))))
}

async fn audit(State(console): State<Arc<Console>>, caller: Caller, Query(query): Query<AuditQuery>) -> Answer {
    let page = console.audit(&query).await?;
    let body = json!({
        "entries": page.entries.iter().map(document::audit_entry).collect::<Vec<_>>(),
        "next": page.next.map(|next| next.to_string()),
    });
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}

/// The changes that an action makes; null after it was done.
fn changes_json(action: &Action, record: Option<&Record>) -> Value {
    let Some(record) = record else { return Value::Null };
    let changes = changes(action, record).into_iter();
    changes.map(|change| json!({ "what": change.what, "before": change.before, "after": change.after })).collect()
}

fn approval_json(approval: &Approval, record: Option<&Record>) -> Value {
    let proposal = &approval.proposal;
    json!({
        "approval": approval.id.simple().to_string(),
        "record": short(&proposal.record),
        "action": proposal.action,
        "reason": proposal.reason,
        "requested_by": approval.requested_by,
        "provider": approval.provider,
        "shown": document::snapshot(&proposal.shown),
        "changes": changes_json(&proposal.action, record),
        "created": format::rfc3339(EpochMs(approval.created)),
        "expires": format::rfc3339(EpochMs(approval.expires())),
        "used": approval.used.as_ref().map(|(_, at)| format::rfc3339(EpochMs(*at))),
        "used_by": approval.used.as_ref().map(|(by, _)| by),
    })
}

fn preview_json(preview: &Preview, record: Option<&Record>) -> Value {
    let proposal = &preview.proposal;
    json!({
        "token": preview.token.simple().to_string(),
        "record": short(&proposal.record),
        "action": proposal.action,
        "reason": proposal.reason,
        "actor": preview.actor,
        "shown": document::snapshot(&proposal.shown),
        "changes": changes_json(&proposal.action, record),
        "expires": format::rfc3339(EpochMs(preview.expires())),
        "used": preview.used.map(|at| format::rfc3339(EpochMs(at))),
        "approval": preview.approval.map(|id| id.simple().to_string()),
    })
}
