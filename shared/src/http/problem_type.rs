//! The problem types of the layer, as one table, from which problem documents and pages about them are made.

use http::StatusCode;

/// A type of problem: what the problems of one code have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemType {
    /// Identifies the type for programs.
    pub code: &'static str,
    /// The status of its responses.
    pub status: StatusCode,
    /// Describes the type for people in a few words.
    pub title: &'static str,
    /// Whether the same request may be sent again under the same key, after `Retry-After`.
    pub retryable: bool,
    /// The meaning for the operation, and the action of the client: a few sentences of plain text.
    pub meaning: &'static str,
}

impl ProblemType {
    /// The request has no key.
    pub const MISSING_KEY: Self = Self {
        code: "missing-key",
        status: StatusCode::BAD_REQUEST,
        title: "Idempotency-Key is missing",
        retryable: false,
        meaning: "The operation needs an Idempotency-Key. This request was not executed.",
    };

    /// The request's key is invalid.
    pub const INVALID_KEY: Self = Self {
        code: "invalid-key",
        status: StatusCode::BAD_REQUEST,
        title: "Idempotency-Key is not valid",
        retryable: false,
        meaning: "The key is empty, too long, repeated, malformed, or a placeholder for a missing value; detail states the \
                  reason. This request was not executed.",
    };

    /// The body lacks a value by which requests are compared.
    pub const MISSING_VALUE: Self = Self {
        code: "missing-value",
        status: StatusCode::BAD_REQUEST,
        title: "The body cannot be compared",
        retryable: false,
        meaning: "The body lacks a value by which this operation compares requests; detail names it. This request was not \
                  executed, and the key stays as it was.",
    };

    /// The caller is not identified.
    pub const MISSING_PRINCIPAL: Self = Self {
        code: "missing-principal",
        status: StatusCode::FORBIDDEN,
        title: "The caller is not identified",
        retryable: false,
        meaning: "The caller could not be identified, and there are no anonymous keys. This request was not executed.",
    };

    /// The body is too long.
    pub const CONTENT_TOO_LARGE: Self = Self {
        code: "content-too-large",
        status: StatusCode::PAYLOAD_TOO_LARGE,
        title: "The body is too long",
        retryable: false,
        meaning: "The body is longer than the API accepts. This request was not executed, and the key stays as it was.",
    };

    /// The key was used for a different request.
    pub const FINGERPRINT_MISMATCH: Self = Self {
        code: "fingerprint-mismatch",
        status: StatusCode::UNPROCESSABLE_ENTITY,
        title: "Idempotency-Key is already used",
        retryable: false,
        meaning: "The key was used for a different request, which is not affected. This request was not executed and will \
                  not be under this key.",
    };

    /// The same request is running.
    pub const IN_PROGRESS: Self = Self {
        code: "in-progress",
        status: StatusCode::CONFLICT,
        title: "A request is outstanding for this Idempotency-Key",
        retryable: true,
        meaning: "The same request is running. Send it again after Retry-After, the rest of its lease. It then gets the \
                  answer, or takes over from a function that has died.",
    };

    /// The operation may or may not have happened. The status is not 409, because nothing conflicts: the only request
    /// for a key can get this problem, too. Common clients repeat a 503.
    pub const OUTCOME_UNKNOWN: Self = Self {
        code: "outcome-unknown",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "The outcome of the operation is unknown",
        retryable: true,
        meaning: "The function was stopped, crashed, or called another system that did not answer. The operation may or may \
                  not have happened. It does not run again without evidence or the API's declaration that repeating is \
                  safe. Send the same request again after Retry-After; if the API can find evidence, the request then \
                  gets the answer or runs.",
    };

    /// The store cannot be reached.
    pub const STORE_UNAVAILABLE: Self = Self {
        code: "store-unavailable",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "The store is unavailable",
        retryable: true,
        meaning: "The store could not be reached, so this request was not executed. Send it again after Retry-After.",
    };

    /// There was too little time left to begin.
    pub const DEADLINE_AT_HAND: Self = Self {
        code: "deadline-at-hand",
        status: StatusCode::SERVICE_UNAVAILABLE,
        title: "Not enough time to run the request",
        retryable: true,
        meaning: "The function had too little time left to begin, so this request was not executed. Send it again after \
                  Retry-After.",
    };

    /// The recorded answer cannot be replayed.
    pub const ANSWER_UNREADABLE: Self = Self {
        code: "answer-unreadable",
        status: StatusCode::INTERNAL_SERVER_ERROR,
        title: "The recorded response cannot be replayed",
        retryable: false,
        meaning: "The operation has ended and does not run again, but this version of the API cannot read the recorded \
                  answer. Whether it succeeded must be looked up elsewhere.",
    };

    /// All problem types, in the order of the checks.
    pub const ALL: [Self; 11] = [
        Self::MISSING_KEY,
        Self::INVALID_KEY,
        Self::MISSING_VALUE,
        Self::MISSING_PRINCIPAL,
        Self::CONTENT_TOO_LARGE,
        Self::FINGERPRINT_MISMATCH,
        Self::IN_PROGRESS,
        Self::OUTCOME_UNKNOWN,
        Self::STORE_UNAVAILABLE,
        Self::DEADLINE_AT_HAND,
        Self::ANSWER_UNREADABLE,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text without Markdown's backticks and with single spaces.
    fn plain(text: &str) -> String {
        text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_published_contract_says_of_each_type_what_the_table_says() {
        let contract = include_str!("../../../docs/http.md");
        for kind in ProblemType::ALL {
            let heading = format!("### `{}`\n", kind.code);
            let section = contract.split(&heading).nth(1).unwrap_or_else(|| panic!("no heading for {}", kind.code));
            let retryable = if kind.retryable { ", retryable" } else { "" };
            let said = format!("{}{retryable}. {}", kind.status.as_u16(), kind.meaning);
            assert!(plain(section).starts_with(&said), "{}: not {said:?}", kind.code);
        }
    }

    #[test]
    fn codes_are_parts_of_an_address_and_no_two_types_share_one() {
        for (index, kind) in ProblemType::ALL.iter().enumerate() {
            assert!(kind.code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{}", kind.code);
            assert!(!ProblemType::ALL[..index].iter().any(|other| other.code == kind.code), "{}", kind.code);
        }
    }
}
