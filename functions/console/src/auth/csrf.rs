use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// What a form must bring along, so that no other site can send it. It follows from the cookie, which other sites
/// cannot read; nothing is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Csrf(String);

impl Csrf {
    pub(crate) fn of(cookie: &str) -> Self {
        Self(URL_SAFE_NO_PAD.encode(Sha256::new().chain_update("console form\0").chain_update(cookie).finalize()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Digests are compared, so that the time it takes tells nothing about the value.
    pub(crate) fn allows(&self, sent: &str) -> bool {
        Sha256::digest(&self.0) == Sha256::digest(sent)
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
