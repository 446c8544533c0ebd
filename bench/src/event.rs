//! The events for the subjects and for the functions.

use axum::body::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

/// The order in a request or message, as the subjects read it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Order {
    /// The amount; an order with an amount below zero is declined with 402.
    pub amount: i64,
    /// Whether the order has an effect: one more item in the table of effects.
    pub effect: bool,
    /// The minimum length of the answer.
    pub answer_bytes: usize,
}

impl Default for Order {
    fn default() -> Self {
        Self { amount: 1999, effect: false, answer_bytes: 0 }
    }
}

/// A request as API Gateway passes it to a function (payload format 2.0). With `hold` the handler never returns; a
/// header declares that, so that it is still the same request.
#[must_use]
pub fn request(key: &str, order: &Order, hold: bool) -> Bytes {
    post("/orders", key, &json!(order), hold)
}

/// A client's request for a payment.
#[must_use]
pub fn payment(key: &str) -> Bytes {
    let body = json!({
        "account": "acct-1",
        "amount": 1999,
        "currency": "EUR",
        "payment_method": "pm_card_visa",
        "reference": "order 17",
    });
    post("/payments", key, &body, false)
}

fn post(path: &str, key: &str, body: &Value, hold: bool) -> Bytes {
    let event = json!({
        "version": "2.0",
        "routeKey": format!("POST {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "accept": "*/*",
            "content-length": "64",
            "content-type": "application/json",
            "host": "api.example.com",
            "idempotency-key": key,
            "user-agent": "bench",
            "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            "x-forwarded-for": "192.0.2.1",
            "x-forwarded-port": "443",
            "x-forwarded-proto": "https",
            "x-hold": hold.to_string(),
        },
        "requestContext": {
            "accountId": "000000000000",
            "apiId": "api",
            "authorizer": { "jwt": { "claims": { "sub": "alice", "iss": "https://issuer.example.com/" }, "scopes": null } },
            "domainName": "api.example.com",
            "domainPrefix": "api",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1",
                "userAgent": "bench",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": format!("POST {path}"),
            "stage": "$default",
            "time": "24/Nov/2026:20:00:00 +0000",
            "timeEpoch": 1_795_550_400_000_u64,
        },
        "body": body.to_string(),
        "isBase64Encoded": false,
    });
    Bytes::from(event.to_string())
}

/// A batch as an event source mapping passes it to a function, with one message per key.
#[must_use]
pub fn batch(keys: impl IntoIterator<Item = String>, order: &Order) -> Bytes {
    messages(keys.into_iter().map(|key| {
        let mut body = json!(order);
        body["key"] = json!(key);
        body
    }))
}

/// A batch of terminal sales, each from another terminal into another account, under numbers that no other batch has.
#[must_use]
pub fn sales(batch: usize, count: usize) -> Bytes {
    messages((1..=count).map(|place| {
        json!({
            "type": "terminal.sale",
            "terminal": format!("till-{place}"),
            "sequence": batch * count + place,
            "account": format!("acct-{place}"),
            "amount": 1999,
            "currency": "EUR",
        })
    }))
}

/// A batch of payment events, each for another account, as the pipe sends them.
#[must_use]
pub fn payment_events(batch: usize, count: usize) -> Bytes {
    messages((1..=count).map(|place| {
        let number = batch * count + place;
        json!({
            "type": "payment.succeeded",
            "event": format!("01935b4a-7c00-7000-8000-{number:012x}"),
            "payment": format!("pay_01935b4a7c0070008000{number:012x}"),
            "account": format!("acct-{place}"),
            "amount": "1999",
            "currency": "EUR",
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        })
    }))
}

fn messages(bodies: impl IntoIterator<Item = Value>) -> Bytes {
    let records: Vec<Value> = bodies.into_iter().enumerate().map(|(place, body)| message(place, &body)).collect();
    Bytes::from(json!({ "Records": records }).to_string())
}

fn message(place: usize, body: &Value) -> Value {
    json!({
        "messageId": format!("059f36b4-87a3-44ab-83d2-{place:012}"),
        "receiptHandle": "AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a",
        "body": body.to_string(),
        "attributes": {
            "ApproximateReceiveCount": "1",
            "SentTimestamp": "1795550400000",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1795550400010",
        },
        "messageAttributes": {},
        "md5OfBody": "e4e68fb7bd0e697a0ae8f1bb342846b3",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-central-1:000000000000:orders",
        "awsRegion": "eu-central-1",
    })
}
