//! The API answers every hostile request with 4xx, never with 5xx, charges nothing, and stays available.

use std::time::{SystemTime, UNIX_EPOCH};

use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder};
use tests::local_stack::{Stack, User, payment};

/// Reproducible random bytes: xorshift with a seed that is printed.
struct Random(u64);

impl Random {
    fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros();
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(u64::try_from(now).expect("fits")).max(1);
        println!("SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit as u64).expect("fits")
    }

    fn bytes(&mut self, longest: usize) -> Vec<u8> {
        (0..self.below(longest)).map(|_| u8::try_from(self.below(256)).expect("fits")).collect()
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

fn valid() -> Vec<u8> {
    payment("acct-1", "pm_card_visa").to_string().into_bytes()
}

/// A valid body with bytes changed, removed and inserted.
fn mutated(random: &mut Random) -> Vec<u8> {
    let mut body = valid();
    for _ in 0..=random.below(6) {
        let at = random.below(body.len());
        match random.below(3) {
            0 => body[at] = *random.of(b"\"\\{}[],:0-eE.\0\x7f\xc3\xff"),
            1 => drop(body.remove(at)),
            _ => body.insert(at, *random.of(b"\"\\{}[],:0-eE.\0\x7f\xc3\xff")),
        }
        if body.is_empty() {
            body = valid();
        }
    }
    body
}

/// Bodies that break parsers.
fn bodies() -> Vec<Vec<u8>> {
    let text = |text: &str| text.as_bytes().to_vec();
    let with_amount = |amount: &str| String::from_utf8(valid()).expect("UTF-8").replace("1999", amount).into_bytes();
    vec![
        Vec::new(),
        text("null"),
        text("\u{feff}{}"),
        "[".repeat(60_000).into_bytes(),
        "{\"a\":".repeat(10_000).into_bytes(),
        format!("{}{}", "[".repeat(30_000), "]".repeat(30_000)).into_bytes(),
        format!("\"{}\"", "\\u0000".repeat(5000)).into_bytes(),
        text("{\"account\":\"\\ud800\"}"),
        text("{\"account\":\"a\",\"account\":\"b\"}"),
        with_amount("1e400"),
        with_amount("-0"),
        with_amount("18446744073709551616"),
        with_amount(&"9".repeat(50_000)),
        with_amount("0.1"),
        with_amount("NaN"),
        vec![0xff; 1000],
        vec![0; 1000],
        b" ".repeat(64 * 1024 + 1),
        b"x".repeat(5 * 1024 * 1024),
    ]
}

fn keys(random: &mut Random) -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = [
        "",
        " ",
        "\"",
        "\"\"",
        "\"unclosed",
        "a\"b",
        "a,b",
        "a;b",
        "k; p=1",
        "\"k\";p",
        ":YWJj:",
        "?1",
        "(a b)",
        "\\",
        "\"\\x\"",
        "two words",
        "..",
        "%00",
        "idempotency:x",
        "{{resolve:secretsmanager:x}}",
        "${jndi:ldap://x}",
    ]
    .iter()
    .map(|key| key.as_bytes().to_vec())
    .collect();
    keys.push(b"k".repeat(256));
    keys.push(b"k".repeat(8000));
    keys.push("schlüssel".as_bytes().to_vec());
    keys.extend((0..40).map(|_| random.bytes(60)));
    keys
}

async fn is_refused(what: &str, request: RequestBuilder) {
    let response = request.send().await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let status = response.status();
    assert!(status.is_client_error(), "{what}: {status} {}", response.text().await.unwrap_or_default());
}

fn post(user: &User<'_>, path: &str) -> RequestBuilder {
    user.request(Method::POST, path).header("content-type", "application/json")
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_end_in_4xx_and_charge_nothing() {
    let mut random = Random::seeded();
    let stack = Stack::start().await;
    let mallory = stack.user("mallory").await;

    for (number, body) in bodies().into_iter().enumerate() {
        let what = format!("body {number}: {:?}…", String::from_utf8_lossy(&body[..body.len().min(40)]));
        is_refused(&what, post(&mallory, "/payments").header("idempotency-key", format!("body-{number}")).body(body))
            .await;
    }
    for key in keys(&mut random) {
        // Bytes that no client can put into a header.
        let Ok(header) = HeaderValue::from_bytes(&key) else { continue };
        // A random key that happens to be valid is sent with an invalid body.
        is_refused(&format!("key {key:?}"), post(&mallory, "/payments").header("idempotency-key", header).body("{}"))
            .await;
    }
    let twice = post(&mallory, "/payments").header("idempotency-key", "a").header("idempotency-key", "b").body(valid());
    is_refused("two keys", twice).await;
    for path in
        ["/payments/..%2f..%2fx/refunds", "/payments/%00/refunds", "/payments/pay_%ff/refunds", "/payments//refunds"]
    {
        is_refused(path, post(&mallory, path).header("idempotency-key", "path").body("{}")).await;
    }
    // Names that would break out of their place in a key, or mean several accounts.
    for account in
        ["acct-1%23balance", "acct-1%2fx", "*", "%2a", "provider:clearing%230", "acct-1%00", "account%23acct-1", ""]
    {
        is_refused(account, mallory.request(Method::GET, &format!("/accounts/{account}"))).await;
    }
    let long = format!("/payments/{}/refunds", "x".repeat(4000));
    is_refused("a long path", post(&mallory, &long).header("idempotency-key", "long").body(r#"{"amount":1}"#)).await;
    for kind in ["text/plain", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "\"", ";;;"] {
        let request = mallory.request(Method::POST, "/payments").header("content-type", kind);
        is_refused(kind, request.header("idempotency-key", "kind").body("amount=1999")).await;
    }
    let packed = post(&mallory, "/payments").header("content-encoding", "gzip").header("idempotency-key", "packed");
    is_refused("gzip that is none", packed.body(vec![0x1f, 0x8b, 8, 0, 0, 0])).await;
    assert!(stack.charges().await.is_empty());

    let mut accepted = 0;
    for number in 0..300 {
        let body = mutated(&mut random);
        let request = post(&mallory, "/payments").header("idempotency-key", format!("mutated-{number}"));
        let status = request.body(body.clone()).send().await.expect("answers").status();
        assert!(status.is_success() || status.is_client_error(), "{status}: {:?}", String::from_utf8_lossy(&body));
        accepted += usize::from(status.is_success());
    }
    // A changed digit or name can be a valid payment.
    assert_eq!(stack.charges().await.len(), accepted);
    assert!(accepted < 150, "{accepted} of 300 mutations are valid");

    let after = mallory.pay("after", &payment("acct-1", "pm_card_visa")).await;
    assert_eq!((after.status, after.is_replay()), (201, false));
}
