//! Tokens that the API accepts, and the public key to check them with.
//!
//! As at a real issuer they are signed with RSA, the only kind that API Gateway accepts, and whoever checks them, a
//! function for example, reads the public key as a JSON Web Key Set (RFC 7517).

use std::{
    collections::BTreeMap,
    fs,
    io::{ErrorKind, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
    jwk::{Jwk, JwkSet, PublicKeyUse},
};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::storage::Storage;

/// Long enough for any session with the local stack.
const LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;

/// There is one key.
const KEY_ID: &str = "local";

#[derive(Clone)]
pub(crate) struct Issuer {
    encoding: EncodingKey,
    decoding: DecodingKey,
    public: JwkSet,
}

impl Issuer {
    /// The path of the public key.
    pub(crate) const KEYS_PATH: &'static str = "/_local/jwks.json";

    /// The key is in the file, if one is named, and otherwise with the other data. If there is none, it is made.
    pub(crate) fn open(storage: &Storage, file: Option<&Path>) -> Result<Self> {
        let key = match file {
            Some(file) => in_file(file).with_context(|| format!("no signing key in {}", file.display()))?,
            None => in_storage(storage)?,
        };
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(key));
        let encoding = EncodingKey::from_rsa_pem(pem.as_bytes()).context("the stored signing key cannot be read")?;
        let mut public = Jwk::from_encoding_key(&encoding, Algorithm::RS256)?;
        public.common.key_id = Some(KEY_ID.to_owned());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        let decoding = DecodingKey::from_jwk(&public)?;
        Ok(Self { encoding, decoding, public: JwkSet { keys: vec![public] } })
    }

    /// The public key.
    pub(crate) fn keys(&self) -> &JwkSet {
        &self.public
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
        let header = Header { kid: Some(KEY_ID.to_owned()), ..Header::new(Algorithm::RS256) };
        Ok(encode(&header, &claims, &self.encoding)?)
    }

    /// The claims of a token with a good signature, issuer, audience and time. The audience is `aud` or, if there is
    /// none, `client_id`.
    pub(crate) fn claims(&self, token: &str, issuer: &str, audience: &[String]) -> Option<Map<String, Value>> {
        decode_header(token).ok().filter(|header| header.kid.as_deref() == Some(KEY_ID))?;
        let mut validation = Validation { leeway: 0, validate_nbf: true, ..Validation::new(Algorithm::RS256) };
        validation.set_issuer(&[issuer]);
        validation.set_audience(audience);
        validation.set_required_spec_claims(&["exp", "iss"]);
        let claims: Map<String, Value> = decode(token, &self.decoding, &validation).ok()?.claims;
        let is_ours = |client: &Value| audience.iter().any(|audience| *client == **audience);
        let is_for_us = claims.contains_key("aud") || claims.get("client_id").is_some_and(is_ours);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
        let is_issued = claims.get("iat").is_none_or(|at| at.as_f64().is_some_and(|at| at <= now));
        (is_for_us && is_issued).then_some(claims)
    }
}

fn in_storage(storage: &Storage) -> Result<Vec<u8>> {
    const SETTING: &str = "signing key";
    if let Some(key) = storage.setting(SETTING)? {
        return Ok(key);
    }
    let key = generate()?;
    storage.set(SETTING, &key)?;
    Ok(key)
}

/// Stacks that start at the same time get the same key, and none reads half of it.
fn in_file(file: &Path) -> Result<Vec<u8>> {
    if !file.exists() {
        let mut new = NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
        new.write_all(&generate()?)?;
        if let Err(error) = new.persist_noclobber(file)
            && error.error.kind() != ErrorKind::AlreadyExists
        {
            return Err(error.error.into());
        }
    }
    Ok(fs::read(file)?)
}

/// PKCS #8. It takes a quarter of the time in which a stack starts.
fn generate() -> Result<Vec<u8>> {
    let key = KeyPair::generate(KeySize::Rsa2048).context("cannot make a signing key")?;
    let der: Pkcs8V1Der<'_> = key.as_der().context("cannot store a signing key")?;
    Ok(der.as_ref().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_checked_with_the_published_key_and_only_by_rsa() {
        let issuer = Issuer::open(&Storage::open(None).expect("storage"), None).expect("an issuer");
        let token = issuer.token("i", "a", &BTreeMap::from([("sub".to_owned(), "ann".to_owned())])).expect("a token");
        let published = serde_json::to_value(issuer.keys()).expect("JSON");
        assert_eq!(published["keys"][0]["kty"], "RSA");
        assert_eq!(published["keys"][0]["kid"], "local");
        assert!(published["keys"][0].get("d").is_none(), "the private exponent stays private");
        let keys: JwkSet = serde_json::from_value(published).expect("a key set");
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&["a"]);
        let key = DecodingKey::from_jwk(&keys.keys[0]).expect("a key");
        assert_eq!(decode::<Value>(&token, &key, &validation).expect("good").claims["sub"], "ann");
        assert_eq!(issuer.claims(&token, "i", &["a".to_owned()]).expect("good")["sub"], "ann");
        assert_eq!(issuer.claims(&token, "j", &["a".to_owned()]), None);

        let secret = EncodingKey::from_secret(b"local");
        let other =
            encode(&Header::default(), &json!({"iss": "i", "aud": "a", "exp": u32::MAX}), &secret).expect("signs");
        assert_eq!(issuer.claims(&other, "i", &["a".to_owned()]), None);
    }

    /// As API Gateway's authorizer does.
    #[test]
    fn the_audience_is_aud_or_without_one_the_client_id_and_no_token_is_of_the_future() {
        let issuer = Issuer::open(&Storage::open(None).expect("storage"), None).expect("an issuer");
        let accepts = |claims: Value, kid: Option<&str>| {
            let mut all = json!({"iss": "i", "exp": u32::MAX});
            all.as_object_mut().expect("an object").append(&mut claims.as_object().expect("an object").clone());
            let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::RS256) };
            let token = encode(&header, &all, &issuer.encoding).expect("signs");
            issuer.claims(&token, "i", &["a".to_owned()]).is_some()
        };
        let local = Some("local");
        for good in [json!({"aud": "a"}), json!({"aud": ["b", "a"], "client_id": "b"}), json!({"client_id": "a"})] {
            assert!(accepts(good.clone(), local), "{good}");
        }
        for bad in [
            json!({}),
            json!({"client_id": "b"}),
            json!({"aud": "b", "client_id": "a"}),
            json!({"aud": "a", "iat": u32::MAX}),
            json!({"aud": "a", "nbf": u32::MAX}),
        ] {
            assert!(!accepts(bad.clone(), local), "{bad}");
        }
        assert!(!accepts(json!({"aud": "a"}), None), "it must name its key");
    }

    #[test]
    fn the_key_outlives_the_process() {
        let storage = Storage::open(None).expect("storage");
        let token =
            Issuer::open(&storage, None).expect("an issuer").token("i", "a", &BTreeMap::new()).expect("a token");
        assert!(Issuer::open(&storage, None).expect("an issuer").claims(&token, "i", &["a".to_owned()]).is_some());
    }

    #[test]
    fn stacks_that_start_at_once_have_one_key_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("key");
        let open = || Issuer::open(&Storage::open(None).expect("storage"), Some(&file)).expect("an issuer");
        let [one, other] = std::thread::scope(|scope| {
            [(), ()].map(|()| scope.spawn(open)).map(|worker| worker.join().expect("no panic"))
        });
        let token = one.token("i", "a", &BTreeMap::new()).expect("a token");
        assert!(other.claims(&token, "i", &["a".to_owned()]).is_some());
        assert_eq!(fs::read_dir(&folder).expect("readable").count(), 1, "nothing else is left there");
    }
}
