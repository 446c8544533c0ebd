//! The ledger's dead letters as JSON.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use payments::{AuditKind, Message};
use serde_json::{Value, json};

use super::Answer;
use crate::extract::Caller;
use crate::format;
use crate::queues::DeadLetter;
use crate::request_log::LogSummary;
use crate::state::Console;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/dead-letters", get(list)).route("/dead-letters/{message}", post(redrive))
}

async fn list(State(console): State<Arc<Console>>, caller: Caller) -> Answer {
    let letters = console.dead_letters().await?;
    let letters: Vec<_> = letters.iter().map(letter_json).collect();
    Ok((LogSummary::shown(&caller.actor), Json(json!({ "messages": letters }))))
}

fn letter_json(letter: &DeadLetter) -> Value {
    let mut row = json!({
        "message": letter.id,
        "sent": letter.sent.map(format::rfc3339),
        "payment": null, "transaction": null, "terminal": null, "sequence": null,
        "account": null, "amount": null, "currency": null, "problem": null,
    });
    let money = match letter.content() {
        Ok(Message::Event(event)) => {
            row["payment"] = event.payment.to_string().into();
            row["transaction"] = event.id.to_string().into();
            Some((event.account, event.money))
        }
        Ok(Message::Sale(sale)) => {
            row["terminal"] = sale.terminal.to_string().into();
            row["sequence"] = sale.sequence.to_string().into();
            Some((sale.account, sale.money))
        }
        Err(why) => {
            row["problem"] = why.into();
            None
        }
    };
    if let Some((account, money)) = money {
        row["account"] = account.to_string().into();
        row["amount"] = money.amount.to_string().into();
        row["currency"] = money.currency.code().into();
    }
    row
}

async fn redrive(State(console): State<Arc<Console>>, caller: Caller, Path(message): Path<String>) -> Answer {
    console.redrive(&caller.actor, &caller.invocation, &message).await?;
    let summary = LogSummary::audited(AuditKind::Redriven, &caller.actor);
    Ok((summary, Json(json!({ "message": message, "result": "sent" }))))
}
