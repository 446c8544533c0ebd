//! The provider's API key is rotated while the functions run.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;
use tests::console::{Script, Tables, subject};
use tests::local_stack::{Setup, Stack, payment};
use tests::wait::eventually;

const OLD: &str = "sk_test_local";
const NEW: &str = "sk_test_rolled";

/// As `aws secretsmanager put-secret-value` does.
async fn put_secret(stack: &Stack, value: String) {
    let request = stack.local(Method::POST, "secrets/payments/provider").body(value);
    assert_eq!(request.send().await.expect("answers").status(), 204);
}

/// As the button in the provider's dashboard does, which ends the old key.
async fn roll(stack: &Stack) {
    let request = stack.local(Method::POST, &format!("provider/roll?old={OLD}&new={NEW}"));
    assert_eq!(request.send().await.expect("answers").status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_under_load_loses_no_payment_and_charges_each_once() {
    const CALLERS: usize = 6;
    const PAYMENTS: usize = 8;
    let stack = Setup::brief().start().await;
    let ann = stack.user("ann").await;
    let body = &payment("acct-1", "pm_card_visa");
    let ann = &ann;
    let pays = |caller: usize| async move {
        for number in 0..PAYMENTS {
            let answer = ann.pay(&format!("key-{caller}-{number}"), body).await;
            assert_eq!(answer.status, 201, "{}", answer.text());
        }
    };
    // The functions know the old key before it ends.
    assert_eq!(ann.pay("key-first", body).await.status, 201);
    let rotates = async {
        put_secret(&stack, json!({ "api_key": NEW }).to_string()).await;
        roll(&stack).await;
    };
    tokio::join!(join_all((0..CALLERS).map(pays)), rotates);
    assert_eq!(ann.pay("key-last", body).await.status, 201);
    assert_eq!(stack.charges().await.len(), CALLERS * PAYMENTS + 2);
    stack.logged("the provider refused its API key; there is a newer one").await;
    assert_eq!(ann.balance("acct-1", "EUR", (CALLERS * PAYMENTS + 2) as u64).await, 1999 * 50);
    for key in [OLD, NEW] {
        assert!(!stack.log().contains(key), "no key in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_executes_nothing_and_leaves_no_unknown_outcome() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_card_visa");
    roll(&stack).await;
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 provider-unavailable");
    stack.logged("status 401 Unauthorized").await;
    // A running function keeps the old key, a new one has none.
    for value in ["sk_test_without_json".to_owned(), json!({ "key": NEW }).to_string()] {
        put_secret(&stack, value).await;
        assert_eq!(ann.pay("key-1", &body).await.problem(), "503 provider-unavailable");
        let kill = stack.local(Method::POST, "functions/PaymentsApi/kill").send().await.expect("answers");
        assert!(kill.status().is_success());
        assert_eq!(ann.pay("key-1", &body).await.problem(), "503 provider-unavailable");
    }
    for error in ["it is not a JSON object", "has no usable text `api_key`"] {
        stack.logged(error).await;
    }
    assert_eq!(olga.unresolved().await, [] as [String; 0]);
    assert_eq!(stack.charges().await.len(), 0);
    assert!(!stack.log().contains("sk_test"), "no key in the log");

    put_secret(&stack, json!({ "api_key": NEW }).to_string()).await;
    assert_eq!(ann.pay("key-1", &body).await.status, 201, "the same request, once the secret is right");
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciler_and_console_find_the_new_key_as_well() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let tables = Tables::of(&stack).await;
    let body = payment("acct-1", "pm_timeout_after_charge");
    assert_eq!(ann.pay("key-1", &body).await.json()["code"], "outcome-unknown");
    let other = tables.unknown("key-2", "POST /payments", &subject("acct-2", 500, "EUR")).await;
    // Both know the old key.
    assert_eq!(olga.get(&format!("records/{other}")).await["provider"]["answer"], "nothing");
    stack.provider("down").await;
    assert_eq!(stack.reconcile().await["unclear"], 2);
    stack.provider("up").await;

    put_secret(&stack, json!({ "api_key": NEW }).to_string()).await;
    roll(&stack).await;
    assert_eq!(olga.get(&format!("records/{other}")).await["provider"]["answer"], "nothing");
    let report = stack.reconcile().await;
    assert_eq!((&report["happened"], &report["prevented"]), (&json!(1), &json!(1)), "{report}");
    let newer = "the provider refused its API key; there is a newer one";
    eventually("both have the new key", || async { (stack.count(newer) >= 2).then_some(()) }).await;
    assert_eq!(ann.pay_until_final("key-1", &body).await.status, 201);
    assert_eq!(stack.charges().await.len(), 1);
}
