//! Tokens that the front accepts.
//!
//! API Gateway reads an issuer's public keys and accepts RSA only. Here the issuer and the checker are one process and
//! the key never leaves it, so a shared secret (HS256) proves as much; functions see claims either way.

use std::{
    collections::BTreeMap,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use jsonwebtoken::{DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde_json::{Map, Value, json};

use crate::storage::Storage;

/// Long enough for any session with the local stack.
const LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;

#[derive(Clone)]
pub(crate) struct Issuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
}

impl Issuer {
    /// What the template's issuer parameter is set to. It names no port: a token outlives the process.
    pub(crate) const URL: &'static str = "http://127.0.0.1/_local";

    pub(crate) fn open(storage: &Storage) -> Result<Self> {
        const SETTING: &str = "token key";
        let secret = match storage.setting(SETTING)? {
            Some(secret) => secret,
            None => {
                let mut secret = [0; 32];
                getrandom::fill(&mut secret)?;
                storage.set(SETTING, &secret)?;
                secret.to_vec()
            }
        };
        Ok(Self { encoding: EncodingKey::from_secret(&secret), decoding: DecodingKey::from_secret(&secret) })
    }

    pub(crate) fn token(&self, issuer: &str, audience: &str, extra: &BTreeMap<String, String>) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let mut claims = json!({ "iss": issuer, "aud": audience, "iat": now, "exp": now + LIFETIME_SECONDS });
        for (name, value) in extra {
            claims[name] = match (name.as_str(), value.parse::<u64>()) {
                ("exp" | "iat" | "nbf", Ok(time)) => json!(time),
                _ => json!(value),
            };
        }
        Ok(encode(&Header::default(), &claims, &self.encoding)?)
    }

    /// The claims of a token with a good signature, issuer, audience and time.
    pub(crate) fn claims(&self, token: &str, issuer: &str, audience: &[String]) -> Option<Map<String, Value>> {
        let mut validation = Validation { leeway: 0, validate_nbf: true, ..Validation::default() };
        validation.set_issuer(&[issuer]);
        validation.set_audience(audience);
        validation.set_required_spec_claims(&["exp", "iss"]);
        decode(token, &self.decoding, &validation).ok().map(|data| data.claims)
    }
}
