//! Refusals as `application/problem+json` (RFC 9457).

use std::borrow::Cow;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, LINK, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use lambda_http::Body;
use serde::Serialize;

use super::problem_type::ProblemType;
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
    /// The error in the member, and the values that are allowed.
    pub detail: String,
}

impl Problem {
    /// Creates an application-specific problem. `code` identifies it for programs, `title` describes it for people.
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

    /// Creates a problem of a type: its status, code and title.
    pub fn of(kind: &ProblemType) -> Self {
        Self::new(kind.status, kind.code, kind.title)
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

    /// The address of the page that describes this type of problem. Default: `about:blank`, which means that there is
    /// no such page.
    #[must_use]
    pub fn described_at(mut self, address: impl Into<String>) -> Self {
        self.kind = address.into();
        self
    }

    /// Identifies the problem for programs more closely than its type does.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = code.into();
        self
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

/// A refusal by the layer itself: its type, and what is particular to this request.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) kind: ProblemType,
    /// What is wrong with the request, or what to do with it.
    detail: Cow<'static, str>,
    /// If the type is retryable.
    retry_after: Duration,
}

impl Refusal {
    pub(super) fn new(kind: ProblemType, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), retry_after: Duration::from_secs(1) }
    }

    pub(super) fn content_too_large(max_bytes: usize) -> Self {
        Self::new(ProblemType::CONTENT_TOO_LARGE, format!("At most {max_bytes} bytes are accepted."))
    }

    pub(super) fn fingerprint_mismatch() -> Self {
        let detail = "The key was used for another request. Send a new key with a new request.";
        Self::new(ProblemType::FINGERPRINT_MISMATCH, detail)
    }

    pub(super) fn in_progress(retry_after: Duration) -> Self {
        let detail = "Send the same request again after Retry-After.";
        Self { retry_after, ..Self::new(ProblemType::IN_PROGRESS, detail) }
    }

    pub(super) fn outcome_unknown(retry_after: Duration) -> Self {
        let detail =
            "It may or may not have happened. Send the same request again after Retry-After; it is not executed twice.";
        Self { retry_after, ..Self::new(ProblemType::OUTCOME_UNKNOWN, detail) }
    }

    pub(super) fn of_error(error: &Error) -> Self {
        let not_executed = "This request was not executed. Send the same request again after Retry-After.";
        let ended = "The operation has ended and is not executed again.";
        match error {
            Error::StoreUnavailable(_) | Error::NoEntropy(_) => Self::new(ProblemType::STORE_UNAVAILABLE, not_executed),
            Error::DeadlineAtHand { .. } => Self::new(ProblemType::DEADLINE_AT_HAND, not_executed),
            Error::NotRecorded { .. } | Error::EffectRefused { .. } | Error::NothingHappened(_) => {
                Self::outcome_unknown(Duration::from_secs(1))
            }
            Error::UnreadableAnswer { .. } => Self::new(ProblemType::ANSWER_UNREADABLE, ended),
        }
    }

    pub(super) fn problem(self, contract: &Contract) -> Problem {
        let problem = Problem::of(&self.kind).detail(self.detail).described_at(contract.address_of(&self.kind));
        let problem = Problem { contract: Some(contract.url.clone()), ..problem };
        if self.kind.retryable { problem.retry_after(self.retry_after) } else { problem }
    }
}

/// The addresses of an API's published contract.
#[derive(Clone, Debug)]
pub(super) struct Contract {
    pub(super) url: String,
    /// The address of each type of problem without its code; `None` if the types are sections of the contract.
    pub(super) types: Option<String>,
}

impl Contract {
    fn address_of(&self, kind: &ProblemType) -> String {
        match &self.types {
            Some(types) => format!("{types}/{}", kind.code),
            None => format!("{}#{}", self.url, kind.code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_what_the_table_says_of_its_type() {
        let contract = Contract { url: "https://api.example.com/contract".into(), types: None };
        for kind in ProblemType::ALL {
            let problem = Refusal::new(kind, "").problem(&contract);
            assert_eq!((problem.status, problem.code.as_str()), (kind.status, kind.code));
            assert_eq!(problem.retryable, kind.retryable, "{}", kind.code);
            assert_eq!(problem.retry_after.is_some(), kind.retryable, "{}", kind.code);
            assert_eq!(problem.kind, format!("https://api.example.com/contract#{}", kind.code));
        }
    }

    #[test]
    fn types_with_addresses_of_their_own_are_below_that_address() {
        let contract = Contract { url: "/contract".into(), types: Some("/problems".into()) };
        let problem = Refusal::new(ProblemType::MISSING_KEY, "").problem(&contract);
        assert_eq!(problem.kind, "/problems/missing-key");
        assert_eq!(problem.into_response().headers()[LINK], "</contract>; rel=\"describedby\"");
    }

    #[test]
    fn retry_after_is_rounded_up_and_at_least_one_second() {
        for (duration_ms, seconds) in [(0, 1), (1, 1), (1000, 1), (1001, 2), (10_999, 11)] {
            assert_eq!(whole_seconds(Duration::from_millis(duration_ms)), seconds);
        }
    }
}
