use std::sync::Arc;

use idempotency::engine::{Clock, SystemClock};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;

use super::{Actor, Role};
use keys::Keys;

mod keys;

/// Checks tokens with the issuer's public keys, as API Gateway's authorizer does for the API: signed with RSA by the
/// key that the token names, from our issuer, for our audience (`aud` or, without one, `client_id`), and valid now.
pub(crate) struct Tokens {
    issuer: String,
    audience: String,
    keys: Keys,
    clock: Arc<dyn Clock>,
}

/// Why a token was rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// It is not from our issuer, not for our audience, or not valid now.
    #[error("the token is not valid here, or no longer valid")]
    Invalid,
    /// It is valid, but has no role.
    #[error("the token of {0} has no role in the console")]
    NoRole(String),
    /// The issuer's keys could not be fetched, so the token cannot be checked.
    #[error("the issuer's keys are not available")]
    KeysUnavailable(#[source] Arc<reqwest::Error>),
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Option<Audience>,
    client_id: Option<String>,
    /// In seconds since 1970, not always whole ones.
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    #[serde(default)]
    role: Value,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// The algorithms that API Gateway accepts. None uses a shared secret, so a published key cannot be used to sign.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
/// The allowed clock skew to the issuer, in seconds.
const LEEWAY: f64 = 5.0;
/// A longer subject is rejected: it would be stored with every action.
const LONGEST_NAME: usize = 256;

impl Tokens {
    /// Without a URL, the keys are read from where Amazon Cognito and many others publish them.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub(crate) fn new(issuer: String, audience: String, keys_url: Option<String>) -> Result<Self, reqwest::Error> {
        Self::by_clock(issuer, audience, keys_url, Arc::new(SystemClock))
    }

    fn by_clock(
        issuer: String,
        audience: String,
        keys_url: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, reqwest::Error> {
        let keys_url = keys_url.unwrap_or_else(|| format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')));
        Ok(Self { issuer, audience, keys: Keys::new(keys_url, Arc::clone(&clock))?, clock })
    }

    /// The holder of a token.
    pub(crate) async fn actor(&self, token: &str) -> Result<Actor, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Invalid)?;
        // A token that no key could make valid causes no request to the issuer.
        let id = header.kid.filter(|_| ALGORITHMS.contains(&header.alg)).ok_or(Denied::Invalid)?;
        let key = self.keys.find(&id).await.map_err(Denied::KeysUnavailable)?.ok_or(Denied::Invalid)?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| Denied::Invalid)?;
        let claims: Claims = decode(token, &key, &signature()).map_err(|_| Denied::Invalid)?.claims;
        if !self.admits(&claims) {
            return Err(Denied::Invalid);
        }
        match serde_json::from_value::<Role>(claims.role) {
            Ok(role) => Ok(Actor { name: claims.sub, role }),
            Err(_) => Err(Denied::NoRole(claims.sub)),
        }
    }

    fn admits(&self, claims: &Claims) -> bool {
        let now = self.clock.now().0 as f64 / 1000.0;
        let audience = match (&claims.aud, &claims.client_id) {
            (Some(Audience::One(audience)), _) | (None, Some(audience)) => *audience == self.audience,
            (Some(Audience::Several(audiences)), _) => audiences.contains(&self.audience),
            (None, None) => false,
        };
        let has_come = |time: Option<f64>| time.is_none_or(|time| time <= now + LEEWAY);
        audience
            && claims.iss == self.issuer
            && now < claims.exp + LEEWAY
            && has_come(claims.nbf)
            && has_come(claims.iat)
            && (1..=LONGEST_NAME).contains(&claims.sub.len())
    }
}

/// Checks the algorithm and the signature only; we check the claims ourselves, by our own clock.
fn signature() -> Validation {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.algorithms = ALGORITHMS.to_vec();
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation
}

#[cfg(test)]
mod tests;
