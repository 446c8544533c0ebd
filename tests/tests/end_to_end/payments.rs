//! A payment is charged once and posted once, with real processes on real sockets.

use serde_json::{Value, json};
use tests::local_stack::{Answer, Setup, Stack, payment};
use tests::wait::{TIMEOUT, eventually};

use crate::stacks::SHARED;

const VISA: &str = "pm_card_visa";

fn transaction(charge: &Value) -> String {
    charge["metadata"]["transaction"].as_str().expect("the transaction id").to_owned()
}

/// The outbox's message for a payment.
fn message(account: &str, answer: &Answer, charge: &Value) -> String {
    let event = json!({
        "type": "payment.succeeded",
        "event": transaction(charge),
        "payment": answer.json()["id"],
        "account": account,
        "amount": "1999",
        "currency": "EUR",
    });
    event.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_payment_again_gets_the_same_bytes_and_is_charged_once() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let body = payment(account, VISA);
    let first = ann.pay("key-1", &body).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert!(!first.is_replay());
    let (location, id) = (first.header("location").expect("a location"), first.json()["id"].clone());
    assert_eq!(location, format!("/payments/{}", id.as_str().expect("an id")));
    assert_eq!((&first.json()["amount"], &first.json()["currency"]), (&json!(1999), &json!("EUR")));

    // The other spellings of the key and of the body.
    let second = ann.pay("\"key-1\"", &body).await;
    assert_eq!((second.status, &second.body), (201, &first.body));
    assert_eq!(second.header("location"), Some(location));
    assert_eq!(second.header("content-type"), first.header("content-type"));
    assert!(second.is_replay());
    assert_eq!(stack.charges().await.len(), 1);

    let read = ann.get(location).await;
    assert_eq!((read.status, read.json()), (200, first.json()));
    assert_eq!(stack.user("bob").await.get(location).await.status, 404, "another's payment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_reaches_the_ledger_once_however_often_its_message_is_delivered() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let answer = ann.pay("key-1", &payment(account, VISA)).await;
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);

    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    stack.put("LedgerQueue", 3, message(account, &answer, charge)).await;
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
    assert_eq!(stack.queue("LedgerDeadLetters").await["visible"], 0, "the copies were settled, not refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_fifty_equal_requests_at_once_one_runs() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", VISA);
    let all = futures::future::join_all((0..50).map(|_| ann.pay("key-1", &body))).await;
    let first: Vec<_> = all.iter().filter(|answer| answer.status == 201 && !answer.is_replay()).collect();
    let [first] = first.as_slice() else { panic!("{} answers are first ones", first.len()) };
    for answer in &all {
        match answer.status {
            201 => assert_eq!(answer.body, first.body),
            409 => {
                assert_eq!(answer.problem(), "409 in-progress");
                let seconds: u64 = answer.header("retry-after").expect("Retry-After").parse().expect("seconds");
                assert!((1..=11).contains(&seconds), "within the lease: {seconds}");
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(stack.charges().await.len(), 1);
    let again = ann.pay("key-1", &body).await;
    assert!(again.is_replay());
    assert_eq!(again.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_belongs_to_one_request_of_one_principal() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let (ann, bob) = (stack.user("ann").await, stack.user("bob").await);
    let first = ann.pay("key-1", &payment(account, VISA)).await;
    assert_eq!(ann.pay("key-1", &payment("acct-2", VISA)).await.problem(), "422 fingerprint-mismatch");
    let keyless = ann.request(reqwest::Method::POST, "/payments").json(&payment(account, VISA)).send().await;
    assert_eq!(keyless.expect("answers").status(), 400);
    assert!(ann.pay("key-1", &payment(account, VISA)).await.is_replay(), "a mismatch does not poison the key");

    let own = bob.pay("key-1", &payment(account, VISA)).await;
    assert_eq!(own.status, 201);
    assert_ne!(own.json()["id"], first.json()["id"]);
    assert_eq!(stack.charges().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_is_final() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let body = payment(account, "pm_card_chargeDeclined");
    let (first, second) = (ann.pay("key-1", &body).await, ann.pay("key-1", &body).await);
    assert_eq!((first.status, second.status), (402, 402), "{first:?}");
    assert_eq!(first.body, second.body);
    assert!(!first.is_replay() && second.is_replay());
    assert!(stack.charges().await.is_empty());
}

/// The function's process dies, and the client retries until it gets an answer. One charge, one payment, one posting.
async fn dies_and_is_repeated(payment_method: &str) {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let body = payment(account, payment_method);
    let first = ann.pay("key-1", &body).await;
    assert!(first.status >= 500, "the gateway answers for the dead function: {first:?}");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "409 in-progress", "until the lease is over");

    let answer = ann.pay_until_final("key-1", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(!answer.is_replay(), "it ran now");
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["idempotency_key"], json!(transaction(charge)), "the provider's key is our transaction id");
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
    let again = ann.pay("key-1", &body).await;
    assert!(again.is_replay());
    assert_eq!(again.body, answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_charge_the_retry_ends_in_one_charge_and_one_posting() {
    dies_and_is_repeated("pm_kill_after_charge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_retry_after_a_kill_waits_for_the_lease_of_the_dead_owner_and_pays() {
    let stack = Setup::deployed().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_kill_after_charge");
    let killed = ann.pay("key-1", &body).await;
    assert!(killed.status >= 500, "the gateway answers for the dead function: {killed:?}");
    let retried = ann.pay("key-1", &body).await;
    assert_eq!((retried.status, retried.is_replay()), (201, false), "{retried:?}");
    assert_eq!(stack.charges().await.len(), 1);
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_charge_the_retry_ends_in_one_charge_and_one_posting() {
    dies_and_is_repeated("pm_kill_before_charge").await;
}

/// The provider never answers: before it times out, the function answers that the outcome is unknown.
async fn is_not_answered_and_is_repeated(payment_method: &str) {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let body = payment(account, payment_method);
    let first = ann.pay("key-1", &body).await;
    assert_eq!(first.problem(), "503 outcome-unknown");
    assert!(first.header("retry-after").is_some());
    let answer = ann.pay_until_final("key-1", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(stack.charges().await.len(), 1);
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_after_the_charge_the_outcome_is_unknown_and_the_retry_charges_no_more() {
    is_not_answered_and_is_repeated("pm_timeout_after_charge").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_before_the_charge_the_outcome_is_unknown_and_the_retry_charges_once() {
    is_not_answered_and_is_repeated("pm_timeout_before_charge").await;
}

/// The first request for a refund dies with its function, or gets no answer; the client retries until the answer is
/// final. One refund, one answer, one posting.
async fn refund_is_repeated(payment_method: &str) {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let paid = ann.pay("key-1", &payment(account, payment_method)).await;
    let path = format!("{}/refunds", paid.header("location").expect("a location"));
    let part = json!({ "amount": 500, "reason": "late" });
    let first = ann.post(&path, "refund-1", &part).await;
    assert!(first.status >= 500 || first.problem() == "503 outcome-unknown", "{first:?}");

    let answer = ann.post_until_final(&path, "refund-1", &part).await;
    assert_eq!((answer.status, &answer.json()["amount"]), (201, &json!(500)), "{answer:?}");
    assert!(!answer.is_replay(), "it ran now");
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["amount_refunded"], 500);
    assert_eq!(ann.balance(account, "EUR", 2).await, 1499);
    let again = ann.post(&path, "refund-1", &part).await;
    assert!(again.is_replay());
    assert_eq!(again.body, answer.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_refund_the_retry_ends_in_one_refund_and_one_posting() {
    refund_is_repeated("pm_kill_after_refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_refund_the_retry_ends_in_one_refund_and_one_posting() {
    refund_is_repeated("pm_kill_before_refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_after_the_refund_the_retry_gives_no_more_back() {
    refund_is_repeated("pm_timeout_after_refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_before_the_refund_the_retry_gives_it_back_once() {
    refund_is_repeated("pm_timeout_before_refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_does_not_accept_is_final_and_charges_nothing() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let of = |amount: u64, currency: &str| json!({ "account": account, "amount": amount, "currency": currency, "payment_method": VISA });
    for (key, body, problem, detail) in [
        ("cent", of(1, "EUR"), "422 amount_too_small", "amount: "),
        ("yen", of(49, "JPY"), "422 amount_too_small", "amount: "),
        // An ISO 4217 currency in which the provider does not charge.
        ("dinar", of(5000, "KWD"), "422 refused", "currency: Invalid currency: kwd"),
    ] {
        let (first, second) = (ann.pay(key, &body).await, ann.pay(key, &body).await);
        assert_eq!((first.problem().as_str(), first.is_replay()), (problem, false), "{first:?}");
        assert!(first.json()["detail"].as_str().is_some_and(|text| text.starts_with(detail)), "{first:?}");
        assert_eq!((&second.body, second.is_replay()), (&first.body, true));
    }
    assert_eq!(ann.pay("coin", &of(50, "EUR")).await.status, 201, "the least there is");
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_asks_for_its_holder_is_declined_for_good() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    for method in ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required"] {
        let body = payment(account, method);
        let (first, second) = (ann.pay(method, &body).await, ann.pay(method, &body).await);
        assert_eq!(
            (first.problem().as_str(), first.is_replay()),
            ("402 authentication_not_handled", false),
            "{first:?}"
        );
        assert_eq!((&second.body, second.is_replay()), (&first.body, true));
    }
    assert!(stack.charges().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_provider_down_nothing_is_charged_and_the_retry_charges_once() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", VISA);
    stack.provider("down").await;
    let first = ann.pay("key-1", &body).await;
    assert_eq!((first.json()["retryable"].clone(), stack.charges().await.len()), (json!(true), 0), "{first:?}");
    stack.provider("up").await;
    assert_eq!(ann.pay_until_final("key-1", &body).await.status, 201);
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_made_once_and_posted_once_and_never_exceeds_the_payment() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let paid = ann.pay("key-1", &payment(account, VISA)).await;
    let path = format!("{}/refunds", paid.header("location").expect("a location"));
    let part = json!({ "amount": 500, "reason": "late" });
    let (first, second) = (ann.post(&path, "refund-1", &part).await, ann.post(&path, "refund-1", &part).await);
    assert_eq!((first.status, &first.body), (201, &second.body), "{first:?}");
    assert!(second.is_replay());

    let too_much = ann.post(&path, "refund-2", &json!({ "amount": 1500 })).await;
    assert_eq!(too_much.status, 400, "{too_much:?}");
    let rest = ann.post(&path, "refund-2", &json!({})).await;
    assert_eq!((rest.status, &rest.json()["amount"]), (201, &json!(1499)), "the corrected request, under the same key");
    assert_eq!(stack.user("bob").await.post(&path, "refund-3", &part).await.status, 404, "another's payment");
    assert_eq!(ann.post(&path, "key-1", &part).await.problem(), "422 fingerprint-mismatch", "a key of another route");

    assert_eq!(ann.balance(account, "EUR", 3).await, 0);
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["amount_refunded"], 1999);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_without_a_body_is_a_full_refund_whatever_media_type_it_claims() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let mut paths = Vec::new();
    for key in ["key-1", "key-2"] {
        let paid = ann.pay(key, &payment(account, VISA)).await;
        paths.push(format!("{}/refunds", paid.header("location").expect("a location")));
    }
    let [first, second] = &paths[..] else { panic!("two payments") };

    let (refund, replay) = (ann.post_nothing(first, "refund-1").await, ann.post_nothing(first, "refund-1").await);
    assert_eq!((refund.status, &refund.json()["amount"]), (201, &json!(1999)), "{refund:?}");
    assert_eq!((replay.is_replay(), &replay.body), (true, &refund.body));
    assert_eq!(ann.post_nothing(first, "refund-2").await.problem(), "400 invalid-request", "nothing is left");
    let of_json = ann.request(reqwest::Method::POST, second).header("idempotency-key", "refund-3");
    let of_json = of_json.header("content-type", "application/json").send().await.expect("answers");
    assert_eq!(of_json.status(), 201, "generated clients name a media type without a body");

    assert_eq!(ann.balance(account, "EUR", 4).await, 0);
    let refunded: Vec<_> = stack.charges().await.iter().map(|charge| charge["amount_refunded"].clone()).collect();
    assert_eq!(refunded, [json!(1999), json!(1999)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_are_killed_again_and_again_are_not_missed() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    for number in 0..3 {
        let answer = ann.pay_until_final(&format!("key-{number}"), &payment("acct-1", VISA)).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        for function in ["PaymentsApi", "LedgerWorker"] {
            let kill = stack.local(reqwest::Method::POST, &format!("functions/{function}/kill")).send().await;
            assert!(kill.expect("answers").status().is_success());
        }
    }
    assert_eq!(ann.balance("acct-1", "EUR", 3).await, 3 * 1999);
    assert_eq!(stack.charges().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_charge_is_waited_for() {
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let started = std::time::Instant::now();
    let answer = ann.pay("key-1", &payment(account, "pm_slow_1500")).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    assert!(started.elapsed().as_millis() >= 1500 && started.elapsed() < TIMEOUT);
    eventually("one charge", || async { (stack.charges().await.len() == 1).then_some(()) }).await;
}
