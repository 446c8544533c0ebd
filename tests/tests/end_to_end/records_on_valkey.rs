//! The application with its records on a real Valkey server: payments and ledger stay in DynamoDB, and are safe by
//! their own conditions.

use reqwest::Method;
use serde_json::{Value, json};
use tests::console::Script;
use tests::local_stack::{Setup, Shared, payment};
use tests::valkey;
use tests::wait::eventually;

const VISA: &str = "pm_card_visa";

/// Leases of seconds, and a reconciler that runs when a test asks for it.
static SHARED: Shared = Shared::new(|| Setup::brief().option("store", "valkey").reconciled_on_demand());

#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_the_same_payment_again_is_charged_once_and_posted_once() {
    if !valkey::is_installed("on_valkey_the_same_payment_again_is_charged_once_and_posted_once") {
        return;
    }
    let stack = SHARED.stack().await;
    let account = &stack.own("acct-1");
    let ann = stack.user("ann").await;
    let body = payment(account, VISA);
    let first = ann.pay("key-1", &body).await;
    assert_eq!((first.status, first.is_replay()), (201, false), "{first:?}");
    let second = ann.pay("key-1", &body).await;
    assert_eq!((second.status, &second.body, second.is_replay()), (201, &first.body, true));
    assert_eq!(ann.pay("key-1", &payment("acct-2", VISA)).await.problem(), "422 fingerprint-mismatch");

    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
    let event = json!({
        "type": "payment.succeeded", "event": charge["metadata"]["transaction"], "payment": first.json()["id"],
        "account": account, "amount": "1999", "currency": "EUR",
    });
    stack.put("LedgerQueue", 3, event.to_string()).await;
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
    assert_eq!(stack.queue("LedgerDeadLetters").await["visible"], 0, "the copies were settled, not refused");

    let refund = json!({ "amount": 500 });
    let path = format!("{}/refunds", first.header("location").expect("a location"));
    let (refunded, again) = (ann.post(&path, "key-2", &refund).await, ann.post(&path, "key-2", &refund).await);
    assert_eq!((refunded.status, again.is_replay(), &again.body), (201, true, &refunded.body), "{refunded:?}");
    assert_eq!(ann.balance(account, "EUR", 2).await, 1499);
}

/// Whoever dies before the charge, or after it and before anything is written.
#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_a_killed_request_ends_in_one_charge_and_one_posting() {
    if !valkey::is_installed("on_valkey_a_killed_request_ends_in_one_charge_and_one_posting") {
        return;
    }
    let stack = SHARED.stack().await;
    for method in ["pm_kill_after_charge", "pm_kill_before_charge"] {
        let account = &stack.own(method);
        let ann = stack.user("ann").await;
        let body = payment(account, method);
        let killed = ann.pay(method, &body).await;
        assert!(killed.status >= 500, "the gateway answers for the dead function: {killed:?}");
        let answer = ann.pay_until_final(method, &body).await;
        assert_eq!((answer.status, answer.is_replay()), (201, false), "{answer:?}");
        assert_eq!(ann.balance(account, "EUR", 1).await, 1999);
    }
    assert_eq!(stack.charges().await.len(), 2);
}

/// Nobody retries: the reconciler finds the abandoned claim in the server's index, and the operator finds what is
/// unknown.
#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_reconciler_and_console_find_and_settle_what_nobody_retries() {
    if !valkey::is_installed("on_valkey_reconciler_and_console_find_and_settle_what_nobody_retries") {
        return;
    }
    let stack = Setup::brief().option("store", "valkey").reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let killed = ann.pay("killed", &payment("acct-1", "pm_kill_after_charge")).await;
    assert!(killed.status >= 500, "{killed:?}");
    eventually("the reconciler finds the claim when its lease is over", || async {
        let report = stack.reconcile().await;
        (report["abandoned_found"].as_u64() > Some(0)).then_some(())
    })
    .await;
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);

    let body = payment("acct-2", "pm_timeout_after_charge");
    let record = olga.unknown_payment(&ann, "unknown", &body).await;
    let details = olga.get(&format!("records/{record}")).await;
    let reference = details["provider"]["reference"].as_str().expect("the intent").to_owned();
    let proof = json!({ "reference": reference, "reason": "Seen in the provider's dashboard." });
    let token = olga.preview(&record, "succeed", &proof).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let retry = ann.pay("unknown", &body).await;
    assert_eq!((retry.status, retry.is_replay()), (201, true), "{retry:?}");
    assert_eq!(ann.balance("acct-2", "EUR", 1).await, 1999);
    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!((&details["status"], &details["audit"][0]["actor"]), (&json!("SUCCESS"), &json!("olga")));
    assert_eq!(stack.charges().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_valkey_a_terminals_sale_is_posted_once_by_queue_and_topic_and_in_order() {
    if !valkey::is_installed("on_valkey_a_terminals_sale_is_posted_once_by_queue_and_topic_and_in_order") {
        return;
    }
    let stack = SHARED.stack().await;
    let (account, terminal) = (&stack.own("acct-1"), &stack.own("till"));
    let sale = |sequence: u64| {
        let sale = json!({
            "type": "terminal.sale", "terminal": terminal, "sequence": sequence, "account": account, "amount": 100,
            "currency": "EUR",
        });
        sale.to_string()
    };
    for sequence in [1, 2] {
        stack.append("terminal-sales", terminal, sale(sequence)).await;
    }
    let ann = stack.user("ann").await;
    assert_eq!(ann.balance(account, "EUR", 2).await, 200);
    for sequence in [1, 2, 3] {
        stack.put("LedgerQueue", 2, sale(sequence)).await;
    }
    assert_eq!(ann.balance(account, "EUR", 3).await, 300);
    stack.until_empty("LedgerQueue").await;
    assert_eq!(ann.balance(account, "EUR", 3).await, 300);
    let functions: Value =
        stack.local(Method::GET, "functions").send().await.expect("answers").json().await.expect("JSON");
    assert!(functions["TerminalStream"].as_array().is_some_and(|sandboxes| !sandboxes.is_empty()), "{functions}");
}
