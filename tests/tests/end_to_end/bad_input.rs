//! Bad input gets a clear error and loses nothing.

use reqwest::Method;
use serde_json::json;
use tests::local_stack::{Setup, payment};
use tests::wait::eventually;

use crate::stacks::SHARED;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_not_valid_is_refused_by_field_and_its_key_stays_usable() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let valid = r#""account":"acct-1","amount":1999,"currency":"EUR","payment_method":"pm_card_visa""#;
    let valid = valid.replace("acct-1", account);
    let cases = [
        ("{", ""),
        ("", ""),
        ("[]", ""),
        ("{}", "account"),
        (&*format!(r#"{{"account":"{account}","amount":1999,"currency":"EUR"}}"#), "payment_method"),
        (&*valid.replace("EUR", "EUX"), "currency"),
        (&*valid.replace("1999", "0"), "amount"),
        (&*valid.replace("1999", "-1"), "amount"),
        (&*valid.replace("1999", "19.99"), "amount"),
        (&*valid.replace("1999", "1999.0"), "amount"),
        (&*valid.replace("1999", "\"1999\""), "amount"),
        (&*valid.replace("1999", "100000000"), "amount"),
        (&*valid.replace(account, "no spaces"), "account"),
        (&*format!("{valid},\"amout\":1"), "amout"),
    ];
    for (body, field) in cases {
        let body = if body.starts_with('"') { format!("{{{body}}}") } else { body.to_owned() };
        let request = ann.request(Method::POST, "/payments").header("idempotency-key", "key-1");
        let response = request.header("content-type", "application/json").body(body.clone()).send().await;
        let response = response.expect("answers");
        assert_eq!(response.status(), 400, "{body}");
        assert_eq!(response.headers()["content-type"], "application/problem+json");
        let problem: serde_json::Value = response.json().await.expect("a problem");
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(field)), "{problem}");
    }
    assert!(stack.charges().await.is_empty());
    let corrected = ann.pay("key-1", &payment(account, "pm_card_visa")).await;
    assert_eq!((corrected.status, corrected.is_replay()), (201, false), "{corrected:?}");
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_front_refuses_does_not_reach_the_function() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let client = reqwest::Client::new();
    let body = payment(account, "pm_card_visa");
    for authorization in [None, Some("Bearer nonsense"), Some("Basic YTpi")] {
        let mut request = client.post(format!("{}/payments", stack.base())).header("idempotency-key", "k").json(&body);
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        assert_eq!(request.send().await.expect("answers").status(), 401, "{authorization:?}");
    }
    let ann = stack.user("ann").await;
    assert_eq!(ann.get("/nothing").await.status, 404);
    assert_eq!(ann.get("/payments/pay_unknown").await.status, 404);
    let long = json!({ "account": account, "reference": "x".repeat(100_000) });
    assert_eq!(ann.pay("key-1", &long).await.problem(), "413 content-too-large");
    assert!(stack.charges().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_message_ends_in_the_dead_letters_and_the_rest_of_its_batch_is_done() {
    let stack = Setup::impatient().start().await;
    let event = |number: u32| {
        json!({
            "type": "payment.succeeded",
            "event": format!("01935b4a-7c00-7000-8000-{number:012}"),
            "payment": "pay_01935b4a7c0070008000000000000001",
            "account": "acct-1",
            "amount": 100,
            "currency": "EUR",
        })
    };
    let mut unknown = event(99);
    unknown["type"] = json!("payment.invented");
    let poison = ["not JSON".to_owned(), "{}".to_owned(), unknown.to_string()];
    for number in 0..4 {
        stack.put("LedgerQueue", 1, event(number).to_string()).await;
        if let Some(body) = poison.get(number as usize) {
            stack.put("LedgerQueue", 1, body.clone()).await;
        }
    }
    let ann = stack.user("ann").await;
    assert_eq!(ann.balance("acct-1", "EUR", 4).await, 400);
    let contents = eventually("the poison is in the dead letters", || async {
        let contents = stack.queue("LedgerDeadLetters").await;
        (contents["visible"] == poison.len()).then_some(contents)
    })
    .await;
    let mut bodies: Vec<_> = contents["bodies"].as_array().expect("a list").clone();
    let mut expected: Vec<_> = poison.iter().map(|body| json!(body)).collect();
    bodies.sort_by_key(ToString::to_string);
    expected.sort_by_key(ToString::to_string);
    assert_eq!(bodies, expected);
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance("acct-1", "EUR", 4).await, 400);
}
