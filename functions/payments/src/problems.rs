//! The types of problems that this application gives, with the address of the page that describes each.

use idempotency::http::{Problem, ProblemType};
use lambda_http::http::StatusCode;

/// Where the API serves the pages, below its own address.
pub const ADDRESS: &str = "/problems";

/// The request is not valid.
pub const INVALID_REQUEST: ProblemType = ProblemType {
    code: "invalid-request",
    status: StatusCode::BAD_REQUEST,
    title: "The request is not valid",
    retryable: false,
    meaning: "Members of the request are missing or not allowed; errors names them. Nothing was executed, and the key is \
              still unused: correct the request, under the same key or another.",
};

/// There is nothing at the path that the caller may see.
pub const NOT_FOUND: ProblemType = ProblemType {
    code: "not-found",
    status: StatusCode::NOT_FOUND,
    title: "Not found",
    retryable: false,
    meaning: "There is no such resource, or it is another caller's; the answer does not reveal which. Nothing was charged or \
              refunded, and nothing will be under this key.",
};

/// The card was declined.
pub const DECLINED: ProblemType = ProblemType {
    code: "declined",
    status: StatusCode::PAYMENT_REQUIRED,
    title: "The payment was declined",
    retryable: false,
    meaning: "The card's bank, or the provider on its behalf, declined. Nothing was charged, and nothing will be under this \
              key; another attempt to pay needs another key. The problem's code is the bank's reason.",
};

/// The provider does not accept the request.
pub const REFUSED: ProblemType = ProblemType {
    code: "refused",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The payment provider does not accept the request",
    retryable: false,
    meaning: "The provider does not accept the request as it is; detail states the reason. Nothing was charged or refunded, \
              and nothing will be under this key. The problem's code is the provider's, where it gave one.",
};

/// An operator found out that nothing happened.
pub const SETTLED_AS_FAILED: ProblemType = ProblemType {
    code: "settled-as-failed",
    status: StatusCode::UNPROCESSABLE_ENTITY,
    title: "The operation failed",
    retryable: false,
    meaning: "The outcome was unknown at first, and an operator settled it: nothing was charged or refunded, and nothing will \
              be under this key.",
};

/// The provider cannot be reached.
pub const PROVIDER_UNAVAILABLE: ProblemType = ProblemType {
    code: "provider-unavailable",
    status: StatusCode::SERVICE_UNAVAILABLE,
    title: "The payment provider is not available",
    retryable: true,
    meaning: "The payment provider could not be reached or was too busy, so this request was not executed. Send it again \
              after Retry-After.",
};

const OWN: [ProblemType; 6] = [INVALID_REQUEST, NOT_FOUND, DECLINED, REFUSED, SETTLED_AS_FAILED, PROVIDER_UNAVAILABLE];

/// All types, those of the library first.
pub fn all() -> impl Iterator<Item = ProblemType> {
    ProblemType::ALL.into_iter().chain(OWN)
}

/// The address of a type's page.
pub fn address(kind: &ProblemType) -> String {
    format!("{ADDRESS}/{}", kind.code)
}

/// A problem of a type.
pub fn problem(kind: &ProblemType) -> Problem {
    Problem::of(kind).described_at(address(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_types_share_an_address() {
        let mut addresses: Vec<_> = all().map(|kind| address(&kind)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        assert_eq!(addresses.len(), all().count());
    }
}
