//! Tests with a local issuer, whose keys are fetched over a socket.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idempotency::engine::Clock;
use idempotency::protocol::EpochMs;
use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::auth::Role;

const ISSUER: &str = "https://issuer.example";
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The time at which the tests take place, in epoch seconds.
const NOW: u64 = 2_000_000_000;

struct Issuer {
    key: EncodingKey,
    published: Arc<Mutex<String>>,
    /// Requests for the configuration, each of which is followed by one for the keys.
    asked: Arc<AtomicUsize>,
    /// Whether it accepts requests without answering them.
    hangs: Arc<AtomicBool>,
    hand: Hand,
    url: String,
}

/// A clock that the test sets.
#[derive(Clone)]
struct Hand(Arc<AtomicU64>);

impl Clock for Hand {
    fn now(&self) -> EpochMs {
        EpochMs(self.0.load(Ordering::SeqCst))
    }
}

impl Issuer {
    async fn start() -> Self {
        let key = rsa();
        let published = Arc::new(Mutex::new(key_set(&[(&key, "first")])));
        let (asked, hangs) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(serve(listener, url.clone(), Arc::clone(&published), Arc::clone(&asked), Arc::clone(&hangs)));
        Self { key, published, asked, hangs, hand: Hand(Arc::new(AtomicU64::new(NOW * 1000))), url }
    }

    fn tokens(&self) -> ForPayments {
        self.named(ISSUER)
    }

    fn named(&self, name: &str) -> ForPayments {
        let clock = Arc::new(self.hand.clone());
        let issuer = super::Issuer::configured_at(format!("{}/configuration", self.url), name.to_owned(), clock);
        let roles = Roles {
            name_claim: "sub".to_owned(),
            claim: "role".to_owned(),
            viewer: "viewer".to_owned(),
            operator: "operator".to_owned(),
        };
        ForPayments(Tokens::new(issuer.unwrap(), roles))
    }

    fn sign(&self, claims: &Value) -> String {
        sign(&self.key, Some("first"), claims)
    }

    fn publish(&self, keys: &[(&EncodingKey, &str)]) {
        *self.published.lock().unwrap() = key_set(keys);
    }

    fn hang(&self, hangs: bool) {
        self.hangs.store(hangs, Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Lets time pass.
    fn pass(&self, time: Duration) {
        self.hand.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Waits until it has received this many requests.
    async fn until_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::task::yield_now().await;
        }
    }
}

/// Accepts tokens for the audience `payments`.
struct ForPayments(Tokens);

impl ForPayments {
    async fn actor(&self, token: &str) -> Result<Actor, Denied> {
        self.0.actor(token, &["payments"]).await
    }
}

async fn serve(
    listener: TcpListener,
    url: String,
    published: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    hangs: Arc<AtomicBool>,
) {
    let mut hanging = Vec::new();
    while let Ok((mut connection, _)) = listener.accept().await {
        let mut request = [0; 4096];
        assert_ne!(connection.read(&mut request).await.unwrap(), 0);
        let is_configuration = request.starts_with(b"GET /configuration ");
        asked.fetch_add(usize::from(is_configuration), Ordering::SeqCst);
        if hangs.load(Ordering::SeqCst) {
            hanging.push(connection);
            continue;
        }
        let configuration = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}/token"),
            "jwks_uri": format!("{url}/keys"),
        });
        let keys = published.lock().unwrap().clone();
        let body = if is_configuration { configuration.to_string() } else { keys };
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
    sign_by(Algorithm::RS256, key, id, claims)
}

fn sign_by(algorithm: Algorithm, key: &EncodingKey, id: Option<&str>, claims: &Value) -> String {
    let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
    encode(&header, claims, key).unwrap()
}

fn claims() -> Value {
    let exp = NOW + 30 * 24 * 60 * 60;
    json!({ "iss": ISSUER, "aud": "payments", "sub": "olga", "role": "operator", "iat": NOW, "exp": exp })
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
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn each_signature_by_rsa_that_api_gateway_accepts_is_accepted() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        let token = sign_by(algorithm, &issuer.key, Some("first"), &claims());
        assert!(tokens.actor(&token).await.is_ok(), "{algorithm:?}");
    }
}

#[tokio::test]
async fn the_audience_is_aud_or_without_one_the_client_id() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let of = |aud: Option<Value>, client_id: Option<&str>| {
        let mut claims = aud.map_or_else(|| without("aud"), |aud| with("aud", aud));
        if let Some(client_id) = client_id {
            claims["client_id"] = json!(client_id);
        }
        issuer.sign(&claims)
    };
    for (aud, client_id) in [
        (Some(json!("payments")), None),
        (Some(json!("payments")), Some("other")),
        (Some(json!(["other", "payments"])), None),
        (None, Some("payments")),
    ] {
        let actor = tokens.actor(&of(aud.clone(), client_id)).await;
        assert!(actor.is_ok(), "{aud:?} {client_id:?}: {actor:?}");
    }
    for (aud, client_id) in [
        (Some(json!("other")), Some("payments")),
        (Some(json!(["other"])), Some("payments")),
        (Some(json!([])), Some("payments")),
        (Some(json!(7)), Some("payments")),
        (None, Some("other")),
        (None, None),
    ] {
        let denied = tokens.actor(&of(aud.clone(), client_id)).await;
        assert!(matches!(denied, Err(Denied::Invalid(_))), "{aud:?} {client_id:?}: {denied:?}");
    }
}

#[tokio::test]
async fn a_token_is_valid_from_when_it_says_until_it_ends_by_our_clock() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let ago = |seconds: u64| json!(NOW - seconds);
    for good in [with("nbf", ago(0)), with("iat", ago(3600)), with("exp", json!(NOW as f64 + 0.5)), without("iat")] {
        assert!(tokens.actor(&issuer.sign(&good)).await.is_ok(), "{good}");
    }
    let to_come = json!(NOW + 60);
    for bad in [with("nbf", to_come.clone()), with("iat", to_come), with("exp", ago(60)), with("iat", json!("now"))] {
        let denied = tokens.actor(&issuer.sign(&bad)).await;
        assert!(matches!(denied, Err(Denied::Invalid(_))), "{bad}: {denied:?}");
    }
    let token = issuer.sign(&claims());
    issuer.pass(31 * 24 * HOUR);
    assert!(matches!(tokens.actor(&token).await, Err(Denied::Invalid(_))), "it has ended");
}

#[tokio::test]
async fn a_token_that_is_not_for_us_or_names_nobody_is_not_valid() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let bad = [
        with("iss", json!("https://other.example")),
        with("sub", json!("")),
        with("sub", json!("x".repeat(257))),
        with("sub", json!(1)),
        without("iss"),
        without("exp"),
        without("sub"),
    ];
    for claims in bad {
        let denied = tokens.actor(&issuer.sign(&claims)).await;
        assert!(matches!(denied, Err(Denied::Invalid(_))), "{claims}: {denied:?}");
    }
    for role in [json!(null), json!("admin"), json!("Operator"), json!(["admin"]), json!(1), json!("")] {
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
    // The public key as a shared secret: an attack on verifiers that let the token choose the algorithm.
    let modulus = serde_json::from_str::<Value>(&issuer.published.lock().unwrap()).unwrap()["keys"][0]["n"].clone();
    let secret = EncodingKey::from_secret(modulus.as_str().unwrap().as_bytes());
    let confused = sign_by(Algorithm::HS256, &secret, Some("first"), &claims());
    let unsigned = "eyJhbGciOiJub25lIn0.e30.".to_owned();
    let stranger = sign(&rsa(), Some("first"), &claims());
    let padded_otherwise = sign_by(Algorithm::PS256, &issuer.key, Some("first"), &claims());
    let of_no_key = sign(&issuer.key, None, &claims());
    for token in [
        format!("{body}.AAAA"),
        format!("{body}."),
        confused,
        unsigned,
        stranger,
        padded_otherwise,
        of_no_key,
        "x".into(),
        String::new(),
    ] {
        let denied = tokens.actor(&token).await;
        assert!(matches!(denied, Err(Denied::Invalid(_))), "{token}: {denied:?}");
    }
}

#[tokio::test]
async fn unknown_keys_do_not_make_us_ask_the_issuer_again_and_again() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    for round in 1..=3 {
        for number in 0..20 {
            let denied = tokens.actor(&sign(&issuer.key, Some(&format!("key-{number}")), &claims())).await;
            assert!(matches!(denied, Err(Denied::Invalid(_))), "{denied:?}");
        }
        assert_eq!(issuer.asked(), round);
        issuer.pass(Duration::from_secs(30));
    }
}

#[tokio::test]
async fn a_new_key_of_the_issuer_is_found_after_a_while_and_a_withdrawn_one_forgotten() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let (first, second) = (issuer.sign(&claims()), rsa());
    tokens.actor(&first).await.unwrap();
    issuer.publish(&[(&issuer.key, "first"), (&second, "second")]);
    let token = sign(&second, Some("second"), &claims());
    assert!(matches!(tokens.actor(&token).await, Err(Denied::Invalid(_))), "too early to ask again");
    issuer.pass(Duration::from_secs(30));
    assert!(tokens.actor(&token).await.is_ok());

    issuer.publish(&[(&second, "second")]);
    issuer.pass(HOUR);
    assert!(tokens.actor(&first).await.is_ok(), "the question whether it is still published keeps nobody waiting");
    issuer.until_asked(3).await;
    while tokens.actor(&first).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(matches!(tokens.actor(&first).await, Err(Denied::Invalid(_))));
    assert!(tokens.actor(&token).await.is_ok());
}

#[tokio::test]
async fn with_the_issuer_out_of_reach_known_keys_count_for_a_day_and_nobody_waits() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    let token = issuer.sign(&claims());
    tokens.actor(&token).await.unwrap();
    issuer.hang(true);
    let started = Instant::now();
    for hour in 1..24 {
        issuer.pass(HOUR);
        assert!(tokens.actor(&token).await.is_ok(), "after {hour} h");
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    issuer.pass(HOUR);
    let denied = tokens.actor(&token).await;
    assert!(matches!(denied, Err(Denied::IssuerUnavailable(_))), "a day is over: {denied:?}");
}

#[tokio::test]
async fn with_the_issuer_out_of_reach_one_request_waits_and_the_others_hear_it_at_once() {
    let issuer = Issuer::start().await;
    issuer.hang(true);
    let tokens = issuer.tokens();
    let token = issuer.sign(&claims());
    let started = Instant::now();
    let together = (0..10).map(|number| sign(&issuer.key, Some(&format!("key-{number}")), &claims()));
    for denied in futures::future::join_all(together.map(async |token| tokens.actor(&token).await)).await {
        assert!(matches!(denied, Err(Denied::IssuerUnavailable(_))), "{denied:?}");
    }
    for _ in 0..100 {
        assert!(matches!(tokens.actor(&token).await, Err(Denied::IssuerUnavailable(_))));
    }
    assert!(started.elapsed() < Duration::from_secs(4), "one question's time: {:?}", started.elapsed());
    assert_eq!(issuer.asked(), 1);

    issuer.hang(false);
    assert!(matches!(tokens.actor(&token).await, Err(Denied::IssuerUnavailable(_))), "too early to ask again");
    issuer.pass(Duration::from_secs(30));
    assert!(tokens.actor(&token).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_was_ahead_does_not_keep_us_from_asking() {
    let issuer = Issuer::start().await;
    let tokens = issuer.tokens();
    issuer.pass(HOUR);
    tokens.actor(&issuer.sign(&claims())).await.unwrap();
    issuer.hand.0.store(NOW * 1000, Ordering::SeqCst);
    tokens.actor(&issuer.sign(&claims())).await.unwrap();
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn the_configuration_of_another_issuer_does_not_count() {
    let issuer = Issuer::start().await;
    let denied = issuer.named("https://other.example").actor(&issuer.sign(&claims())).await;
    assert!(
        matches!(&denied, Err(Denied::IssuerUnavailable(error)) if error.to_string().contains(ISSUER)),
        "{denied:?}"
    );
}

#[tokio::test]
async fn an_id_token_is_for_one_client_and_one_sign_in() {
    let issuer = Issuer::start().await;
    let ForPayments(tokens) = issuer.tokens();
    let issued = |name: &str, value: Value| {
        let mut claims = with("nonce", json!("once"));
        claims[name] = value;
        issuer.sign(&claims)
    };
    for good in [issued("azp", json!("payments")), issued("aud", json!(["payments", "other"]))] {
        assert!(tokens.signed_in(&good, "payments", "once").await.is_ok());
    }
    for (bad, flaw) in [
        (issued("nonce", json!("twice")), Flaw::Nonce),
        (issued("nonce", json!(null)), Flaw::Nonce),
        (issued("azp", json!("other")), Flaw::Audience),
        (issued("aud", json!("other")), Flaw::Audience),
        (issued("iss", json!("https://other.example")), Flaw::Issuer),
        (issued("exp", json!(NOW - 60)), Flaw::Ended(60)),
        (issued("iat", json!(NOW + 60)), Flaw::Early(60)),
    ] {
        let denied = tokens.signed_in(&bad, "payments", "once").await;
        assert!(matches!(&denied, Err(Denied::Invalid(found)) if *found == flaw), "{flaw}: {denied:?}");
    }
}
