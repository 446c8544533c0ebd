//! Unknown outcomes are settled from evidence, by a retry or by the reconciler.

use fault_proxy::{Fault, Proxy};
use serde_json::{Value, json};
use tests::console::Tables;
use tests::dynamodb::{RECORDS, key};
use tests::local_stack::{Setup, Stack, User, payment};
use tests::process::free_port;
use tests::wait::eventually;

const VISA: &str = "pm_card_visa";

/// Runs the reconciler until it has settled one record with this result.
async fn reconciled(stack: &Stack, finding: &str) -> Value {
    eventually(&format!("the reconciler finds one {finding}"), || async {
        let report = stack.reconcile().await;
        (report[finding] == 1).then_some(report)
    })
    .await
}

/// The answer to the client's much later retry.
async fn replays_one_payment(stack: &Stack, ann: &User<'_>, body: &Value) {
    let answer = ann.pay("key-1", body).await;
    assert_eq!((answer.status, answer.is_replay()), (201, true), "{answer:?}");
    assert_eq!(answer.json()["payment_method"], body["payment_method"], "as the client named it");
    let location = answer.header("location").expect("a location").to_owned();
    assert_eq!(ann.get(&location).await.json(), answer.json(), "the payment is there, and its owner may see it");
    assert_eq!(stack.charges().await.len(), 1);
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_charge_and_not_retried_the_reconciler_settles_it_and_a_late_retry_replays() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let mut body = payment("acct-1", "pm_kill_after_charge");
    body["reference"] = json!("order 17 <b>");
    assert!(ann.pay("key-1", &body).await.status >= 500);
    let report = reconciled(&stack, "happened").await;
    assert_eq!((&report["abandoned_found"], &report["unknown_open"]), (&json!(1), &json!(0)), "{report}");
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999, "posted though nobody came back");
    replays_one_payment(&stack, &ann, &body).await;
    let answer = ann.pay("key-1", &body).await;
    assert_eq!(answer.json()["reference"], "order 17 <b>");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_after_the_charge_the_reconciler_settles_it() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_timeout_after_charge");
    let started = std::time::Instant::now();
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown");
    assert!(started.elapsed().as_secs() < 4, "within the function's own time");
    let report = reconciled(&stack, "happened").await;
    assert_eq!((&report["abandoned_found"], &report["unknown_open"]), (&json!(0), &json!(0)), "{report}");
    replays_one_payment(&stack, &ann, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_charge_it_is_prevented_and_the_late_request_is_refused() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_kill_before_charge");
    assert!(ann.pay("key-1", &body).await.status >= 500);
    reconciled(&stack, "prevented").await;
    assert!(stack.charges().await.is_empty());

    let answer = ann.pay("key-1", &body).await;
    assert_eq!((answer.status, answer.is_replay()), (201, false), "{answer:?}");
    let late = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Value = late.json().await.expect("what became of it");
    assert_eq!((&late[0]["status"], &late[0]["body"]["error"]["type"]), (&json!(400), &json!("idempotency_error")));
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_ne!(charge["idempotency_key"], late[0]["idempotency_key"], "under another transaction id");
    replays_one_payment(&stack, &ann, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_card_that_nobody_heard_of_is_settled_as_failed() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let direct = ann.pay("key-0", &payment("acct-1", "pm_card_chargeDeclined")).await;
    let body = payment("acct-1", "pm_timeout_after_decline");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown");
    reconciled(&stack, "refused").await;
    let late = ann.pay("key-1", &body).await;
    assert_eq!((late.status, late.is_replay(), &late.body), (402, true, &direct.body), "as if it had been heard");
    assert!(stack.charges().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_provider_is_down_it_stays_unknown_and_is_settled_when_it_is_back() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_timeout_after_charge");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown");
    stack.provider("down").await;
    for _ in 0..2 {
        let report = stack.reconcile().await;
        assert_eq!((&report["unclear"], &report["unknown_open"]), (&json!(1), &json!(1)), "{report}");
        assert!(report["unknown_oldest_age_s"].is_u64(), "{report}");
    }
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown", "a retry learns no more");
    stack.provider("up").await;
    let report = reconciled(&stack, "happened").await;
    assert_eq!(report["unknown_open"], 0, "{report}");
    replays_one_payment(&stack, &ann, &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_whose_outcome_is_not_known_is_made_once() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let paid = ann.pay("key-1", &payment("acct-1", VISA)).await;
    let path = format!("{}/refunds", paid.header("location").expect("a location"));
    let part = json!({ "amount": 500, "reason": "late" });
    stack.provider("down").await;
    assert_eq!(ann.post(&path, "refund-1", &part).await.problem(), "503 outcome-unknown");
    stack.provider("up").await;
    reconciled(&stack, "prevented").await;
    let refunded = ann.post(&path, "refund-1", &part).await;
    assert_eq!((refunded.status, refunded.is_replay()), (201, false), "{refunded:?}");
    assert!(ann.post(&path, "refund-1", &part).await.is_replay());
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["amount_refunded"], 500);
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 1499);
}

/// A refund whose client retries it only after the reconciler has settled it.
async fn refund_is_settled(payment_method: &str, finding: &str) {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let paid = ann.pay("key-1", &payment("acct-1", payment_method)).await;
    let path = format!("{}/refunds", paid.header("location").expect("a location"));
    let part = json!({ "amount": 500, "reason": "late" });
    let first = ann.post(&path, "refund-1", &part).await;
    assert!(first.status >= 500 || first.problem() == "503 outcome-unknown", "{first:?}");
    reconciled(&stack, finding).await;

    let happened = finding == "happened";
    let refunded = ann.post(&path, "refund-1", &part).await;
    assert_eq!((refunded.status, refunded.is_replay()), (201, happened), "{refunded:?}");
    assert_eq!((&refunded.json()["amount"], &refunded.json()["reason"]), (&json!(500), &json!("late")));
    let late = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Value = late.json().await.expect("what became of it");
    if happened {
        assert_eq!(late, json!([]));
    } else {
        assert_eq!((&late[0]["status"], &late[0]["body"]["error"]["type"]), (&json!(400), &json!("idempotency_error")));
    }
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!(charge["amount_refunded"], 500);
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 1499);
    let again = ann.post(&path, "refund-1", &part).await;
    assert_eq!((again.is_replay(), &again.body), (true, &refunded.body), "one answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_the_refund_and_not_retried_the_reconciler_settles_it_and_a_late_retry_replays() {
    refund_is_settled("pm_kill_after_refund", "happened").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_after_the_refund_the_reconciler_settles_it() {
    refund_is_settled("pm_timeout_after_refund", "happened").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_the_refund_it_is_prevented_and_the_late_request_is_refused() {
    refund_is_settled("pm_kill_before_refund", "prevented").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_answer_before_the_refund_it_is_prevented_and_the_late_request_is_refused() {
    refund_is_settled("pm_timeout_before_refund", "prevented").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_the_bank_has_not_answered_stays_unknown_until_it_has() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let paid = ann.pay("key-1", &payment("acct-1", "pm_card_pendingRefund")).await;
    let path = format!("{}/refunds", paid.header("location").expect("a location"));
    let part = json!({ "amount": 500 });
    assert_eq!(ann.post(&path, "refund-1", &part).await.problem(), "503 outcome-unknown");
    reconciled(&stack, "unclear").await;
    assert_eq!(ann.post(&path, "refund-1", &part).await.problem(), "503 outcome-unknown");
    let answered = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    assert!(answered.status().is_success());
    reconciled(&stack, "happened").await;
    let refunded = ann.post(&path, "refund-1", &part).await;
    assert_eq!((refunded.status, refunded.is_replay()), (201, true), "{refunded:?}");
    assert_eq!(stack.charges().await[0]["amount_refunded"], 500);
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 1499);
}

/// The cardholder is never asked, so without our cancellation the outcome would stay unknown.
#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_waits_for_the_cards_holder_is_cancelled_and_settled_as_declined() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_timeout_before_charge");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown");
    let charges = charges_that_wait(&stack).await;

    reconciled(&stack, "refused").await;
    let [intent] = &charges.get().await[..] else { panic!("one intent") };
    assert_eq!(intent["status"], "canceled");
    let late = ann.pay("key-1", &body).await;
    assert_eq!((late.problem().as_str(), late.is_replay()), ("402 authentication_required", true), "{late:?}");
    assert!(stack.charges().await.is_empty());
}

/// The provider as seen by Stripe's own clients.
struct Intents {
    url: String,
    client: reqwest::Client,
}

impl Intents {
    async fn get(&self) -> Vec<Value> {
        let list = self.client.get(&self.url).bearer_auth("sk_test_local").send().await.expect("answers");
        let list: Value = list.json().await.expect("a list");
        list["data"].as_array().expect("a list").clone()
    }
}

/// Creates the intent that the request would have created at a bank that requires authentication: it has the request's
/// transaction and key, and waits for the cardholder.
async fn charges_that_wait(stack: &Stack) -> Intents {
    let client = Tables::of(stack).await.client;
    let records = client.scan().table_name(RECORDS).filter_expression("attribute_exists(subject)").send().await;
    let records = records.expect("scans").items.expect("records");
    let [record] = &records[..] else { panic!("one record") };
    let transaction = record["transaction"].as_s().expect("a text").clone();
    let provider = stack.local(reqwest::Method::GET, "provider").send().await.expect("answers");
    let url = format!("{}/v1/payment_intents", provider.text().await.expect("an address"));
    let intents = Intents { url, client: reqwest::Client::new() };
    let form = [
        ("amount", "1999"),
        ("currency", "eur"),
        ("payment_method", "pm_card_authenticationRequired"),
        ("confirm", "true"),
        ("metadata[transaction]", &transaction),
    ];
    let request =
        intents.client.post(&intents.url).bearer_auth("sk_test_local").header("idempotency-key", &transaction);
    let made: Value = request.form(&form).send().await.expect("answers").json().await.expect("an intent");
    assert_eq!(made["status"], "requires_action", "{made}");
    intents
}

#[tokio::test(flavor = "multi_thread")]
async fn of_reconcilers_at_once_one_is_at_work() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    for number in 0..4 {
        let body = payment("acct-1", "pm_timeout_after_charge");
        assert_eq!(ann.pay(&format!("key-{number}"), &body).await.problem(), "503 outcome-unknown");
    }
    let runs = (0..4).map(|_| async {
        let response = stack.local(reqwest::Method::POST, "reconcile").send().await.expect("answers");
        response.json::<Value>().await.expect("a report")
    });
    let reports = futures::future::join_all(runs).await;
    let settled: u64 = reports.iter().filter_map(|report| report["happened"].as_u64()).sum();
    assert_eq!(settled, 4, "{reports:?}");
    assert!(reports.iter().any(|report| report["held_elsewhere"] == true), "{reports:?}");
    assert_eq!(ann.balance("acct-1", "EUR", 4).await, 4 * 1999);
    assert_eq!(stack.charges().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_valid_and_never_released_is_prevented_and_the_key_is_free_again() {
    let port = free_port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
    let stack = Setup::impatient().behind(&proxy.url(), port).start().await;
    let ann = stack.user("ann").await;
    assert_eq!(ann.get("/payments/none").await.status, 404, "a sandbox is there");

    // As if the sandbox had died: after this number of requests, no write arrives.
    let dies_after = |requests| proxy.plan([vec![Fault::None; requests], vec![Fault::LoseRequest; 20]].concat());
    let refunds = "/payments/pay_01935b4a7c0070008000000000000001/refunds";
    for (path, key, body, requests) in
        [("/payments", "invalid", payment("acct-1", ""), 1), (refunds, "of-nothing", json!({}), 2)]
    {
        dies_after(requests);
        assert_eq!(ann.post(path, key, &body).await.problem(), "503 outcome-unknown", "{path}");
        proxy.plan([]);
        reconciled(&stack, "prevented").await;
    }

    let answer = ann.pay("invalid", &payment("acct-1", VISA)).await;
    assert_eq!((answer.status, answer.is_replay()), (201, false), "the corrected request: {answer:?}");
    assert_eq!(ann.post(refunds, "of-nothing", &json!({})).await.problem(), "404 not-found");
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn that_a_record_does_not_say_what_it_is_about_proves_nothing() {
    let stack = Setup::impatient().start().await;
    let ann = stack.user("ann").await;
    let (late, charged) = (payment("acct-1", "pm_kill_before_charge"), payment("acct-1", "pm_kill_after_charge"));
    for (key, body) in [("late", &late), ("charged", &charged)] {
        assert!(ann.pay(key, body).await.status >= 500);
    }
    let client = Tables::of(&stack).await.client;
    let records = client.scan().table_name(RECORDS).filter_expression("attribute_exists(subject)").send().await;
    let records = records.expect("scans").items.expect("records");
    assert_eq!(records.len(), 2);
    for record in records {
        let id = record["id"].as_s().expect("a text");
        let update =
            client.update_item().table_name(RECORDS).set_key(Some(key(id))).update_expression("REMOVE subject");
        update.send().await.expect("removed");
    }

    // The reconciler has only the records, and does not treat them as payments.
    tests::wait::eventually("their leases are over", || async {
        let report = stack.reconcile().await;
        assert_eq!((&report["prevented"], &report["happened"]), (&json!(0), &json!(0)), "{report}");
        (report["foreign"] == 2).then_some(())
    })
    .await;
    // A retry knows its own subject; the record is ours because it is found under the client's key.
    assert_eq!(ann.pay("charged", &charged).await.problem(), "503 outcome-unknown", "nobody can tell whose it is");
    assert_eq!(stack.charges().await.len(), 1);
    let again = ann.pay("late", &late).await;
    assert_eq!((again.status, again.is_replay()), (201, false), "what was sent first was prevented: {again:?}");
    let late = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Value = late.json().await.expect("what became of it");
    assert_eq!((&late[0]["status"], &late[0]["body"]["error"]["type"]), (&json!(400), &json!("idempotency_error")));
    assert_eq!(stack.charges().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_that_the_provider_keeps_under_a_key_keeps_no_record_unknown() {
    let stack = Setup::impatient().reconciled_on_demand().start().await;
    let ann = stack.user("ann").await;
    // The first cancellation of a tombstone fails, and the next tombstone itself.
    for (key, path) in [("cancelled", "/cancel"), ("made", "/payment_intents")] {
        let body = payment(key, "pm_kill_before_charge");
        assert!(ann.pay(key, &body).await.status >= 500);
        let breaks = stack.local(reqwest::Method::POST, &format!("provider/break?path={path}")).send().await;
        assert!(breaks.expect("answers").status().is_success());
        reconciled(&stack, "unclear").await;
        let report = stack.reconcile().await;
        assert_eq!(
            (&report["prevented"], &report["unknown_open"]),
            (&json!(1), &json!(0)),
            "at the next look: {report}"
        );
    }
    let late = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Vec<Value> = late.json().await.expect("what became of them");
    assert!(late.iter().all(|late| late["body"]["error"]["type"] == "idempotency_error"), "{late:?}");
    assert!(stack.charges().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_providers_memory_a_tombstone_is_no_evidence_and_a_late_request_charges_once() {
    // The provider may forget a key at once, so that a tombstone under it never proves anything.
    let setup = Setup::impatient().reconciled_on_demand().parameter("TombstonesWithinSeconds", 0);
    let stack = setup.start().await;
    let ann = stack.user("ann").await;
    let body = payment("acct-1", "pm_kill_before_charge");
    assert!(ann.pay("key-1", &body).await.status >= 500);
    let report = reconciled(&stack, "unclear").await;
    assert_eq!((&report["prevented"], &report["unclear"]), (&json!(0), &json!(1)), "{report}");
    assert_eq!(ann.pay("key-1", &body).await.problem(), "503 outcome-unknown", "it does not run again");

    let forgets = stack.local(reqwest::Method::POST, "provider/forget").send().await.expect("answers");
    assert!(forgets.status().is_success());
    let late = stack.local(reqwest::Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Value = late.json().await.expect("what became of it");
    assert_eq!(late[0]["status"], 200, "no key is in its way");
    reconciled(&stack, "happened").await;
    replays_one_payment(&stack, &ann, &body).await;
}
