//! Bulk actions as JSON.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::routing::post;
use axum::{Json, Router};
use payments::AuditKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, preview_json};
use crate::error::ConsoleError;
use crate::extract::Caller;
use crate::request_log::{LogOutcome, LogSummary};
use crate::settlement::bulk::{BulkAction, BulkForm, BulkItem, Hindrance, Looked};
use crate::state::Console;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/bulk/confirm", post(confirm)).route("/bulk/{action}", post(go))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tokens {
    tokens: Vec<String>,
}

async fn go(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(action): Path<BulkAction>,
    form: Result<Json<BulkForm>, JsonRejection>,
) -> Answer {
    // The role is checked first, so a viewer gets the same answer whatever the body is.
    caller.actor.require_operator()?;
    let Json(form) = form?;
    let (actor, invocation) = (&caller.actor, &caller.invocation);
    Ok(match action.settlement() {
        Some(kind) => {
            let items = console.previews(actor, invocation, kind, &form).await?;
            let body = items_json(
                &items,
                |(_, preview)| json!({ "result": "previewed", "preview": preview_json(preview, None) }),
            );
            (LogSummary::new(LogOutcome::Previewed, actor), Json(body))
        }
        None => {
            let items = console.look(actor, invocation, action, &form).await?;
            let body = items_json(&items, looked_json);
            let kind = if action == BulkAction::Ask { AuditKind::Asked } else { AuditKind::Reconciled };
            (LogSummary::audited(kind, actor), Json(body))
        }
    })
}

fn looked_json(looked: &Looked) -> Value {
    match looked {
        Looked::Asked(answer) => {
            let answer = answer.to_json();
            json!({ "result": answer["answer"], "reference": answer["reference"], "detail": answer["detail"] })
        }
        Looked::Searched(search) => json!({ "result": search.as_str(), "detail": search.detail }),
    }
}

async fn confirm(
    State(console): State<Arc<Console>>,
    caller: Caller,
    tokens: Result<Json<Tokens>, JsonRejection>,
) -> Answer {
    caller.actor.require_operator()?;
    let Json(Tokens { tokens }) = tokens?;
    let items = console.confirm_several(&caller.actor, &caller.invocation, tokens).await?;
    let body = items_json(&items, |confirmation| {
        let preview = &confirmation.confirmed;
        let result = if preview.approval.is_some() { "requested" } else { "done" };
        json!({ "result": result, "preview": preview_json(preview, None) })
    });
    Ok((LogSummary::new(LogOutcome::Confirmed, &caller.actor), Json(body)))
}

fn items_json<T>(items: &[BulkItem<T>], show: impl Fn(&T) -> Value) -> Value {
    let items = items.iter().map(|item| {
        let mut row = match &item.result {
            Ok(result) => show(result),
            Err(hindrance) => {
                let ConsoleError { code, detail, .. } = hindrance.error();
                let result = if matches!(hindrance, Hindrance::LeftOut(_)) { "left-out" } else { "problem" };
                json!({ "result": result, "code": code, "detail": detail })
            }
        };
        row["record"] = Some(item.record.as_str()).filter(|record| !record.is_empty()).into();
        row
    });
    json!({ "items": items.collect::<Vec<_>>() })
}
