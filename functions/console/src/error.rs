use std::error::Error;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use idempotency::telemetry::request_log::with_causes;
use payments::RecordSnapshot;
use serde::Serialize;
use serde_json::json;

use crate::auth::{Denied, Flaw, SignInError, Target};
use crate::document;
use crate::request_log::LogSummary;

/// Why something was not shown or not done. Nothing was changed, unless the detail states otherwise.
///
/// As a response it is a problem document; on page routes, the layer in [`page::error`](crate::page) turns it into a
/// page.
#[derive(Clone, Debug)]
pub(crate) struct ConsoleError {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    /// Invalid fields, with what is wrong with each.
    pub(crate) fields: Vec<FieldProblem>,
    /// Whether the reason is that an attempt or a reconciler holds the record.
    pub(crate) held: bool,
    /// How the record has changed, if that is the reason.
    pub(crate) change: Option<Box<RecordChange>>,
    /// What the operator can do next, if anything.
    pub(crate) remedy: Option<Box<Remedy>>,
    /// The failure, for the log.
    pub(crate) source: Option<Box<str>>,
}

/// The name of a field, and what is wrong with it.
pub(crate) type FieldProblem = (&'static str, String);

/// What the page of an error offers.
#[derive(Clone, Debug)]
pub(crate) enum Remedy {
    /// Offers another sign-in; has the page to show after it.
    SignIn(Target),
    /// Links to the form with the operator's input.
    Form(String),
    /// Lists the records that were left out, with the reasons.
    Records(Vec<LeftOut>),
}

/// A record that was left out of a bulk action.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeftOut {
    /// The record's short id, as in URLs.
    pub(crate) record: String,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

/// A record that changed between the preview and its confirmation.
#[derive(Clone, Debug)]
pub(crate) struct RecordChange {
    pub(crate) record: String,
    pub(crate) shown: RecordSnapshot,
    /// `None` if the record no longer exists.
    pub(crate) now: Option<RecordSnapshot>,
}

impl ConsoleError {
    fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            title,
            detail: detail.into(),
            fields: Vec::new(),
            held: false,
            change: None,
            remedy: None,
            source: None,
        }
    }

    pub(crate) fn denied(denied: &Denied) -> Self {
        match denied {
            Denied::Invalid(flaw) => Self::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "Not signed in",
                format!("The token is not accepted here: {flaw}."),
            ),
            Denied::NoRole(name) => Self::new(
                StatusCode::FORBIDDEN,
                "no-role",
                "You have no role in this console",
                format!("{name} has neither the role viewer nor the role operator here."),
            ),
            Denied::IssuerUnavailable(error) => Self::issuer_unavailable(error),
            Denied::SecretUnavailable(error) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "sign-in-unavailable",
                "Sign-in is temporarily unavailable",
                "The console's own secret could not be read. Try again in a moment.",
            )
            .with_source(error),
        }
    }

    fn issuer_unavailable(error: &(dyn Error + 'static)) -> Self {
        let detail = "The identity provider did not answer, or its answer was invalid. Try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "issuer-unavailable", "The identity provider is unavailable", detail)
            .with_source(error)
    }

    /// Nobody was signed in. `target` is the page to show when the next try succeeds.
    pub(crate) fn sign_in(error: &SignInError, target: Target) -> Self {
        let refused = |status, code, detail: &str| Self::new(status, code, "You are not signed in", detail);
        let of_issuer = |code| {
            let detail = "The identity provider's answer cannot be used. If it happens again, its settings or the console's \
                          are wrong.";
            refused(StatusCode::BAD_GATEWAY, code, detail).with_source(error)
        };
        let error = match error {
            SignInError::NotStarted => refused(
                StatusCode::BAD_REQUEST,
                "sign-in-ended",
                "The sign-in was not started in this browser, or more than ten minutes ago. Start again.",
            ),
            SignInError::OtherState | SignInError::OtherIssuer => refused(
                StatusCode::BAD_REQUEST,
                "foreign-sign-in",
                "The answer belongs to another sign-in than the one that this browser started last. Start again.",
            ),
            SignInError::Refused(_) => {
                let detail = "The identity provider refused the sign-in, or you cancelled it.";
                refused(StatusCode::FORBIDDEN, "sign-in-refused", detail).with_source(error)
            }
            SignInError::CodeRefused(_) => {
                let detail =
                    "The identity provider did not accept the code: it was used before, or is too old. Start again.";
                refused(StatusCode::BAD_REQUEST, "code-refused", detail).with_source(error)
            }
            SignInError::ClientRefused(_) => of_issuer("client-refused"),
            SignInError::NoIdToken(_) => of_issuer("issuer-answer"),
            SignInError::TooLong => of_issuer("token-too-long"),
            SignInError::NoAnswer(source) => Self::issuer_unavailable(source),
            SignInError::Denied(Denied::Invalid(flaw @ (Flaw::Early(_) | Flaw::Ended(_)))) => {
                let detail = format!(
                    "The clocks of the identity provider and of the console differ: the token is not accepted, because {flaw}."
                );
                refused(StatusCode::BAD_GATEWAY, "clock-skew", &detail).with_source(error)
            }
            SignInError::Denied(Denied::Invalid(_)) => of_issuer("token-refused"),
            SignInError::Denied(denied) => Self::denied(denied),
        };
        error.with_sign_in(target)
    }

    pub(crate) fn with_sign_in(self, target: Target) -> Self {
        Self { remedy: Some(Box::new(Remedy::SignIn(target))), ..self }
    }

    pub(crate) fn viewer() -> Self {
        Self::new(StatusCode::FORBIDDEN, "viewer", "Operators only", "This action needs the role operator.")
    }

    pub(crate) fn csrf_rejected() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "foreign-form",
            "The form was rejected",
            "It was not sent from a page of this console, or you have signed in again since then. Open the page again.",
        )
    }

    pub(crate) fn no_record() -> Self {
        let detail = "It has expired, or the address is wrong.";
        Self::new(StatusCode::NOT_FOUND, "no-record", "Record not found", detail)
    }

    pub(crate) fn no_signal() -> Self {
        let detail = "It is older than 400 days, or the address is wrong.";
        Self::new(StatusCode::NOT_FOUND, "no-signal", "Signal not found", detail)
    }

    pub(crate) fn signal_changed() -> Self {
        let detail = "Nothing was written. The signal or its caller's memory has changed: check it again.";
        Self::new(StatusCode::CONFLICT, "signal-changed", "The signal has changed", detail)
    }

    pub(crate) fn no_page() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "Page not found", "The address is wrong.")
    }

    pub(crate) fn no_preview() -> Self {
        let detail = "It belongs to another operator, is older than a day, or the address is wrong.";
        Self::new(StatusCode::NOT_FOUND, "no-preview", "Preview not found", detail)
    }

    pub(crate) fn no_approval() -> Self {
        let detail = "It is older than a week, or the address is wrong.";
        Self::new(StatusCode::NOT_FOUND, "no-approval", "Approval not found", detail)
    }

    pub(crate) fn no_payment() -> Self {
        let detail = "No payment has this id. While a payment's outcome is unknown, only its record exists.";
        Self::new(StatusCode::NOT_FOUND, "no-payment", "Payment not found", detail)
    }

    pub(crate) fn no_account() -> Self {
        let detail = "Nothing is posted to an account of this name, and it has no unresolved records.";
        Self::new(StatusCode::NOT_FOUND, "no-account", "Account not found", detail)
    }

    pub(crate) fn no_dead_letter() -> Self {
        let detail = "Nothing was sent. It is not among the dead letters that SQS has handed out: somebody else has sent or \
                      deleted it, or holds it for half a minute.";
        Self::new(StatusCode::NOT_FOUND, "no-dead-letter", "Dead letter not found", detail)
    }

    /// The dead letters could not be read.
    pub(crate) fn no_queue(error: &(dyn Error + 'static)) -> Self {
        let detail = "SQS did not answer. Nothing was sent; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "queue-unavailable", "The queues are unavailable", detail)
            .with_source(error)
    }

    /// It is not known whether a dead letter was sent, or whether it was deleted.
    pub(crate) fn not_redriven(error: &(dyn Error + 'static)) -> Self {
        let detail = "SQS did not answer. The message may have been sent, and may still be here, too. Send it again if it \
                      is: it is posted once.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "not-known", "The result is unknown", detail).with_source(error)
    }

    /// A bulk action's record for which the request had no time left.
    pub(crate) fn not_begun() -> Self {
        let detail = "Nothing was done: the request had no time left for it. Send it again with those that are left.";
        Self::new(StatusCode::CONFLICT, "not-begun", "Not begun", detail)
    }

    pub(crate) fn same_operator() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "same-operator",
            "Another operator must approve this",
            "Nothing was done. You requested this approval yourself; without evidence, two operators are needed.",
        )
    }

    pub(crate) fn approval_expired() -> Self {
        Self::new(
            StatusCode::GONE,
            "approval-expired",
            "The approval has expired",
            "Nothing was done. It could be approved for one day. Open the record and start again.",
        )
    }

    /// There is evidence against the action.
    pub(crate) fn contradicted(detail: impl std::fmt::Display) -> Self {
        let detail = format!("Nothing was written. {detail}");
        Self::new(StatusCode::CONFLICT, "contradicted", "There is evidence against this", detail)
    }

    pub(crate) fn preview_expired() -> Self {
        Self::new(
            StatusCode::GONE,
            "preview-expired",
            "The preview has expired",
            "Nothing was done. It could be confirmed for ten minutes. Open the record and start again.",
        )
    }

    pub(crate) fn not_open(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "not-open", "The record cannot be settled now", detail)
    }

    /// The record has run again since the operator saw it.
    pub(crate) fn ran_again(at: &str) -> Self {
        let detail = format!("It is no longer what you saw: it has run again, last at {at}. Check it again.");
        Self::new(StatusCode::CONFLICT, "record-changed", "The record has changed", detail)
    }

    /// The record's state differs from the others' in a bulk action.
    pub(crate) fn other_state(own: &str, others: &str) -> Self {
        let detail = format!("It is {own}, and the others are {others}: one action is for records of one state.");
        Self::new(StatusCode::CONFLICT, "other-state", "The record has another state", detail)
    }

    /// All records of a bulk action were left out.
    pub(crate) fn none_left(left_out: Vec<LeftOut>) -> Self {
        let detail = "Nothing was done: none of the chosen records is still open and as you saw it.";
        let error = Self::new(StatusCode::CONFLICT, "none-left", "None of the records is left", detail);
        Self { remedy: Some(Box::new(Remedy::Records(left_out))), ..error }
    }

    pub(crate) fn held(until: &str) -> Self {
        let error = Self::not_open(format!("The record is held until {until}. Try again after that."));
        Self { held: true, ..error }
    }

    /// Offers the form again, with the operator's input.
    pub(crate) fn with_form(self, address: String) -> Self {
        Self { remedy: Some(Box::new(Remedy::Form(address))), ..self }
    }

    pub(crate) fn not_ours(operation: &str) -> Self {
        let detail = format!("Another application that shares the table wrote it: {operation}. Settle it there.");
        Self::new(StatusCode::CONFLICT, "not-ours", "The record belongs to another application", detail)
    }

    pub(crate) fn record_changed(change: RecordChange, held: bool) -> Self {
        let detail = "Nothing was written. The record is no longer what you saw: check it before you decide.";
        let error = Self::new(StatusCode::CONFLICT, "record-changed", "The record has changed", detail);
        Self { change: Some(Box::new(change)), held, ..error }
    }

    pub(crate) fn not_done() -> Self {
        let detail = "The record is held elsewhere, or one of the writes was refused. Check the record and try again.";
        Self::new(StatusCode::CONFLICT, "not-done", "Nothing was done", detail)
    }

    pub(crate) fn not_settled() -> Self {
        let detail = "The confirmation is in the audit, but the record could not be written: its outcome is still unknown. \
                      Look at the record, and settle it again if it stays so.";
        Self::new(StatusCode::CONFLICT, "not-done", "Nothing was settled", detail)
    }

    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", "Invalid input", detail)
    }

    pub(crate) fn invalid_fields(fields: Vec<FieldProblem>) -> Self {
        let problems: Vec<_> = fields.iter().map(|(field, problem)| format!("{field} {problem}")).collect();
        Self { fields, ..Self::invalid(problems.join("; ")) }
    }

    /// A read failed.
    pub(crate) fn unavailable(error: &(dyn Error + 'static)) -> Self {
        let detail = "The tables could not be reached. Nothing was changed; try again in a moment.";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "store-unavailable", "The records are unavailable", detail)
            .with_source(error)
    }

    /// A write failed, and may have taken effect.
    pub(crate) fn uncertain(error: &(dyn Error + 'static)) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-known",
            "The result is unknown",
            "The tables did not answer. Open the preview, approval or signal again: it shows whether it was done. Doing it \
             twice has no further effect.",
        )
        .with_source(error)
    }

    fn with_source(self, error: &(dyn Error + 'static)) -> Self {
        Self { source: Some(with_causes(error).into()), ..self }
    }

    pub(crate) fn log_summary(&self) -> LogSummary {
        LogSummary::refused(self.code, self.source.as_deref().map(str::to_owned))
    }
}

impl From<JsonRejection> for ConsoleError {
    fn from(rejection: JsonRejection) -> Self {
        Self::invalid(rejection.body_text())
    }
}

impl IntoResponse for ConsoleError {
    fn into_response(self) -> Response {
        let mut body = json!({
            "type": "about:blank",
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
        });
        if let Some(change) = &self.change {
            body["shown"] = document::snapshot(&change.shown);
            body["now"] = change.now.as_ref().map(document::snapshot).into();
        }
        if let Some(Remedy::Records(left_out)) = self.remedy.as_deref() {
            body["left_out"] = json!(left_out);
        }
        let mut response = (self.status, self.log_summary(), Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}
