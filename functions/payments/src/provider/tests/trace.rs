//! What a search at the provider means, and what it does not.

use super::*;

fn found(intents: Value) -> Reply {
    answer("200 OK", &json!({"object": "search_result", "has_more": false, "data": intents}))
}

fn known(status: &str) -> Value {
    json!({
        "id": "pi_1", "object": "payment_intent", "status": status, "amount": 1200, "amount_received": 1200,
        "currency": "eur", "created": 1_795_494_059, "last_payment_error": null,
        "metadata": {
            "transaction": TRANSACTION.to_string(), "account": "acct_1", "payment_method": "pm_card_visa", "reference": "order 17",
        },
    })
}

fn with(mut intent: Value, name: &str, value: Value) -> Value {
    intent[name] = value;
    intent
}

async fn searched(reply: Reply) -> Result<FoundCharge, ProviderError> {
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
        created: 1_795_494_059_000,
    };
    assert_eq!(charge, FoundCharge::Succeeded(Box::new(expected)));
    let sent = sent.await.unwrap();
    let line = "GET /v1/payment_intents/search?query=metadata%5B%27transaction%27%5D%3A%2701935b4a-7c00-7000-8000-000000000001%27";
    assert!(sent.starts_with(line), "{sent}");
}

#[tokio::test]
async fn what_may_still_go_either_way_is_no_evidence() {
    let declined = json!({"code": "card_declined", "decline_code": "generic_decline", "message": "No."});
    let decline = Charge::Declined {
        code: "card_declined".into(),
        decline_code: Some("generic_decline".into()),
        message: "No.".into(),
    };
    let waiting = |state: &str| FoundCharge::Waiting { intent: "pi_1".into(), state: state.into() };
    let tombstone = with(known("requires_payment_method"), "metadata", json!({"tombstone": "true"}));
    for (intents, expected) in [
        (json!([]), FoundCharge::Nothing),
        (json!([known("processing")]), FoundCharge::Open("processing".into())),
        (json!([known("requires_action")]), waiting("requires_action")),
        (json!([known("requires_confirmation")]), waiting("requires_confirmation")),
        (json!([known("requires_capture")]), waiting("requires_capture")),
        (json!([known("requires_payment_method")]), waiting("requires_payment_method")),
        (json!([known("new_state")]), FoundCharge::Open("new_state".into())),
        (
            json!([with(known("requires_payment_method"), "last_payment_error", declined)]),
            FoundCharge::Declined(decline),
        ),
        (json!([known("canceled")]), FoundCharge::Cancelled),
        (json!([tombstone]), FoundCharge::OpenTombstone("pi_1".into())),
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
    let refund = |transaction: Uuid, status: &str| {
        json!({
            "id": "re_1", "object": "refund", "status": status, "amount": 200, "currency": "eur",
            "created": 1_795_494_059, "metadata": {"transaction": transaction.to_string(), "reason": "late"},
        })
    };
    let own = |status| json!([refund(Uuid::from_u128(9), "succeeded"), refund(TRANSACTION, status)]);
    let refunded = Refunded {
        reversal: "re_1".into(),
        amount: Amount::new(200).unwrap(),
        reason: Reason::parse("late"),
        created: 1_795_494_059_000,
    };
    for (refunds, expected) in [
        (own("succeeded"), FoundRefund::Succeeded(Box::new(refunded))),
        (own("failed"), FoundRefund::Failed),
        (own("pending"), FoundRefund::Open("pending".into())),
        (json!([refund(Uuid::from_u128(9), "succeeded")]), FoundRefund::Nothing),
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
    let prevented = provider.prevent(TRANSACTION, TIMEOUT).await;
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
        let refused = provider.prevent(TRANSACTION, TIMEOUT).await.expect_err(status);
        assert_eq!(refused.is_key_used(), is_used, "{status} {kind}: {refused}");
    }
}
