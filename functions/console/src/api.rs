//! The same as the pages, for scripts: JSON under `/console/api`, with the token in `Authorization`.
//!
//! Amounts are strings of digits: a reader whose numbers are floats must not round money.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use idempotency::protocol::{EpochMs, Record};
use payments::{Action, Approval, AuditCursor, AuditFilter, AuditKind, AuditPage, Preview, TableError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::access::Caller;
use crate::changes::changes;
use crate::confirming::Look;
use crate::console::Console;
use crate::line::Told;
use crate::record::{About, Details, id_of, short};
use crate::refusal::Refusal;
use crate::settling::{NotPreviewed, Verb, Wish};
use crate::unresolved::{Filter, Listing};
use crate::words;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/unresolved", get(unresolved))
        .route("/records/{record}", get(record))
        .route("/records/{record}/ask", post(ask))
        .route("/records/{record}/{verb}", post(preview))
        .route("/previews/{token}", get(look).post(confirm))
        .route("/approvals", get(approvals))
        .route("/approvals/{id}", get(approval).post(approve))
        .route("/audit", get(audit))
        .fallback(nowhere)
}

type Answered = Result<(Told, Json<Value>), Refusal>;

async fn nowhere(_: Caller) -> Refusal {
    Refusal::no_page()
}

async fn unresolved(State(console): State<Arc<Console>>, caller: Caller, Query(filter): Query<Filter>) -> Answered {
    let listing = console.unresolved(&filter).await.map_err(|error| Refusal::unavailable(&error))?;
    let Listing { records, next, summary } = listing;
    let at_risk =
        summary.at_risk.iter().map(|(currency, amount)| json!({ "currency": currency, "amount": amount.to_string() }));
    let body = json!({
        "count": summary.count,
        "at_least": summary.at_least,
        "oldest": summary.oldest.map(words::rfc3339),
        "at_risk": at_risk.collect::<Vec<_>>(),
        "records": records.iter().map(|record| row(record, About::of(record).as_ref())).collect::<Vec<_>>(),
        "next": next.map(|next| next.after),
    });
    Ok((Told::shown(&caller.actor), Json(body)))
}

fn row(record: &Record, about: Option<&About>) -> Value {
    json!({
        "record": short(record.id.as_str()),
        "operation": record.operation,
        "status": record.state.status().as_str(),
        "transaction": record.transaction.to_string(),
        "attempt": record.attempt,
        "created": words::rfc3339(record.created),
        "updated": words::rfc3339(record.updated),
        "principal": record.principal.map(|digest| digest.to_string()),
        "subject": record.subject.as_ref().map(|subject| subject.as_str()),
        "account": about.and_then(|about| about.account.as_ref()),
        "amount": about.and_then(|about| about.amount).map(|amount| amount.to_string()),
        "currency": about.and_then(|about| about.currency.as_ref()),
    })
}

async fn record(State(console): State<Arc<Console>>, caller: Caller, Path(record): Path<String>) -> Answered {
    let Details { record, about, payment, entries, is_ours, provider, approvals, audit } =
        console.details(&record).await?;
    let mut body = row(&record, about.as_ref());
    body["state"] = words::state(&record.state, words::now()).into();
    body["version"] = crate::record::shown(&record).version.into();
    body["expiration"] = record.expiration().map(|at| words::rfc3339(EpochMs(at.0.saturating_mul(1000)))).into();
    body["story"] = record
        .history
        .entries()
        .iter()
        .map(|step| {
            json!({
                "at": words::rfc3339(step.at),
                "attempt": step.attempt,
                "event": words::event(step.event),
                "request": step.request.map(|request| request.to_string()),
            })
        })
        .collect();
    body["ours"] = is_ours.into();
    body["provider"] = provider.as_ref().map(|answer| answer.to_json()).into();
    body["payment"] = payment
        .map(|payment| {
            json!({
                "id": payment.id,
                "account": payment.account,
                "amount": payment.money.amount.to_string(),
                "currency": payment.money.currency,
                "refunded": payment.refunded.to_string(),
                "intent": payment.intent,
            })
        })
        .into();
    body["entries"] = entries
        .iter()
        .map(
            |entry| json!({ "account": entry.account, "amount": entry.amount.to_string(), "currency": entry.currency }),
        )
        .collect();
    body["approvals"] = approvals.iter().map(|approval| approvable(approval, None)).collect();
    body["audit"] = audit.iter().map(words::entry_json).collect();
    Ok((Told::shown(&caller.actor).about(&record), Json(body)))
}

async fn ask(State(console): State<Arc<Console>>, caller: Caller, Path(record): Path<String>) -> Answered {
    let (record, answer) = console.ask_for_audit(&caller.actor, &caller.invocation, &record).await?;
    let told = Told::done(words::audited(AuditKind::Asked), &caller.actor).about(&record);
    Ok((told, Json(answer.to_json())))
}

async fn preview(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path((record, verb)): Path<(String, Verb)>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Response {
    // The role comes first: a viewer is told so whatever the body is.
    if let Err(refusal) = caller.actor.may_act() {
        return refusal.into_response();
    }
    let Json(wish) = match wish {
        Ok(wish) => wish,
        Err(rejection) => return Refusal::invalid(rejection.body_text()).into_response(),
    };
    match console.preview(&caller.actor, &record, verb, &wish).await {
        Ok((preview, record)) => {
            let told = Told::done("previewed", &caller.actor).about(&record);
            (StatusCode::CREATED, told, Json(previewed(&preview, Some(&record)))).into_response()
        }
        Err(NotPreviewed::Refused(refusal)) => refusal.into_response(),
        Err(NotPreviewed::Invalid(problems)) => {
            let problems: Vec<_> = problems.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
            Refusal::invalid(problems.join("; ")).into_response()
        }
    }
}

async fn look(State(console): State<Arc<Console>>, caller: Caller, Path(token): Path<String>) -> Answered {
    let told = Told::shown(&caller.actor);
    Ok(match console.look::<Preview>(&caller.actor, &token).await? {
        Look::Open(preview, record) => (told.about(&record), Json(previewed(&preview, Some(&record)))),
        Look::Used(preview) => (told.about_id(&preview.record), Json(previewed(&preview, None))),
    })
}

async fn confirm(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(token): Path<String>,
) -> Result<(StatusCode, Told, Json<Value>), Refusal> {
    let confirmed = console.confirm::<Preview>(&caller.actor, &caller.invocation, &token).await?;
    // Accepted, but not done.
    let status = if confirmed.warrant.approval.is_some() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, confirmed.told(&caller.actor), Json(previewed(&confirmed.warrant, None))))
}

async fn approvals(State(console): State<Arc<Console>>, caller: Caller) -> Answered {
    let approvals = console.approvals().await?;
    let approvals: Vec<_> = approvals.iter().map(|approval| approvable(approval, None)).collect();
    Ok((Told::shown(&caller.actor), Json(json!({ "approvals": approvals }))))
}

async fn approval(State(console): State<Arc<Console>>, caller: Caller, Path(id): Path<String>) -> Answered {
    let told = Told::shown(&caller.actor);
    Ok(match console.look::<Approval>(&caller.actor, &id).await? {
        Look::Open(approval, record) => (told.about(&record), Json(approvable(&approval, Some(&record)))),
        Look::Used(approval) => (told.about_id(&approval.record), Json(approvable(&approval, None))),
    })
}

async fn approve(State(console): State<Arc<Console>>, caller: Caller, Path(id): Path<String>) -> Answered {
    let approved = console.confirm::<Approval>(&caller.actor, &caller.invocation, &id).await?;
    Ok((approved.told(&caller.actor), Json(approvable(&approved.warrant, None))))
}

/// What the action changes, as long as it is open.
fn changed(action: &Action, record: Option<&Record>) -> Value {
    let Some(record) = record else { return Value::Null };
    let changes = changes(action, record).into_iter();
    changes.map(|change| json!({ "what": change.what, "before": change.before, "after": change.after })).collect()
}

fn approvable(approval: &Approval, record: Option<&Record>) -> Value {
    json!({
        "approval": approval.id.simple().to_string(),
        "record": short(&approval.record),
        "action": approval.action,
        "reason": approval.reason,
        "requested_by": approval.requested_by,
        "provider": approval.provider,
        "shown": words::shown_json(&approval.shown),
        "changes": changed(&approval.action, record),
        "created": words::rfc3339(EpochMs(approval.created)),
        "expires": words::rfc3339(EpochMs(approval.expires())),
        "used": approval.used.as_ref().map(|(_, at)| words::rfc3339(EpochMs(*at))),
        "used_by": approval.used.as_ref().map(|(by, _)| by),
    })
}

fn previewed(preview: &Preview, record: Option<&Record>) -> Value {
    json!({
        "token": preview.token.simple().to_string(),
        "record": short(&preview.record),
        "action": preview.action,
        "reason": preview.reason,
        "actor": preview.actor,
        "shown": words::shown_json(&preview.shown),
        "changes": changed(&preview.action, record),
        "expires": words::rfc3339(EpochMs(preview.expires())),
        "used": preview.used.map(|at| words::rfc3339(EpochMs(at))),
        "approval": preview.approval.map(|id| id.simple().to_string()),
    })
}

/// Which part of the audit is asked for, as the URL has it.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct AuditQuery {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) actor: String,
    /// A record's id as URLs have it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) record: String,
    /// Where the page begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
}

impl AuditQuery {
    pub(crate) fn is_empty(&self) -> bool {
        self.actor.trim().is_empty() && self.record.trim().is_empty()
    }

    fn filter(&self) -> AuditFilter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        // What is no record's id matches nothing, and is not ignored.
        let record = given(&self.record).map(|record| id_of(&record).map_or(record, |id| id.as_str().to_owned()));
        AuditFilter { actor: given(&self.actor), record, since: 0 }
    }
}

impl Console {
    pub(crate) async fn audit(&self, query: &AuditQuery) -> Result<AuditPage, TableError> {
        const PAGE: usize = 25;
        self.table.audit_page(&query.filter(), AuditCursor::parse(&query.after), PAGE).await
    }
}

async fn audit(State(console): State<Arc<Console>>, caller: Caller, Query(query): Query<AuditQuery>) -> Answered {
    let page = console.audit(&query).await.map_err(|error| Refusal::unavailable(&error))?;
    let body = json!({
        "entries": page.entries.iter().map(words::entry_json).collect::<Vec<_>>(),
        "next": page.next.map(|next| next.to_string()),
    });
    Ok((Told::shown(&caller.actor), Json(body)))
}
