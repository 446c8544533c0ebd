//! Finding, payments and accounts as JSON.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use idempotency::protocol::EpochMs;
use payments::{Made, Refund};
use serde_json::{Value, json};

use super::{Answer, entry_json, payment_json};
use crate::document;
use crate::extract::Caller;
use crate::find::{Found, Question};
use crate::format;
use crate::lists::found::RefundsFrom;
use crate::page::find::address;
use crate::record::short;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/find", post(find))
        .route("/payments/{id}", get(payment))
        .route("/accounts/{account}", get(account))
}

async fn find(
    State(console): State<Arc<Console>>,
    caller: Caller,
    question: Result<Json<Question>, JsonRejection>,
) -> Answer {
    let Json(question) = question?;
    let finding = console.find(&question).await?;
    let found: Vec<_> = finding.found.iter().map(found_json).collect();
    Ok((LogSummary::shown(&caller.actor), Json(json!({ "found": found, "notes": finding.notes }))))
}

fn found_json(found: &Found) -> Value {
    let (kind, id) = match found {
        Found::Record(id) => ("record", short(id.as_str()).to_owned()),
        Found::Payment(id) => ("payment", id.to_string()),
        Found::Account(account) => ("account", account.to_string()),
    };
    json!({ "kind": kind, "id": id, "page": address(found) })
}

async fn payment(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(id): Path<String>,
    Query(RefundsFrom { after }): Query<RefundsFrom>,
) -> Answer {
    let details = console.payment_details(&id, after.as_deref()).await?;
    let mut body = payment_json(&details.payment.made);
    body["created"] = format::rfc3339(EpochMs(details.payment.made.created)).into();
    body["transaction"] = details.payment.made.id.transaction().to_string().into();
    body["record"] = details.payment.record.as_ref().map(|id| short(id.as_str())).into();
    body["record_status"] = details.record.as_ref().map(|record| record.state.status().as_str()).into();
    body["refunds"] = details.refunds.refunds.iter().map(refund_json).collect();
    body["next"] = details.next().map(|next| next.to_string()).into();
    body["entries"] = details.entries.iter().map(entry_json).collect();
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}

fn refund_json(Made { made, record }: &Made<Refund>) -> Value {
    json!({
        "id": made.id,
        "amount": made.money.amount.to_string(),
        "currency": made.money.currency,
        "reversal": made.reversal,
        "created": format::rfc3339(EpochMs(made.created)),
        "record": record.as_ref().map(|id| short(id.as_str())),
    })
}

async fn account(State(console): State<Arc<Console>>, caller: Caller, Path(id): Path<String>) -> Answer {
    let details = console.account_details(&id).await?;
    let balances = details.account.iter().flat_map(|account| &account.balances).map(|balance| {
        json!({ "currency": balance.currency, "balance": balance.balance.to_string(), "entries": balance.entries })
    });
    let postings = details.postings.iter().map(|posted| {
        let mut entry = entry_json(&posted.entry);
        entry["transaction"] = posted.event.to_string().into();
        entry["payment"] = posted.payment.map(|payment| payment.to_string()).into();
        entry["terminal"] = posted.terminal.clone().into();
        entry
    });
    let unresolved = details.unresolved.iter().map(|item| document::row(&item.record, item.subject.as_ref()));
    let body = json!({
        "account": details.id,
        "balances": balances.collect::<Vec<_>>(),
        "entries": postings.collect::<Vec<_>>(),
        "unresolved": unresolved.collect::<Vec<_>>(),
        "unresolved_count": details.unresolved_count,
        "at_least": details.at_least,
    });
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}
