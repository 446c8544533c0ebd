//! The home page as JSON.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Answer, at_risk};
use crate::extract::Caller;
use crate::format;
use crate::lists::overview::{AGES, Group};
use crate::queues::Depth;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/home", get(home))
}

async fn home(State(console): State<Arc<Console>>, caller: Caller) -> Answer {
    let home = console.home().await?;
    let operations = home.overview.by_operation.iter().map(|(operation, group)| {
        let mut row = group_json(group);
        row["operation"] = operation.to_string().into();
        row
    });
    let body = json!({
        "at": format::rfc3339(home.at),
        "unresolved": group_json(&home.overview.total),
        "operations": operations.collect::<Vec<_>>(),
        "reconciler": {
            "ran": home.reconciler_ran.map(format::rfc3339),
            "late": home.reconciler_is_late(),
        },
        "ledger": depth(&home.depths.ledger),
        "ledger_dead_letters": depth(&home.depths.ledger_dead_letters),
        "follow_up_dead_letters": depth(&home.depths.follow_up_dead_letters),
        "approvals": home.approvals,
        "signals": home.signals,
    });
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}

fn group_json(Group { by_age, summary }: &Group) -> Value {
    let older = by_age.iter().zip(AGES).map(|(count, age_s)| json!({ "age_s": age_s, "count": count }));
    json!({
        "count": summary.count,
        "at_least": summary.at_least,
        "older": older.collect::<Vec<_>>(),
        "oldest": summary.oldest.map(format::rfc3339),
        "at_risk": at_risk(summary),
        "without_amount": summary.without_amount,
    })
}

/// A queue's depth; null if it is not known.
fn depth(depth: &Result<Depth, String>) -> Value {
    match depth {
        Ok(Depth { waiting, in_flight }) => json!({ "waiting": waiting, "in_flight": in_flight }),
        Err(_) => Value::Null,
    }
}
