use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// The hidden field of every form, without which no other site can send it. It derives from the cookie, which other
/// sites cannot read; nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Csrf(String);

impl Csrf {
    pub(crate) fn of(cookie: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::new().chain_update("console form\0").chain_update(cookie).finalize()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a form has sent this value.
    pub(crate) fn allows(&self, sent: &str) -> bool {
        self.0.as_bytes().ct_eq(sent.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_bound_to_its_cookie_and_does_not_show_it() {
        let csrf = Csrf::of("cookie");
        assert!(csrf.allows(csrf.as_str()));
        assert!(!csrf.allows("") && !csrf.allows("cookie") && !csrf.allows(Csrf::of("other").as_str()));
        assert!(!csrf.as_str().contains("cookie"));
    }
}
