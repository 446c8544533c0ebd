use std::sync::Arc;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use payments::SecretError;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::issuer::{Issuer, IssuerError};
use super::{Actor, Roles};

/// Checks tokens with the issuer's public keys, as API Gateway's authorizer does for the API: signed with RSA by the
/// key that the token names, from our issuer, for our audience (`aud` or, without one, `client_id`), and valid now.
pub(crate) struct Tokens {
    issuer: Issuer,
    roles: Roles,
}

/// Why a token was rejected.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// It is not valid for the console.
    #[error("{0}")]
    Invalid(Flaw),
    /// It is valid, but has no role.
    #[error("the token of {0} has no role in the console")]
    NoRole(String),
    /// The issuer's keys could not be fetched, so the token cannot be checked.
    #[error("the issuer is not available")]
    IssuerUnavailable(#[source] Arc<IssuerError>),
    /// The console's client id is not available, so the token's audience cannot be checked.
    #[error("the console's secret is not available")]
    SecretUnavailable(#[source] SecretError),
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("there is no token")]
    Missing,
    #[error("the issuer did not sign it with a key that it publishes")]
    Signature,
    #[error("its claims are incomplete")]
    Claims,
    #[error("it is from another issuer")]
    Issuer,
    #[error("it is for another application")]
    Audience,
    #[error("it ended {0} seconds ago")]
    Ended(u64),
    #[error("it begins {0} seconds from now")]
    Early(u64),
    #[error("it was not issued for this sign-in")]
    Nonce,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Option<Audience>,
    client_id: Option<String>,
    /// The authorized party of an ID token with several audiences.
    azp: Option<String>,
    nonce: Option<String>,
    /// In seconds since 1970, possibly with a fraction.
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    /// All other claims.
    #[serde(flatten)]
    others: Map<String, Value>,
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
/// A longer name is rejected: it would be stored with every action.
const LONGEST_NAME: usize = 256;

impl Tokens {
    pub(super) const fn new(issuer: Issuer, roles: Roles) -> Self {
        Self { issuer, roles }
    }

    pub(super) const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The holder of a token for one of these audiences.
    pub(super) async fn actor(&self, token: &str, audiences: &[&str]) -> Result<Actor, Denied> {
        let claims = self.claims(token).await?;
        self.check(&claims, audiences).map_err(Denied::Invalid)?;
        self.holder(&claims)
    }

    /// The holder of an ID token (OpenID Connect Core 1.0, section 3.1.3.7) that was issued in one sign-in.
    pub(super) async fn signed_in(&self, id_token: &str, client: &str, nonce: &str) -> Result<Actor, Denied> {
        let claims = self.claims(id_token).await?;
        self.check(&claims, &[client]).map_err(Denied::Invalid)?;
        if claims.azp.as_ref().is_some_and(|party| party != client) {
            return Err(Denied::Invalid(Flaw::Audience));
        }
        if claims.nonce.as_deref() != Some(nonce) {
            return Err(Denied::Invalid(Flaw::Nonce));
        }
        self.holder(&claims)
    }

    async fn claims(&self, token: &str) -> Result<Claims, Denied> {
        let unsigned = || Denied::Invalid(Flaw::Signature);
        let header = decode_header(token).map_err(|_| unsigned())?;
        // A token that would be invalid with any key causes no request to the issuer.
        let id = header.kid.filter(|_| ALGORITHMS.contains(&header.alg)).ok_or_else(unsigned)?;
        let key = self.issuer.key(&id).await.map_err(Denied::IssuerUnavailable)?.ok_or_else(unsigned)?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| unsigned())?;
        let claims: Value = decode(token, &key, &signature()).map_err(|_| unsigned())?.claims;
        serde_json::from_value(claims).map_err(|_| Denied::Invalid(Flaw::Claims))
    }

    fn check(&self, claims: &Claims, audiences: &[&str]) -> Result<(), Flaw> {
        let is_ours = |audience: &String| audiences.contains(&audience.as_str());
        let audience = match (&claims.aud, &claims.client_id) {
            (Some(Audience::One(audience)), _) | (None, Some(audience)) => is_ours(audience),
            (Some(Audience::Several(several)), _) => several.iter().any(is_ours),
            (None, None) => false,
        };
        if claims.iss != self.issuer.name() {
            return Err(Flaw::Issuer);
        }
        if !audience {
            return Err(Flaw::Audience);
        }
        let now = self.issuer.now().0 as f64 / 1000.0;
        if now >= claims.exp + LEEWAY {
            return Err(Flaw::Ended((now - claims.exp) as u64));
        }
        let begin = claims.nbf.unwrap_or(0.0).max(claims.iat.unwrap_or(0.0));
        if begin > now + LEEWAY {
            return Err(Flaw::Early((begin - now) as u64));
        }
        if claims.sub.is_empty() { Err(Flaw::Claims) } else { Ok(()) }
    }

    fn holder(&self, claims: &Claims) -> Result<Actor, Denied> {
        let name = match self.roles.name_claim() {
            "sub" => Some(claims.sub.as_str()),
            other => claims.others.get(other).and_then(Value::as_str),
        };
        let name = name.filter(|name| (1..=LONGEST_NAME).contains(&name.len()));
        let name = name.ok_or(Denied::Invalid(Flaw::Claims))?.to_owned();
        match self.roles.of(&claims.others) {
            Some(role) => Ok(Actor { name, role }),
            None => Err(Denied::NoRole(name)),
        }
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
