//! Retry signals for scripts: the list, one of them with its windows, and its label.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use idempotency::protocol::EpochMs;
use retry_signals::{Label, Signal};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Answer;
use crate::extract::Caller;
use crate::format;
use crate::request_log::{LogOutcome, LogSummary};
use crate::signals::{Filter, Place, SignalDetails, date, label_named};
use crate::state::Console;

pub(super) fn routes() -> Router<Arc<Console>> {
    Router::new().route("/signals", get(list)).route("/signals/{day}/{kind}/{entity}", get(signal).post(label))
}

async fn list(State(console): State<Arc<Console>>, caller: Caller, Query(filter): Query<Filter>) -> Answer {
    let signals: Vec<_> = console.signal_list(&filter).await?.iter().map(signal_json).collect();
    Ok((LogSummary::shown(&caller.actor), Json(json!({ "signals": signals }))))
}

async fn signal(State(console): State<Arc<Console>>, caller: Caller, Path(place): Path<Place>) -> Answer {
    let SignalDetails { signal, strip } = console.signal_details(&place).await?;
    let mut body = signal_json(&signal);
    body["strip"] = strip
        .iter()
        .filter_map(|(at, counts)| Some((at, counts.as_ref()?.pair(signal.detector))))
        .map(|(at, pair)| json!({ "at": time(at.start_s), "counted": pair.k, "of": pair.n }))
        .collect();
    Ok((LogSummary::shown(&caller.actor), Json(body)))
}

/// The body of a label.
#[derive(Debug, Deserialize)]
struct LabelBody {
    /// A label's name, or `none` to take it back.
    label: String,
}

async fn label(
    State(console): State<Arc<Console>>,
    caller: Caller,
    Path(place): Path<Place>,
    body: Result<Json<LabelBody>, JsonRejection>,
) -> Answer {
    // The role is checked first, so a viewer gets the same answer whatever the body is.
    caller.actor.require_operator()?;
    let Json(LabelBody { label }) = body?;
    console.label_signal(&caller.actor, caller.invocation.id, &place, label_named(&label)?).await?;
    let signal = console.signal(&place).await?;
    Ok((LogSummary::new(LogOutcome::Labelled, &caller.actor), Json(signal_json(&signal))))
}

fn signal_json(signal: &Signal) -> Value {
    let labellings = signal.labellings.iter().map(|act| {
        json!({
            "label": act.label.map_or("none", Label::name),
            "by": act.by,
            "at": format::rfc3339(EpochMs(act.at_ms)),
            "request": act.request,
        })
    });
    json!({
        "day": date(signal.day),
        "kind": signal.kind.name(),
        "entity": signal.entity,
        "detector": signal.detector.name(),
        "horizon": signal.horizon.name(),
        "counted": signal.k,
        "of": signal.n,
        "peers": signal.peers,
        "own": signal.own,
        "score": signal.score,
        "share": signal.share,
        "odds": signal.odds,
        "reasons": signal.reasons,
        "first": time(signal.first_s),
        "last": time(signal.last_window().end_s()),
        "windows": signal.windows,
        "window_s": signal.window_s,
        "records": signal.records,
        "label": signal.label().map_or("none", Label::name),
        "labellings": labellings.collect::<Vec<_>>(),
    })
}

fn time(epoch_s: u64) -> String {
    format::rfc3339(EpochMs(epoch_s * 1000))
}
