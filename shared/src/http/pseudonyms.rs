//! Pseudonyms for the request log, which cannot be traced back without the key.

use std::fmt;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::facts::Facts;
use crate::protocol::PrincipalDigest;
use crate::telemetry::request_log::Named;

/// Pseudonyms of principals, accounts and payment methods in the request log: the first bytes of an HMAC-SHA-256.
///
/// A name has the same pseudonym as long as the key stays the same. Unlike a plain hash, a pseudonym does not let a
/// reader of the log confirm a guessed name by hashing it. A clone has the same key.
#[derive(Clone, Default)]
pub struct Pseudonyms(Arc<OnceLock<Hmac<Sha256>>>);

/// The length of the pseudonyms of principals and accounts: 12 characters. A collision among a million names is very
/// unlikely.
const NAME_BYTES: usize = 9;

/// The length of the pseudonyms of payment methods: 6 characters, because they are only counted per principal.
const INSTRUMENT_BYTES: usize = 4;

impl Pseudonyms {
    /// Creates pseudonyms under this key, which should have 32 random bytes or more.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        let pseudonyms = Self::default();
        pseudonyms.use_key(key);
        pseudonyms
    }

    /// Creates pseudonyms whose key is set later by [`use_key`](Self::use_key). Until then, log lines have no
    /// pseudonyms, because a key that cannot be read must not stop a request.
    #[must_use]
    pub fn without_key() -> Self {
        Self::default()
    }

    /// Sets the key, unless one is already set.
    pub fn use_key(&self, key: &[u8]) {
        if let Ok(mac) = Hmac::new_from_slice(key) {
            let _ = self.0.set(mac);
        }
    }

    /// The pseudonyms of a request's log line; none until there is a key.
    pub(super) fn name(&self, principal: Option<PrincipalDigest>, facts: &Facts) -> Named {
        if self.0.get().is_none() {
            return Named::default();
        }
        Named {
            record_id: None,
            who: principal.and_then(|principal| self.of("principal", &principal.0, NAME_BYTES)),
            about: facts.about.as_ref().and_then(|about| self.of("about", about.as_bytes(), NAME_BYTES)),
            instrument: facts
                .instrument
                .as_ref()
                .and_then(|instrument| self.of("instrument", instrument.as_bytes(), INSTRUMENT_BYTES)),
            small: facts.small,
            code: facts.safe_code(),
        }
    }

    /// The pseudonym of a name. `kind` separates equal texts of different kinds.
    fn of(&self, kind: &str, name: &[u8], bytes: usize) -> Option<String> {
        let mut mac = self.0.get()?.clone();
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(name);
        Some(URL_SAFE_NO_PAD.encode(&mac.finalize().into_bytes()[..bytes]))
    }
}

/// Does not show the key.
impl fmt::Debug for Pseudonyms {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pseudonyms").field("has_key", &self.0.get().is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Principal;

    fn named(pseudonyms: &Pseudonyms, principal: &str, name: &str) -> Named {
        let principal = Principal::new(principal).unwrap().digest();
        let facts = Facts { about: Some(name.into()), instrument: Some(name.into()), ..Facts::default() };
        pseudonyms.name(Some(principal), &facts)
    }

    #[test]
    fn the_same_name_has_the_same_pseudonym_under_the_same_key_only() {
        let one = named(&Pseudonyms::new(b"key"), "alice", "acct-1");
        let again = named(&Pseudonyms::new(b"key"), "alice", "acct-1");
        let other = named(&Pseudonyms::new(b"other"), "alice", "acct-1");
        assert_eq!((&one.who, &one.about), (&again.who, &again.about));
        assert!(one.who != other.who && one.about != other.about && one.instrument != other.instrument);
        let (about, instrument) = (one.about.unwrap(), one.instrument.unwrap());
        assert_eq!((one.who.unwrap().len(), about.len(), instrument.len()), (12, 12, 6));
        assert!(!about.starts_with(&instrument), "a kind of its own, though the text is the same");
    }

    #[test]
    fn the_form_is_stable_because_windows_and_memories_are_kept_under_it() {
        let named = named(&Pseudonyms::new(b"a key of the stack's own"), "alice", "acct-1");
        assert_eq!(
            [named.who, named.about, named.instrument].map(Option::unwrap),
            ["W8lJIn2aGdO7", "qHtsl1xMXfSJ", "x5d9Pg"]
        );
    }

    #[test]
    fn without_a_key_nothing_is_named_until_it_comes_and_it_is_never_printed() {
        let pseudonyms = Pseudonyms::without_key();
        assert_eq!(named(&pseudonyms, "alice", "acct-1").who, None);
        pseudonyms.clone().use_key(b"a-key-to-hide");
        assert!(named(&pseudonyms, "alice", "acct-1").who.is_some());
        assert!(!format!("{pseudonyms:?}").contains("hide"));
    }
}
