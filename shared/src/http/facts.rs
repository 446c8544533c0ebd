//! What a line of the request log says of a request beyond its outcome, for programs that look for unusual retries.

use http::Extensions;

/// What a request is about, for the request log of a layer with [pseudonyms](super::IdempotencyLayer::pseudonyms).
///
/// The [layer's function](super::IdempotencyLayer::facts) knows them of every request. A handler that learns more puts
/// `Facts` into the extensions of its response: what is `Some` there replaces what the function returned. The line shows
/// [`about`](Self::about) and [`instrument`](Self::instrument) as pseudonyms only; without pseudonyms it shows none of the
/// four.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whom or what it concerns, for example an account.
    pub about: Option<String>,
    /// What it pays with, for example a payment method.
    pub instrument: Option<String>,
    /// Whether the amount is small, as the tests of stolen cards are.
    pub small: Option<bool>,
    /// Why it was refused, for programs: `insufficient_funds`. The line shows it as it is, so it must not be a text of the
    /// caller; it is left out unless it is 1 to 40 letters, digits, `_` and `-`.
    pub code: Option<String>,
}

impl Facts {
    /// These facts, and where there is none, the other's.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            about: self.about.or(other.about),
            instrument: self.instrument.or(other.instrument),
            small: self.small.or(other.small),
            code: self.code.or(other.code),
        }
    }

    /// These facts of a request, with those that its response adds.
    pub(super) fn with(self, extensions: &Extensions) -> Self {
        match extensions.get::<Self>() {
            Some(added) => added.clone().or(self),
            None => self,
        }
    }

    /// The code, if it can be no text of a caller.
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
