//! Refusals as `application/problem+json` (RFC 9457).

use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use lambda_http::Body;
use serde::Serialize;

use crate::engine::{Error, Verdict};

/// A refusal for clients: what is wrong, and whether to retry the same request.
#[derive(Clone, Debug, Serialize)]
pub struct Problem {
    #[serde(rename = "type")]
    kind: String,
    title: String,
    #[serde(serialize_with = "as_number")]
    status: StatusCode,
    detail: String,
    code: String,
    retryable: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<InvalidField>,
    #[serde(skip)]
    retry_after: Option<Duration>,
    #[serde(skip)]
    contract: Option<String>,
    #[serde(skip)]
    nothing_executed: bool,
}

/// An invalid member of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InvalidField {
    /// The member's name; empty if the whole body is meant.
    pub field: String,
    /// What is wrong with it and what is allowed.
    pub detail: String,
}

impl Problem {
    /// Creates a problem of the application. `code` identifies it for programs, `title` describes it for people.
    pub fn new(status: StatusCode, code: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: title.into(),
            status,
            detail: String::new(),
            code: code.into(),
            retryable: false,
            errors: Vec::new(),
            retry_after: None,
            contract: None,
            nothing_executed: false,
        }
    }

    /// 400 `invalid-request`: nothing was executed, so nothing is recorded, and a corrected request may use the same
    /// key.
    pub fn invalid_request(errors: Vec<InvalidField>) -> Self {
        let named = errors.iter().map(|error| match error.field.as_str() {
            "" => error.detail.clone(),
            field => format!("{field}: {}", error.detail),
        });
        Self {
            detail: named.collect::<Vec<_>>().join("; "),
            errors,
            nothing_executed: true,
            ..Self::new(StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid")
        }
    }

    /// Explains this occurrence of the problem.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The client may retry the same request after this time (sent in whole seconds, at least one).
    #[must_use]
    pub const fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retryable = true;
        self.retry_after = Some(retry_after);
        self
    }

    /// Declares that nothing was executed: nothing is recorded, and a retry runs.
    #[must_use]
    pub const fn nothing_executed(mut self) -> Self {
        self.nothing_executed = true;
        self
    }

    /// The response, which caches must not store.
    #[must_use]
    pub fn into_response(self) -> Response<Body> {
        let body = serde_json::to_string(&self).unwrap_or_default();
        let mut response = Response::new(Body::Text(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(retry_after) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(retry_after)));
        }
        let link = self.contract.map(|contract| format!("<{contract}>; rel=\"describedby\""));
        if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
            headers.insert(LINK, link);
        }
        if self.nothing_executed {
            response.extensions_mut().insert(Verdict::NotExecuted(()));
        }
        response
    }
}

/// Rounded up, so that a client that waits does not retry too early; at least one.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_millis().div_ceil(1000).clamp(1, u128::from(u64::MAX)) as u64
}

fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

/// The refusals that this layer makes itself.
#[derive(Debug)]
pub(super) enum Code {
    MissingKey,
    InvalidKey(String),
    MissingValue(String),
    MissingPrincipal,
    ContentTooLarge { max_bytes: usize },
    FingerprintMismatch,
    InProgress { retry_after: Duration },
    OutcomeUnknown { retry_after: Duration },
    StoreUnavailable,
    DeadlineAtHand,
    AnswerUnreadable,
}

impl Code {
    pub(super) const fn of_error(error: &Error) -> Self {
        match error {
            Error::StoreUnavailable(_) | Error::NoEntropy(_) => Self::StoreUnavailable,
            Error::DeadlineAtHand => Self::DeadlineAtHand,
            Error::NotRecorded { .. } | Error::EffectRefused { .. } | Error::NothingHappened(_) => {
                Self::OutcomeUnknown { retry_after: Duration::from_secs(1) }
            }
            Error::UnreadableAnswer { .. } => Self::AnswerUnreadable,
        }
    }

    /// The problem code, for clients and for the log.
    pub(super) fn name(&self) -> &'static str {
        self.words().1
    }

    pub(super) fn problem(self, contract: &str) -> Problem {
        let (status, code, title, detail) = self.words();
        let mut problem = Problem::new(status, code, title).detail(detail);
        problem.kind = format!("{contract}#{code}");
        problem.contract = Some(contract.to_owned());
        match self {
            Self::InProgress { retry_after } | Self::OutcomeUnknown { retry_after } => problem.retry_after(retry_after),
            Self::StoreUnavailable | Self::DeadlineAtHand => problem.retry_after(Duration::from_secs(1)),
            Self::MissingKey
            | Self::InvalidKey(_)
            | Self::MissingValue(_)
            | Self::MissingPrincipal
            | Self::ContentTooLarge { .. }
            | Self::FingerprintMismatch
            | Self::AnswerUnreadable => problem,
        }
    }

    /// The titles of the first three statuses are those of draft-07, section 2.7.
    fn words(&self) -> (StatusCode, &'static str, &'static str, String) {
        match self {
            Self::MissingKey => (
                StatusCode::BAD_REQUEST,
                "missing-key",
                "Idempotency-Key is missing",
                "This operation needs the header Idempotency-Key: a text that is unique to it, such as a UUID.".into(),
            ),
            Self::InvalidKey(reason) => {
                (StatusCode::BAD_REQUEST, "invalid-key", "Idempotency-Key is not valid", format!("{reason}."))
            }
            Self::MissingValue(reason) => {
                (StatusCode::BAD_REQUEST, "missing-value", "The body cannot be compared", format!("{reason}."))
            }
            Self::FingerprintMismatch => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "fingerprint-mismatch",
                "Idempotency-Key is already used",
                "The key was used for another request. Send a new key with a new request.".into(),
            ),
            Self::InProgress { .. } => (
                StatusCode::CONFLICT,
                "in-progress",
                "A request is outstanding for this Idempotency-Key",
                "Send the same request again after Retry-After.".into(),
            ),
            // Nothing conflicts: the first and only request gets this too. Usual clients repeat a 503.
            Self::OutcomeUnknown { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "outcome-unknown",
                "The outcome of the operation is unknown",
                "It may or may not have happened. Send the same request again after Retry-After; it is not executed twice."
                    .into(),
            ),
            Self::MissingPrincipal => (
                StatusCode::FORBIDDEN,
                "missing-principal",
                "The caller is not identified",
                "The request carries no identity that the API accepts.".into(),
            ),
            Self::ContentTooLarge { max_bytes } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "content-too-large",
                "The body is too long",
                format!("At most {max_bytes} bytes are accepted."),
            ),
            Self::StoreUnavailable => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store-unavailable",
                "The idempotency store is unavailable",
                "Nothing was executed. Send the same request again after Retry-After.".into(),
            ),
            Self::DeadlineAtHand => (
                StatusCode::SERVICE_UNAVAILABLE,
                "deadline-at-hand",
                "Not enough time to run the request",
                "Nothing was executed. Send the same request again after Retry-After.".into(),
            ),
            Self::AnswerUnreadable => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "answer-unreadable",
                "The recorded response cannot be replayed",
                "The operation was executed and will not be executed again.".into(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_contract_has_a_heading_for_each_problem() {
        let contract = include_str!("../../../docs/http.md");
        let (retry_after, max_bytes) = (Duration::ZERO, 1);
        for code in [
            Code::MissingKey,
            Code::InvalidKey(String::new()),
            Code::MissingValue(String::new()),
            Code::MissingPrincipal,
            Code::ContentTooLarge { max_bytes },
            Code::FingerprintMismatch,
            Code::InProgress { retry_after },
            Code::OutcomeUnknown { retry_after },
            Code::StoreUnavailable,
            Code::DeadlineAtHand,
            Code::AnswerUnreadable,
        ] {
            let problem = code.problem("https://api.example.com/contract");
            let heading = format!("### `{}`\n{}", problem.code, problem.status.as_u16());
            assert!(contract.contains(&heading), "{heading}");
            assert_eq!(problem.kind, format!("https://api.example.com/contract#{}", problem.code));
            let retryable = contract.split(&heading).nth(1).is_some_and(|rest| rest.starts_with(", retryable"));
            assert_eq!(problem.retryable, retryable, "{heading}");
        }
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one_second() {
        for (duration_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (10_999, 11)] {
            assert_eq!(whole_seconds(Duration::from_millis(duration_ms)), seconds);
        }
    }
}
