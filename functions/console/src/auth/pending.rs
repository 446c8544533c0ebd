use std::time::Duration;

use idempotency::protocol::EpochMs;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::Target;

/// A sign-in that has been started, with the values that the issuer's answer must match. It is stored only in a signed
/// cookie.
#[derive(Serialize, Deserialize)]
pub(super) struct Pending {
    /// Comes back in the redirect: the answer belongs to this browser's request.
    pub(super) state: String,
    /// Comes back in the ID token: the token was issued for this request.
    pub(super) nonce: String,
    /// Proves to the issuer that the code is redeemed by the client that started the sign-in (RFC 7636).
    pub(super) verifier: String,
    /// The page that was asked for.
    pub(super) target: Target,
    /// When it ends, in seconds since 1970.
    exp: u64,
}

/// How long a person has for the issuer's pages.
pub(super) const SIGN_IN_TIME: Duration = Duration::from_secs(10 * 60);

impl Pending {
    pub(super) fn new(state: String, nonce: String, verifier: String, target: Target, now: EpochMs) -> Self {
        Self { state, nonce, verifier, target, exp: now.plus(SIGN_IN_TIME).0 / 1000 }
    }

    /// The cookie's value.
    pub(super) fn sign(&self, key: &str) -> Result<String, jsonwebtoken::errors::Error> {
        encode(&Header::new(Algorithm::HS256), self, &EncodingKey::from_secret(key.as_bytes()))
    }

    /// The sign-in of a cookie, if the cookie was signed with this key and has not expired.
    pub(super) fn open(value: &str, key: &str, now: EpochMs) -> Option<Self> {
        let mut validation = Validation::new(Algorithm::HS256);
        // Expiration is checked below, by our own clock.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let key = DecodingKey::from_secret(key.as_bytes());
        let pending: Self = decode(value, &key, &validation).ok()?.claims;
        (now.0 / 1000 < pending.exp).then_some(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_counts_with_our_signature_and_for_ten_minutes() {
        let now = EpochMs(2_000_000_000_000);
        let pending = Pending::new("s".into(), "n".into(), "v".into(), Target::home(), now);
        let cookie = pending.sign("key").expect("signs");
        assert!(
            Pending::open(&cookie, "key", now.plus(Duration::from_secs(599))).is_some_and(|open| open.state == "s")
        );
        assert!(Pending::open(&cookie, "key", now.plus(Duration::from_secs(600))).is_none());
        assert!(Pending::open(&cookie, "other", now).is_none());
        let (body, _) = cookie.rsplit_once('.').expect("a signature");
        for forged in [format!("{body}."), format!("{body}.AAAA"), String::new(), "x.y.z".to_owned()] {
            assert!(Pending::open(&forged, "key", now).is_none(), "{forged}");
        }
    }
}
