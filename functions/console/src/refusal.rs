use std::error::Error;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use idempotency::telemetry::request_log::with_causes;
use payments::Shown;
use serde_json::json;

use crate::access::Denied;
use crate::line::Told;
use crate::words;

/// Why something was not shown or not done. Nothing was changed, unless it says otherwise.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    /// What was seen and what is there now, where that is the reason.
    pub(crate) drift: Option<Box<Drift>>,
    /// What failed, for the log.
    pub(crate) error: Option<String>,
}

/// A record that changed between the preview and its confirmation.
#[derive(Clone, Debug)]
pub(crate) struct Drift {
    pub(crate) record: String,
    pub(crate) shown: Shown,
    /// Nothing, if the record is no longer there.
    pub(crate) now: Option<Shown>,
    /// Whether somebody is at work on it.
    pub(crate) held: bool,
}

impl Refusal {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, title, detail: detail.into(), drift: None, error: None }
    }

    pub(crate) fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Invalid => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Who are you?",
                "The token is missing, or not valid here, or no longer valid.",
            ),
            Denied::NoRole(name) => Self::new(
                StatusCode::FORBIDDEN,
                "no-role",
                "You have no role here",
                format!("The token of {name} names neither the role viewer nor the role operator."),
            ),
            Denied::KeysUnavailable(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "keys-unavailable",
                "Nobody can be let in at the moment",
                "The issuer's public keys could not be fetched. Try again in a moment.",
            )
            .because(error),
        }
    }

    pub(crate) fn viewer() -> Self {
        Self::new(StatusCode::FORBIDDEN, "viewer", "Viewers do not act", "This needs the role operator.")
    }

    pub(crate) fn foreign_form() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "This form did not come from here",
            "It was not sent from a page of this console, or you have signed in anew since. Open the page again.",
        )
    }

    pub(crate) fn no_record() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-record",
            "There is no such record",
            "It has expired, or the address is wrong.",
        )
    }

    pub(crate) fn no_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is no such page", "The address is wrong.")
    }

    pub(crate) fn no_preview() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-preview",
            "There is no such preview",
            "It is another operator's, or older than a day, or the address is wrong.",
        )
    }

    pub(crate) fn no_approval() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-approval",
            "There is no such approval",
            "It is older than a week, or the address is wrong.",
        )
    }

    /// Whoever asks for an approval cannot give it.
    pub(crate) fn same_operator() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "same-operator",
            "Another operator must approve it",
            "Nothing was done. You asked for it yourself; without evidence, it takes two.",
        )
    }

    pub(crate) fn approval_expired() -> Self {
        Self::new(
            StatusCode::GONE,
            "approval-expired",
            "It was asked for too long ago",
            "Nothing was done. It could be approved for a day; look at the record again and begin anew.",
        )
    }

    /// There is evidence against what was asked for.
    pub(crate) fn contradicted(detail: impl std::fmt::Display) -> Self {
        let detail = format!("Nothing was written. {detail}");
        Self::new(StatusCode::CONFLICT, "contradicted", "There is evidence against it", detail)
    }

    pub(crate) fn preview_expired() -> Self {
        Self::new(
            StatusCode::GONE,
            "preview-expired",
            "The preview is too old",
            "Nothing was done. It can be confirmed for ten minutes; look at the record again and begin anew.",
        )
    }

    pub(crate) fn not_open(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "not-open", "The record cannot be settled now", detail)
    }

    pub(crate) fn not_ours(operation: &str) -> Self {
        let detail = format!(
            "It is of another application that shares the table: {operation}, about nothing that this one does. Settle it there."
        );
        Self::new(StatusCode::CONFLICT, "not-ours", "The record is not of this application", detail)
    }

    pub(crate) fn drifted(drift: Drift) -> Self {
        let title = "The record has changed";
        let detail = "Nothing was written. What you saw is no longer what is there: look again before you decide.";
        Self { drift: Some(Box::new(drift)), ..Self::new(StatusCode::CONFLICT, "record-changed", title, detail) }
    }

    pub(crate) fn not_done(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "not-done", "It was not done", detail)
    }

    /// What was asked for makes no sense: the words say which field.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Something is missing", detail)
    }

    /// A read that failed.
    pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> Self {
        let detail = "The tables could not be reached. Nothing was changed; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The records are not available", detail)
            .because(error)
    }

    /// A write of which nobody knows whether it took effect.
    pub(crate) fn uncertain(error: &(dyn Error + 'static)) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-known",
            "It is not known whether it was done",
            "The tables did not answer. Open the preview again: it says whether it was used. Confirming twice does it once.",
        )
        .because(error)
    }

    fn because(self, error: &(dyn Error + 'static)) -> Self {
        Self { error: Some(with_causes(error)), ..self }
    }

    pub(crate) fn told(&self) -> Told {
        Told::refused(self.code, self.error.clone())
    }
}

/// As a problem document, for scripts.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let Some(drift) = &self.drift {
            body["shown"] = words::shown_json(&drift.shown);
            body["now"] = drift.now.as_ref().map(words::shown_json).into();
        }
        let mut response = (self.status, self.told(), Json(body)).into_response();
        let problem = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, problem);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
