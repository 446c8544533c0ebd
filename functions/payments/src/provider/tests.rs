//! Tests against a small HTTP server in this process: what is sent, and what each reply means.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::*;
use crate::{Reference, samples};

mod lookup;
mod rotation;

const CONNECT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);
const TRANSACTION: TransactionId = samples::transaction(0x0193_5b4a_7c00_7000_8000_0000_0000_0001);

fn api_key() -> ApiKey {
    ApiKey::fixed("sk_test_1").unwrap()
}

/// The server's reaction to the only request that it accepts.
enum Reply {
    /// Sends these bytes, then closes.
    Bytes(String),
    /// Sends these bytes (perhaps none), then neither replies nor closes.
    Silence(String),
}

fn answer(status: &str, body: &Value) -> Reply {
    page(status, &body.to_string())
}

fn page(status: &str, body: &str) -> Reply {
    Reply::Bytes(format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

fn error(status: &str, kind: &str, code: &str) -> Reply {
    answer(status, &json!({"error": {"type": kind, "code": code, "message": "Because.", "param": "amount"}}))
}

/// Accepts one request, replies, and returns the request. A second connection is refused, so a retry would be detected.
async fn serve(reply: Reply) -> (Provider, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = Provider::new(&format!("http://{}/", listener.local_addr().unwrap()), api_key(), CONNECT).unwrap();
    let request = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        drop(listener);
        let request = receive(&mut stream).await;
        match reply {
            Reply::Bytes(bytes) => stream.write_all(bytes.as_bytes()).await.unwrap(),
            Reply::Silence(bytes) => {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                let _ = stream.read(&mut [0]).await; // until the client gives up
            }
        }
        request
    });
    (provider, request)
}

/// Accepts as many requests as there are replies, each on its own connection.
async fn serve_each(replies: Vec<(&'static str, Value)>) -> (Provider, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let provider = Provider::new(&format!("http://{}/", listener.local_addr().unwrap()), api_key(), CONNECT).unwrap();
    let requests = tokio::spawn(async move {
        let mut requests = Vec::new();
        for (status, body) in replies {
            let (mut stream, _) = listener.accept().await.unwrap();
            requests.push(receive(&mut stream).await);
            let body = body.to_string();
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
        requests
    });
    (provider, requests)
}

async fn receive(stream: &mut TcpStream) -> String {
    let mut request = String::new();
    loop {
        if let Some((head, body)) = request.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() == length.parse::<usize>().unwrap() {
                return request;
            }
        }
        let mut bytes = [0; 4096];
        let read = stream.read(&mut bytes).await.unwrap();
        request.push_str(std::str::from_utf8(&bytes[..read]).unwrap());
    }
}

fn request() -> PaymentRequest {
    let json = br#"{"account":"acct_1","amount":1200,"currency":"EUR","payment_method":"pm_card_visa"}"#;
    PaymentRequest::from_json(json).unwrap()
}

fn payment() -> Payment {
    Payment::new(samples::transaction(7), samples::principal("alice"), &request(), "pi_1".to_owned(), 0)
}

fn intent(status: &str) -> Value {
    json!({"id": "pi_1", "object": "payment_intent", "status": status, "amount": 1200, "currency": "eur"})
}

fn refund(status: &str) -> Value {
    json!({"id": "re_1", "object": "refund", "status": status, "amount": 200, "currency": "eur"})
}

async fn charged(reply: Reply) -> Result<Charge, ProviderError> {
    let (provider, _request) = serve(reply).await;
    provider.charge(TRANSACTION, &request(), TIMEOUT).await
}

async fn refunded(reply: Reply) -> Result<Reversal, ProviderError> {
    let (provider, _request) = serve(reply).await;
    provider.refund(TRANSACTION, &payment(), Amount::new(200).unwrap(), None, TIMEOUT).await
}

async fn assert_charge_unknown(reply: Reply, seen: &str) {
    match charged(reply).await {
        Err(ProviderError::Unknown { why, .. }) => assert!(why.contains(seen), "{why}"),
        other => panic!("{seen}: {other:?}"),
    }
}

#[tokio::test]
async fn a_charge_goes_out_once_with_the_transaction_id_as_key_and_metadata() {
    let (provider, sent) = serve(answer("200 OK", &intent("succeeded"))).await;
    let charge = provider.charge(TRANSACTION, &request(), TIMEOUT).await.unwrap();
    assert_eq!(charge, Charge::Succeeded { id: "pi_1".to_owned() });

    let sent = sent.await.unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/payment_intents HTTP/1.1\r\n"), "{head}");
    for header in [
        "idempotency-key: 01935b4a-7c00-7000-8000-000000000001",
        "authorization: Bearer sk_test_1",
        "stripe-version: 2024-06-20",
        "content-type: application/x-www-form-urlencoded",
    ] {
        assert!(head.lines().any(|line| line == header), "{header} in {head}");
    }
    assert_eq!(
        body,
        "amount=1200&currency=eur&payment_method=pm_card_visa&payment_method_types%5B%5D=card&confirm=true\
         &error_on_requires_action=true&metadata%5Btransaction%5D=01935b4a-7c00-7000-8000-000000000001\
         &metadata%5Baccount%5D=acct_1&metadata%5Bpayment_method%5D=pm_card_visa"
    );
}

#[tokio::test]
async fn a_refund_goes_out_with_the_intent_and_the_transaction_id_as_key() {
    let (provider, sent) = serve(answer("200 OK", &refund("succeeded"))).await;
    let amount = Amount::new(200).unwrap();
    let reversal =
        provider.refund(TRANSACTION, &payment(), amount, Reason::parse("late").as_ref(), TIMEOUT).await.unwrap();
    assert_eq!(reversal, Reversal::Succeeded { id: "re_1".to_owned() });

    let sent = sent.await.unwrap();
    let (head, body) = sent.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/refunds HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nidempotency-key: 01935b4a-7c00-7000-8000-000000000001\r\n"), "{head}");
    assert_eq!(
        body,
        "payment_intent=pi_1&amount=200&metadata%5Btransaction%5D=01935b4a-7c00-7000-8000-000000000001\
         &metadata%5Baccount%5D=acct_1&metadata%5Breason%5D=late"
    );
}

#[tokio::test]
async fn a_card_error_is_a_decline_with_the_banks_reason() {
    let body = json!({"error": {
        "type": "card_error", "code": "card_declined", "decline_code": "insufficient_funds",
        "message": "Your card has insufficient funds.", "payment_intent": intent("requires_payment_method"),
    }});
    let declined = Charge::Declined(Decline {
        code: "card_declined".to_owned(),
        decline_code: Some("insufficient_funds".to_owned()),
        message: "Your card has insufficient funds.".to_owned(),
    });
    assert_eq!(charged(answer("402 Payment Required", &body)).await.unwrap(), declined);
}

#[tokio::test]
async fn an_invalid_request_is_refused_for_good() {
    let refusal = || ProviderRejection {
        code: Some("resource_missing".to_owned()),
        param: Some("amount".to_owned()),
        message: "Because.".to_owned(),
    };
    for status in ["400 Bad Request", "404 Not Found"] {
        let reply = || error(status, "invalid_request_error", "resource_missing");
        assert_eq!(charged(reply()).await.unwrap(), Charge::Refused(refusal()));
        assert_eq!(refunded(reply()).await.unwrap(), Reversal::Refused(refusal()));
    }
}

#[tokio::test]
async fn a_refused_connection_means_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let provider = Provider::new(&url, api_key(), CONNECT).unwrap();
    let charge = provider.charge(TRANSACTION, &request(), TIMEOUT).await;
    assert!(matches!(charge, Err(ProviderError::NotSent(_))), "{charge:?}");
}

#[tokio::test]
async fn a_handshake_that_fails_or_hangs_means_nothing_was_sent() {
    for hangs in [false, true] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while hangs && stream.read(&mut [0; 4096]).await.unwrap() > 0 {}
        });
        let provider = Provider::new(&url, api_key(), Duration::from_millis(200)).unwrap();
        let charge = provider.charge(TRANSACTION, &request(), TIMEOUT).await;
        assert!(matches!(charge, Err(ProviderError::NotSent(_))), "{charge:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn a_rate_limit_and_a_wrong_key_mean_nothing_was_executed() {
    for reply in [
        error("429 Too Many Requests", "invalid_request_error", "rate_limit"),
        page("429 Too Many Requests", "slow down"),
        error("401 Unauthorized", "invalid_request_error", "api_key_expired"),
        error("403 Forbidden", "invalid_request_error", "secret_key_required"),
    ] {
        let charge = charged(reply).await;
        assert!(matches!(charge, Err(ProviderError::NotExecuted(_))), "{charge:?}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_unknown() {
    for reply in [Reply::Silence(String::new()), Reply::Silence("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".into())]
    {
        let (provider, _sent) = serve(reply).await;
        let charge = provider.charge(TRANSACTION, &request(), Duration::from_millis(200)).await;
        match charge {
            Err(ProviderError::Unknown { why, source: Some(source), .. }) => {
                assert!(source.is_timeout() && why.ends_with("in time"), "{why}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_that_closes_before_or_in_the_answer_is_unknown() {
    assert_charge_unknown(Reply::Bytes(String::new()), "lost before an answer").await;
    for status in ["200 OK", "402 Payment Required", "429 Too Many Requests"] {
        let cut = format!("HTTP/1.1 {status}\r\ncontent-length: 999\r\n\r\n{{\"id\":\"pi_1\"");
        assert_charge_unknown(Reply::Bytes(cut), "lost in the answer").await;
    }
}

#[tokio::test]
async fn an_intent_that_has_not_come_to_its_end_is_unknown() {
    for status in ["processing", "requires_action", "requires_capture", "requires_confirmation", "canceled", "new"] {
        assert_charge_unknown(answer("200 OK", &intent(status)), status).await;
    }
    for status in ["pending", "requires_action", "failed", "canceled"] {
        let reversal = refunded(answer("200 OK", &refund(status))).await;
        assert!(matches!(reversal, Err(ProviderError::Unknown { .. })), "{reversal:?}");
    }
}

#[tokio::test]
async fn a_success_that_is_not_about_this_charge_is_unknown() {
    for (name, value) in [("amount", json!(12)), ("currency", json!("usd")), ("object", json!("refund"))] {
        let mut other = intent("succeeded");
        other[name] = value;
        assert_charge_unknown(answer("200 OK", &other), "not what was asked").await;
    }
    assert_charge_unknown(page("200 OK", "<html>"), "unreadable").await;
    assert_charge_unknown(answer("200 OK", &json!({"object": "payment_intent"})), "unreadable").await;
    let error = json!({"error": {"type": "card_error"}});
    assert_charge_unknown(answer("200 OK", &error), "unreadable").await;
}

#[tokio::test]
async fn an_error_that_does_not_say_nothing_happened_is_unknown() {
    for (status, kind, code) in [
        ("400 Bad Request", "idempotency_error", "other_parameters"),
        ("400 Bad Request", "card_error", "card_declined"),
        ("402 Payment Required", "api_error", "odd"),
        ("408 Request Timeout", "api_error", "odd"),
        ("409 Conflict", "idempotency_error", "idempotency_key_in_use"),
        ("409 Conflict", "invalid_request_error", "odd"),
        ("424 Failed Dependency", "api_error", "odd"),
        ("429 Too Many Requests", "invalid_request_error", "lock_timeout"),
        ("500 Internal Server Error", "api_error", "odd"),
        ("503 Service Unavailable", "api_error", "odd"),
    ] {
        assert_charge_unknown(error(status, kind, code), code).await;
    }
    let reversal = refunded(error("402 Payment Required", "card_error", "card_declined")).await;
    assert!(matches!(reversal, Err(ProviderError::Unknown { .. })), "{reversal:?}");
}

#[tokio::test]
async fn a_page_that_is_not_the_providers_is_unknown() {
    for status in ["400 Bad Request", "402 Payment Required", "403 Forbidden", "404 Not Found", "502 Bad Gateway"] {
        assert_charge_unknown(page(status, "<html>"), "without the provider's account").await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let redirect = "HTTP/1.1 307 Temporary Redirect\r\nlocation: /v1/payment_intents\r\ncontent-length: 0\r\n\r\n";
    assert_charge_unknown(Reply::Bytes(redirect.into()), "307").await;
}

#[test]
fn the_api_key_is_shown_nowhere() {
    let provider = Provider::new("https://api.stripe.com", ApiKey::fixed("sk_live_secret").unwrap(), CONNECT).unwrap();
    assert!(!format!("{provider:?}").contains("secret"));
}

#[test]
fn settings_that_cannot_work_are_refused_at_the_start() {
    for url in ["", "api.stripe.com", "ftp://api.stripe.com", "http://"] {
        assert!(matches!(Provider::new(url, api_key(), CONNECT), Err(SettingsError::Url)), "{url}");
    }
    assert!(ApiKey::fixed("sk\n").is_none());
}
