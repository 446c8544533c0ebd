//! The pages: plain HTML that works without a script.

mod account;
mod approvals;
mod audit;
mod bulk;
mod dead_letters;
mod error;
pub(crate) mod find;
mod form;
mod home;
mod layout;
mod payment;
mod proposal;
mod record;
mod session;
mod settle;
mod signal;
mod signals;
mod timeline;
mod unknown_list;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::error::ConsoleError;
use crate::extract::Visitor;
use crate::state::Console;

pub(crate) fn routes() -> Router<Arc<Console>> {
    Router::new()
        .route("/console", get(home::show))
        .route("/console/", get(home::show))
        .route("/console/find", get(find::show).post(find::find))
        .route("/console/unresolved", get(unknown_list::show))
        .route("/console/unresolved.csv", get(unknown_list::csv))
        .route("/console/unresolved.jsonl", get(unknown_list::json_lines))
        .route("/console/bulk", get(bulk::choose).post(bulk::go))
        .route("/console/bulk/confirm", post(bulk::confirm))
        .route("/console/payments/{id}", get(payment::show))
        .route("/console/accounts/{account}", get(account::show))
        .route("/console/dead-letters", get(dead_letters::list).post(dead_letters::redrive))
        .route("/console/records/{record}", get(record::show))
        .route("/console/records/{record}/ask", post(settle::ask))
        .route("/console/records/{record}/reconcile", post(settle::reconcile))
        .route("/console/records/{record}/{verb}", get(settle::form).post(settle::preview))
        .route("/console/previews/{token}", get(settle::open_preview).post(settle::confirm))
        .route("/console/approvals", get(approvals::list))
        .route("/console/approvals/{id}", get(approvals::open).post(approvals::approve))
        .route("/console/audit", get(audit::show))
        .route("/console/signals", get(signals::show))
        .route("/console/signals/{day}/{kind}/{entity}", get(signal::show).post(signal::label))
        .route("/console/sign-in", get(session::invite))
        .route("/console/sign-in/start", get(session::start))
        .route("/console/callback", get(session::callback))
        .route("/console/signed-out", get(session::signed_out))
        .route("/console/session/end", post(session::sign_out))
        .route("/console/style.css", get(style))
        .route("/console/icon.svg", get(icon))
        .fallback(not_found)
        .layer(from_fn(error::as_page))
}

async fn style() -> Response {
    const STYLE: &str = include_str!("page/style.css");
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE).into_response()
}

async fn icon() -> Response {
    const ICON: &str = include_str!("page/icon.svg");
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON).into_response()
}

async fn not_found(_: Visitor) -> ConsoleError {
    ConsoleError::no_page()
}
