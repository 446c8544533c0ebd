use std::time::{Duration, SystemTime};

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

use super::{Actor, Role};

/// Checks tokens by the issuer's public keys, which it fetches and keeps for a while.
#[derive(Debug)]
pub(crate) struct Tokens {
    issuer: String,
    audience: String,
    keys_url: String,
    http: reqwest::Client,
    keys: Mutex<Option<Keys>>,
}

#[derive(Debug)]
struct Keys {
    set: JwkSet,
    /// By the clock of the world: a frozen sandbox's own may stand still.
    fetched: SystemTime,
}

/// Why a token gives no access.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Denied {
    /// It is not one of the issuer's, not for us, or not valid now.
    #[error("the token is not valid here, or no longer valid")]
    Invalid,
    /// It is good, but names no role.
    #[error("the token of {0} has no role in the console")]
    NoRole(String),
    /// The issuer's keys could not be fetched, so that no token can be checked.
    #[error("the issuer's keys are not available")]
    KeysUnavailable(#[source] reqwest::Error),
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    #[serde(default)]
    role: Value,
}

impl Tokens {
    /// How long fetched keys are used.
    const FRESH: Duration = Duration::from_secs(60 * 60);
    /// A token with an unknown key may mean that the issuer has a new one; asked no more often than this.
    const PATIENCE: Duration = Duration::from_secs(30);
    /// A subject that is longer names nobody; it would be stored with everything they do.
    const LONGEST_NAME: usize = 256;

    /// Without a URL, the keys are where Amazon Cognito and many others have them.
    ///
    /// # Errors
    /// When TLS cannot be set up on this machine.
    pub(crate) fn new(issuer: String, audience: String, keys_url: Option<String>) -> Result<Self, reqwest::Error> {
        let keys_url = keys_url.unwrap_or_else(|| format!("{}/.well-known/jwks.json", issuer.trim_end_matches('/')));
        let http = reqwest::Client::builder().timeout(Duration::from_secs(3)).no_proxy().build()?;
        Ok(Self { issuer, audience, keys_url, http, keys: Mutex::default() })
    }

    /// Who the token stands for.
    pub(crate) async fn actor(&self, token: &str) -> Result<Actor, Denied> {
        let header = decode_header(token).map_err(|_| Denied::Invalid)?;
        let key = self.key(header.kid.as_deref()).await?.ok_or(Denied::Invalid)?;
        let key = DecodingKey::from_jwk(&key).map_err(|_| Denied::Invalid)?;
        // The algorithm is ours to choose, never the token's.
        let mut validation = Validation { leeway: 5, validate_nbf: true, ..Validation::new(Algorithm::RS256) };
        validation.set_issuer(&[&self.issuer]);
        validation.set_audience(&[&self.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        let Claims { sub: name, role } = decode(token, &key, &validation).map_err(|_| Denied::Invalid)?.claims;
        if name.is_empty() || name.len() > Self::LONGEST_NAME {
            return Err(Denied::Invalid);
        }
        match serde_json::from_value::<Role>(role) {
            Ok(role) => Ok(Actor { name, role }),
            Err(_) => Err(Denied::NoRole(name)),
        }
    }

    /// The key of this id. One request at a time fetches; the others wait for what it finds.
    async fn key(&self, id: Option<&str>) -> Result<Option<Jwk>, Denied> {
        let mut keys = self.keys.lock().await;
        if let Some(known) = &*keys {
            let age = known.fetched.elapsed().unwrap_or(Duration::MAX);
            let key = find(&known.set, id);
            if age < Self::PATIENCE || (key.is_some() && age < Self::FRESH) {
                return Ok(key);
            }
        }
        let set = self.fetch().await.map_err(Denied::KeysUnavailable)?;
        let key = find(&set, id);
        *keys = Some(Keys { set, fetched: SystemTime::now() });
        Ok(key)
    }

    async fn fetch(&self) -> Result<JwkSet, reqwest::Error> {
        self.http.get(&self.keys_url).send().await?.error_for_status()?.json().await
    }
}

/// A token may leave out the id of its key if the issuer has one key only.
fn find(set: &JwkSet, id: Option<&str>) -> Option<Jwk> {
    match (id, set.keys.as_slice()) {
        (Some(id), _) => set.find(id).cloned(),
        (None, [only]) => Some(only.clone()),
        (None, _) => None,
    }
}

#[cfg(test)]
mod tests;
