//! With an issuer of our own, whose keys are read over a socket.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const ISSUER: &str = "https://issuer.example";

struct Issuer {
    key: EncodingKey,
    published: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    url: String,
}

impl Issuer {
    async fn start() -> Self {
        let key = rsa();
        let published = Arc::new(Mutex::new(key_set(&[(&key, "first")])));
        let asked = Arc::new(AtomicUsize::new(0));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, Arc::clone(&published), Arc::clone(&asked)));
        Self { key, published, asked, url }
    }

    fn tokens(&self) -> Tokens {
        Tokens::new(ISSUER.into(), "payments".into(), Some(self.url.clone())).unwrap()
    }

    fn sign(&self, claims: &Value) -> String {
        sign(&self.key, Some("first"), claims)
    }
}

async fn serve(listener: TcpListener, published: Arc<Mutex<String>>, asked: Arc<AtomicUsize>) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut request = [0; 4096];
        assert_ne!(connection.read(&mut request).await.unwrap(), 0);
        asked.fetch_add(1, Ordering::SeqCst);
        let body = published.lock().unwrap().clone();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        connection.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    }
}

fn rsa() -> EncodingKey {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(der.as_ref()));
    EncodingKey::from_rsa_pem(pem.as_bytes()).unwrap()
}

fn key_set(keys: &[(&EncodingKey, &str)]) -> String {
    let keys = keys.iter().map(|(key, id)| {
        let mut jwk = Jwk::from_encoding_key(key, Algorithm::RS256).unwrap();
        jwk.common.key_id = Some((*id).to_owned());
        jwk
    });
    serde_json::to_string(&JwkSet { keys: keys.collect() }).unwrap()
}

fn sign(key: &EncodingKey, id: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(Algorithm::RS256) };
    encode(&header, claims, key).unwrap()
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "payments", "sub": "olga", "role": "operator", "exp": 4_102_444_800_u64 })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test]
async fn a_good_token_names_its_actor_and_the_keys_are_fetched_once() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    for (role, expected) in [("operator", Role::Operator), ("viewer", Role::Viewer)] {
        let actor = tokens.actor(&issuer.sign(&with("role", json!(role)))).await.unwrap();
        assert_eq!(actor, Actor { name: "olga".into(), role: expected });
    }
    assert!(tokens.actor(&sign(&issuer.key, None, &claims())).await.is_ok(), "the issuer has one key only");
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_not_for_now_is_not_valid() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let bad = [
        with("iss", json!("https://other.example")),
        with("aud", json!("other")),
        with("exp", json!(1_000_000_000)),
        with("nbf", json!(4_102_444_800_u64)),
        with("sub", json!("")),
        with("sub", json!("x".repeat(257))),
        with("sub", json!(1)),
        without("iss"),
        without("aud"),
        without("exp"),
        without("sub"),
    ];
    for claims in bad {
        let denied = tokens.actor(&issuer.sign(&claims)).await;
        assert!(matches!(denied, Err(Denied::Invalid)), "{claims}: {denied:?}");
    }
    for role in [json!(null), json!("admin"), json!("Operator"), json!(["operator"]), json!(1), json!("")] {
        let denied = tokens.actor(&issuer.sign(&with("role", role.clone()))).await;
        assert!(matches!(&denied, Err(Denied::NoRole(name)) if name == "olga"), "{role}: {denied:?}");
    }
    assert!(matches!(tokens.actor(&issuer.sign(&without("role"))).await, Err(Denied::NoRole(_))));
}

#[tokio::test]
async fn a_token_that_the_issuer_did_not_sign_with_rsa_is_not_valid() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let good = issuer.sign(&claims());
    let (body, _) = good.rsplit_once('.').unwrap();
    // The public key as a shared secret: what a checker falls for that lets the token choose its algorithm.
    let modulus = serde_json::from_str::<Value>(&issuer.published.lock().unwrap()).unwrap()["keys"][0]["n"].clone();
    let secret = EncodingKey::from_secret(modulus.as_str().unwrap().as_bytes());
    let confused = encode(&Header { kid: Some("first".into()), ..Header::new(Algorithm::HS256) }, &claims(), &secret);
    let unsigned = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    let stranger = sign(&rsa(), Some("first"), &claims());
    for token in
        [format!("{body}.AAAA"), format!("{body}."), confused.unwrap(), unsigned, stranger, "x".into(), String::new()]
    {
        let denied = tokens.actor(&token).await;
        assert!(matches!(denied, Err(Denied::Invalid)), "{token}: {denied:?}");
    }
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_the_issuer_again_and_again() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    for number in 0..20 {
        let denied = tokens.actor(&sign(&issuer.key, Some(&format!("key-{number}")), &claims())).await;
        assert!(matches!(denied, Err(Denied::Invalid)), "{denied:?}");
    }
    assert_eq!(issuer.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_after_a_while() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    tokens.actor(&issuer.sign(&claims())).await.unwrap();
    let second = rsa();
    *issuer.published.lock().unwrap() = key_set(&[(&issuer.key, "first"), (&second, "second")]);
    let token = sign(&second, Some("second"), &claims());
    assert!(matches!(tokens.actor(&token).await, Err(Denied::Invalid)), "too early to ask again");
    tokens.keys.lock().await.as_mut().unwrap().fetched -= Tokens::PATIENCE;
    assert!(tokens.actor(&token).await.is_ok());
    assert!(
        matches!(tokens.actor(&sign(&issuer.key, None, &claims())).await, Err(Denied::Invalid)),
        "which of the two?"
    );

    // And one that the issuer has withdrawn is forgotten.
    *issuer.published.lock().unwrap() = key_set(&[(&second, "second")]);
    tokens.keys.lock().await.as_mut().unwrap().fetched -= Tokens::FRESH;
    assert!(matches!(tokens.actor(&issuer.sign(&claims())).await, Err(Denied::Invalid)));
}

#[tokio::test]
async fn without_the_issuers_keys_nobody_is_let_in() {
    let tokens = Tokens::new(ISSUER.into(), "payments".into(), Some("http://127.0.0.1:1/keys".into())).unwrap();
    let denied = tokens.actor(&sign(&rsa(), Some("first"), &claims())).await;
    assert!(matches!(denied, Err(Denied::KeysUnavailable(_))), "{denied:?}");
}

#[test]
fn by_default_the_keys_are_below_the_issuer() {
    let tokens = Tokens::new(format!("{ISSUER}/"), "payments".into(), None).unwrap();
    assert_eq!(tokens.keys_url, "https://issuer.example/.well-known/jwks.json");
}
