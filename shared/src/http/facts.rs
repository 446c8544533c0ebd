//! The fields of a request's log line beyond its outcome, for programs that look for unusual retries.

use http::Extensions;

/// Facts about a request, for the request log of a layer with [pseudonyms](super::IdempotencyLayer::pseudonyms).
///
/// The [layer's function](super::IdempotencyLayer::facts) returns them for every request. A handler that learns more
/// puts `Facts` into the extensions of its response: each field that is `Some` there replaces the function's. The log
/// line shows [`about`](Self::about) and [`instrument`](Self::instrument) as pseudonyms only; without pseudonyms it
/// shows none of the four fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The subject of the request, for example an account.
    pub about: Option<String>,
    /// The means of payment, for example a payment method.
    pub instrument: Option<String>,
    /// Whether the amount is small, as it is when stolen cards are tested.
    pub small: Option<bool>,
    /// The reason of a refusal, for programs: `insufficient_funds`. The log line shows it unchanged, so it must not
    /// come from the caller; it is omitted unless it consists of 1 to 40 letters, digits, `_` and `-`.
    pub code: Option<String>,
}

impl Facts {
    /// Fills each missing fact from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            about: self.about.or(other.about),
            instrument: self.instrument.or(other.instrument),
            small: self.small.or(other.small),
            code: self.code.or(other.code),
        }
    }

    /// Replaces these facts of a request by those that its response sets.
    pub(super) fn with(self, extensions: &Extensions) -> Self {
        match extensions.get::<Self>() {
            Some(added) => added.clone().or(self),
            None => self,
        }
    }

    /// The code, unless it could be a caller's text.
    pub(super) fn safe_code(&self) -> Option<String> {
        let is_safe = |code: &&String| {
            (1..=MAX_CODE_BYTES).contains(&code.len())
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        };
        self.code.as_ref().filter(is_safe).cloned()
    }
}

const MAX_CODE_BYTES: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_response_adds_replaces_what_the_request_said_and_nothing_else() {
        let of_request = Facts { about: Some("a".into()), small: Some(true), ..Facts::default() };
        let mut extensions = Extensions::new();
        assert_eq!(of_request.clone().with(&extensions), of_request);
        extensions.insert(Facts { small: Some(false), code: Some("c".into()), ..Facts::default() });
        let both = of_request.with(&extensions);
        assert_eq!((both.about.as_deref(), both.small, both.code.as_deref()), (Some("a"), Some(false), Some("c")));
    }

    #[test]
    fn a_code_that_could_be_a_text_of_the_caller_is_left_out() {
        let shown = |code: &str| Facts { code: Some(code.into()), ..Facts::default() }.safe_code();
        assert_eq!(shown("insufficient_funds").as_deref(), Some("insufficient_funds"));
        for code in ["", "two words", "a\"b", "ä", "a.b@c", &"x".repeat(41)] {
            assert_eq!(shown(code), None, "{code}");
        }
    }
}
