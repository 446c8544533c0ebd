//! Tests of what a search at the provider proves, and what it does not.

use super::*;
use crate::Currency;

/// When [`TRANSACTION`] was made.
const MADE_MS: u64 = 0x0193_5b4a_7c00;

/// Ten seconds later.
const CREATED_S: u64 = MADE_MS / 1000 + 10;

const HOUR_MS: u64 = 60 * 60 * 1000;

async fn prevent(provider: &Provider, now: u64) -> Result<(), ProviderError> {
    provider.tombstone_key(TRANSACTION, Currency::from_code("HUF"), now, TIMEOUT).await
}

fn tombstone_of(transaction: TransactionId) -> Value {
    json!({"tombstone": "true", "transaction": transaction.to_string()})
}

/// A saved result of an earlier request with the same key and parameters.
fn replayed(status: &str, body: &Value) -> Reply {
    let body = body.to_string();
    let length = body.len();
    Reply::Bytes(format!("HTTP/1.1 {status}\r\nidempotent-replayed: true\r\ncontent-length: {length}\r\n\r\n{body}"))
}

fn found(intents: Value) -> Reply {
    answer("200 OK", &json!({"object": "search_result", "has_more": false, "data": intents}))
}

fn known(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 1200, "amount_received": 1200,
        "currency": "eur", "created": CREATED_S, "last_payment_error": null,
        "metadata": {
            "transaction": TRANSACTION.to_string(), "account": "acct_1", "payment_method": "pm_card_visa", "reference": "order 17",
        },
    })
}

fn with(mut intent: Value, name: &str, value: Value) -> Value {
    intent[name] = value;
    intent
}

async fn searched(reply: Reply) -> Result<ProviderStatus, ProviderError> {
    let (provider, _request) = serve(reply).await;
    provider.find_charge(TRANSACTION, TIMEOUT).await
}

#[tokio::test]
async fn a_charge_is_searched_by_its_transaction_id_and_read_with_all_that_a_payment_is_made_of() {
    let (provider, sent) = serve(found(json!([known("succeeded")]))).await;
    let charge = provider.find_charge(TRANSACTION, TIMEOUT).await.unwrap();
    let expected = Charged {
        intent: "pi_1".into(),
        transaction: Some(TRANSACTION),
        account: request().account,
        money: request().money,
        payment_method: request().payment_method,
        reference: Reference::parse("order 17"),
        created: CREATED_S * 1000,
    };
    assert_eq!(charge, ProviderStatus::Charged(Box::new(expected)));
    let sent = sent.await.unwrap();
    let line = "GET /v1/payment_intents/search?query=metadata%5B%27transaction%27%5D%3A%2701935b4a-7c00-7000-8000-000000000001%27";
    assert!(sent.starts_with(line), "{sent}");
}

#[tokio::test]
async fn what_may_still_go_either_way_is_no_evidence() {
    let declined = json!({"code": "card_declined", "decline_code": "generic_decline", "message": "No."});
    let decline =
        Decline { code: "card_declined".into(), decline_code: Some("generic_decline".into()), message: "No.".into() };
    let waiting = |state: &str| ProviderStatus::Waiting { intent: "pi_1".into(), state: state.into() };
    let tombstone = with(known("requires_payment_method"), "metadata", tombstone_of(TRANSACTION));
    for (intents, expected) in [
        (json!([]), ProviderStatus::NotFound),
        (json!([known("processing")]), ProviderStatus::Pending("processing".into())),
        (json!([known("requires_action")]), waiting("requires_action")),
        (json!([known("requires_confirmation")]), waiting("requires_confirmation")),
        (json!([known("requires_capture")]), waiting("requires_capture")),
        (json!([known("requires_payment_method")]), waiting("requires_payment_method")),
        (json!([known("new_state")]), ProviderStatus::Pending("new_state".into())),
        (
            json!([with(known("requires_payment_method"), "last_payment_error", declined)]),
            ProviderStatus::Declined(decline),
        ),
        (json!([known("canceled")]), ProviderStatus::Cancelled),
        (json!([tombstone.clone()]), ProviderStatus::OpenTombstone("pi_1".into())),
        (json!([with(tombstone.clone(), "status", json!("canceled"))]), ProviderStatus::Cancelled),
    ] {
        assert_eq!(searched(found(intents)).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_no_evidence_either() {
    for reply in [
        found(json!([known("succeeded"), known("succeeded")])),
        found(json!([with(known("succeeded"), "metadata", json!({}))])),
        found(json!([with(known("succeeded"), "amount_received", json!(1))])),
        found(json!([with(known("succeeded"), "currency", json!("xxx9"))])),
        found(json!([{}])),
        answer("200 OK", &json!({})),
        page("200 OK", "<html>"),
        error("500 Internal Server Error", "api_error", "x"),
        answer("404 Not Found", &json!({})),
        Reply::Silence("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".into()),
    ] {
        let (provider, _request) = serve(reply).await;
        let answered = provider.find_charge(TRANSACTION, Duration::from_millis(300)).await;
        let Err(ProviderError::Unknown { why, .. }) = answered else { panic!("{answered:?}") };
        assert!(!why.contains("before an answer"), "it was answered: {why}");
    }
}

#[tokio::test]
async fn a_refund_is_found_among_those_of_its_payment() {
    let refund = |transaction: TransactionId, status: &str| {
        json!({
            "id": "re_1", "object": "refund", "status": status, "amount": 200, "currency": "eur",
            "created": 1_795_494_059, "metadata": {"transaction": transaction.to_string(), "reason": "late"},
        })
    };
    let own = |status| json!([refund(samples::transaction(9), "succeeded"), refund(TRANSACTION, status)]);
    let refunded = Refunded {
        reversal: "re_1".into(),
        amount: Amount::new(200).unwrap(),
        reason: Reason::parse("late"),
        created: 1_795_494_059_000,
    };
    for (refunds, expected) in [
        (own("succeeded"), ProviderStatus::Refunded(Box::new(refunded))),
        (own("failed"), ProviderStatus::RefundFailed),
        (own("pending"), ProviderStatus::Pending("pending".into())),
        (json!([refund(samples::transaction(9), "succeeded")]), ProviderStatus::NotFound),
    ] {
        let (provider, _request) = serve(found(refunds)).await;
        assert_eq!(provider.find_refund(TRANSACTION, "pi_1", TIMEOUT).await.unwrap(), expected);
    }
    let (provider, _request) = serve(answer("200 OK", &json!({"has_more": true, "data": []}))).await;
    let answered = provider.find_refund(TRANSACTION, "pi_1", TIMEOUT).await;
    assert!(
        matches!(answered, Err(ProviderError::Unknown { .. })),
        "it may be among those not looked at: {answered:?}"
    );
}

#[tokio::test]
async fn a_key_that_was_used_is_no_evidence_that_nothing_happened() {
    let (provider, sent) = serve(error("400 Bad Request", "idempotency_error", "")).await;
    let prevented = prevent(&provider, MADE_MS).await;
    assert!(matches!(prevented, Err(ProviderError::Unknown { .. })), "{prevented:?}");
    let sent = sent.await.unwrap();
    assert!(sent.contains("\r\nidempotency-key: 01935b4a-7c00-7000-8000-000000000001\r\n"), "{sent}");
    assert!(!sent.contains("confirm"), "a tombstone is never charged: {sent}");
}

#[tokio::test]
async fn a_key_that_was_used_or_is_in_use_is_told_from_no_answer() {
    for (status, kind, is_used) in [
        ("400 Bad Request", "idempotency_error", true),
        ("409 Conflict", "idempotency_error", true),
        ("409 Conflict", "invalid_request_error", true),
        ("400 Bad Request", "invalid_request_error", false),
        ("429 Too Many Requests", "invalid_request_error", false),
        ("500 Internal Server Error", "api_error", false),
    ] {
        let (provider, _request) = serve(error(status, kind, "")).await;
        let refused = prevent(&provider, MADE_MS).await.expect_err(status);
        assert_eq!(refused.is_key_used(), is_used, "{status} {kind}: {refused}");
    }
}

#[tokio::test]
async fn a_tombstone_is_in_the_currency_that_was_asked_for() {
    let (provider, sent) = serve(error("400 Bad Request", "idempotency_error", "")).await;
    let _ = prevent(&provider, MADE_MS).await;
    let sent = sent.await.unwrap();
    assert!(sent.contains("amount=10000000&currency=huf&"), "{sent}");
}

#[tokio::test]
async fn where_the_provider_does_not_take_the_currency_the_key_is_taken_in_another() {
    let refusal = json!({"error": {"type": "invalid_request_error", "param": "currency", "message": "Not here."}});
    let made = ("200 OK", intent("requires_payment_method"));
    let replies = vec![("400 Bad Request", refusal.clone()), made, ("200 OK", intent("canceled"))];
    let (provider, sent) = serve_each(replies).await;
    prevent(&provider, MADE_MS).await.unwrap();
    let sent = sent.await.unwrap();
    assert!(sent[0].contains("currency=huf&") && sent[1].contains("currency=eur&"), "{sent:?}");
    let key = format!("idempotency-key: {TRANSACTION}");
    assert!(sent[..2].iter().all(|sent| sent.contains(&key)), "{sent:?}");

    let (provider, _sent) = serve_each(vec![("400 Bad Request", refusal.clone()), ("400 Bad Request", refusal)]).await;
    assert!(matches!(prevent(&provider, MADE_MS).await, Err(ProviderError::Unknown { .. })));
}

#[tokio::test]
async fn a_cancellation_has_no_key_under_which_a_failure_would_be_saved() {
    let (provider, sent) = serve(answer("200 OK", &intent("canceled"))).await;
    provider.cancel("pi_1", TIMEOUT).await.unwrap();
    let sent = sent.await.unwrap();
    assert!(sent.starts_with("POST /v1/payment_intents/pi_1/cancel HTTP/1.1\r\n"), "{sent}");
    assert!(!sent.to_ascii_lowercase().contains("idempotency-key"), "{sent}");
}

#[tokio::test]
async fn what_was_cancelled_before_is_cancelled() {
    let met = |status: &str| {
        let error = json!({
            "type": "invalid_request_error", "code": "payment_intent_unexpected_state", "payment_intent": intent(status),
        });
        answer("400 Bad Request", &json!({ "error": error }))
    };
    let (provider, _sent) = serve(met("canceled")).await;
    provider.cancel("pi_1", TIMEOUT).await.unwrap();
    for status in ["succeeded", "processing"] {
        let (provider, _sent) = serve(met(status)).await;
        assert!(matches!(provider.cancel("pi_1", TIMEOUT).await, Err(ProviderError::Unknown { .. })), "{status}");
    }
}

#[tokio::test]
async fn the_saved_failure_of_a_tombstone_holds_the_key_all_the_same() {
    let failure = json!({"error": {"type": "api_error", "message": "An error occurred."}});
    let (provider, _sent) = serve(replayed("500 Internal Server Error", &failure)).await;
    prevent(&provider, MADE_MS).await.unwrap();

    // Not saved, so the key may be unused.
    let (provider, _sent) = serve(answer("500 Internal Server Error", &failure)).await;
    assert!(matches!(prevent(&provider, MADE_MS).await, Err(ProviderError::Unknown { .. })));
}

#[tokio::test]
async fn what_the_provider_may_have_forgotten_gets_no_tombstone() {
    for (within_hours, late, in_time) in
        [(23, MADE_MS + 23 * HOUR_MS, MADE_MS + 23 * HOUR_MS - 1), (2, MADE_MS + 2 * HOUR_MS, MADE_MS)]
    {
        let (provider, sent) = serve(error("400 Bad Request", "idempotency_error", "")).await;
        let provider = provider.tombstones_within(Duration::from_millis(within_hours * HOUR_MS));
        let Err(ProviderError::Unknown { why, .. }) = prevent(&provider, late).await else { panic!("too late") };
        assert!(why.contains("forgotten"), "{why}");
        assert!(!sent.is_finished(), "nothing was sent");
        let Err(ProviderError::Unknown { why, .. }) = prevent(&provider, in_time).await else { panic!("it is used") };
        assert!(why.contains("idempotency_error"), "{why}");
        sent.await.unwrap();
    }
    let (provider, sent) = serve(error("400 Bad Request", "idempotency_error", "")).await;
    let undated = samples::transaction(7);
    let prevented = provider.tombstone_key(undated, Currency::from_code("EUR"), MADE_MS, TIMEOUT).await;
    assert!(matches!(prevented, Err(ProviderError::Unknown { .. })), "nobody knows its age");
    sent.abort();
}

#[tokio::test]
async fn a_tombstone_that_came_too_late_is_no_evidence_when_it_is_found() {
    for status in ["canceled", "requires_payment_method"] {
        let tombstone = with(known(status), "metadata", tombstone_of(TRANSACTION));
        let late = with(tombstone, "created", json!((MADE_MS + 23 * HOUR_MS) / 1000 + 1));
        let charge = searched(found(json!([late]))).await.unwrap();
        assert_eq!(charge, ProviderStatus::LateTombstone);
    }
}

#[tokio::test]
async fn without_time_left_nothing_is_sent() {
    let (provider, sent) = serve(answer("200 OK", &intent("succeeded"))).await;
    let charge = provider.charge(TRANSACTION, &request(), Duration::ZERO).await;
    assert!(matches!(charge, Err(ProviderError::OutOfTime)), "{charge:?}");
    assert!(!sent.is_finished(), "nothing was sent");
    sent.abort();
}
