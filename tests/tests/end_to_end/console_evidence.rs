//! No record is settled by hand against the provider's evidence; without evidence it takes two operators.

use std::time::Duration;

use payments::REFUND;
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::local_stack::{Setup, Stack, payment};

const REASON: &str = "Seen in the provider's dashboard.";
const EVIDENCE: &str = "The bank says that nothing was charged.";

/// The forms that settle a record as failed or release it.
fn wishes() -> [(&'static str, Value); 2] {
    [
        ("fail", json!({ "evidence": EVIDENCE, "reason": REASON })),
        ("release", json!({ "understood": "yes", "reason": REASON })),
    ]
}

/// Previews an action while the provider is down, when nothing contradicts it yet.
async fn previewed_in_an_outage(stack: &Stack, olga: &Script<'_>, record: &str, verb: &str, wish: &Value) -> String {
    stack.provider("down").await;
    let token = olga.preview(record, verb, wish).await;
    stack.provider("up").await;
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_says_happened_is_neither_settled_as_failed_nor_released() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_after_charge");
    let record = olga.unknown_payment(&ann, "key-1", &body).await;
    let seen = tables.record(&record).await;
    for (verb, wish) in wishes() {
        let refused = olga.call(Method::POST, &format!("records/{record}/{verb}"), Some(&wish)).await;
        assert_eq!(refused.problem(), "409 contradicted", "{verb}: there is no preview");
        let token = previewed_in_an_outage(&stack, &olga, &record, verb, &wish).await;
        let refused = olga.confirm(&token).await;
        assert_eq!(refused.problem(), "409 contradicted", "{verb}: the provider is asked at the confirmation");
        let detail = refused.json()["detail"].as_str().expect("why").to_owned();
        assert!(detail.contains("It happened: 19.99 EUR was charged for acct-1"), "{detail}");
        assert_eq!(tables.record(&record).await, seen, "{verb}: nothing was written");
    }
    assert_eq!(ann.pay("key-1", &body).await.status, 201, "the client hears that it was charged");
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_still_happen_at_the_provider_is_neither_settled_as_failed_nor_released() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    // Charged long after the caller has gone. Until then its key is in use, and a search finds nothing.
    let body = payment("acct-1", "pm_slow_20000");
    let record = olga.unknown_payment(&ann, "key-1", &body).await;
    let seen = tables.record(&record).await;
    for (verb, wish) in wishes() {
        let token = olga.preview(&record, verb, &wish).await;
        assert_eq!(olga.confirm(&token).await.problem(), "409 contradicted", "{verb}");
        assert_eq!(tables.record(&record).await, seen, "{verb}: nothing was written");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrives_after_it_was_released_or_settled_as_failed_charges_nothing() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_before_charge");
    for key in ["failed", "released"] {
        assert_eq!(ann.pay(key, &body).await.problem(), "503 outcome-unknown");
    }
    let records = olga.unresolved().await;
    for ((verb, wish), record) in wishes().into_iter().zip(&records) {
        let token = olga.preview(record, verb, &wish).await;
        assert_eq!(olga.confirm(&token).await.status, 200, "{verb}");
    }
    assert_eq!(ann.pay("failed", &body).await.problem(), "422 settled-as-failed");
    assert_eq!(ann.pay("released", &payment("acct-1", "pm_card_visa")).await.status, 201);

    let late = stack.local(Method::POST, "provider/deliver").send().await.expect("answers");
    let late: Vec<Value> = late.json().await.expect("what became of them");
    let told: Vec<_> = late.iter().map(|late| (&late["status"], &late["body"]["error"]["type"])).collect();
    assert_eq!(told, [(&json!(400), &json!("idempotency_error")); 2], "the keys were taken away");
    assert_eq!(stack.charges().await.len(), 1, "of the released key's next call alone");
    for record in records {
        let entry = olga.get(&format!("records/{record}")).await["audit"][0].clone();
        let word = entry["provider"].as_str().expect("what the provider said").to_owned();
        assert!(word.contains("no longer can"), "{entry}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_provider_cannot_say_needs_a_second_operator_and_the_audit_names_both() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let [olga, otto, oskar] = ["olga", "otto", "oskar"].map(|name| Script::of(&stack, name, "operator"));
    let (olga, otto, oskar) = (olga.await, otto.await, oskar.await);
    let vera = Script::of(&stack, "vera", "viewer").await;
    stack.provider("down").await;
    let succeed = ("succeed", json!({ "reference": "pi_1234", "reason": REASON }));
    for (number, (verb, wish)) in wishes().into_iter().chain([succeed]).enumerate() {
        let key = format!("key-{number}");
        let record = tables.unknown(&key, "POST /payments", &subject("acct-1", 1999, "EUR")).await;
        let seen = tables.record(&record).await;
        let token = olga.preview(&record, verb, &wish).await;
        let id = olga.request(&token).await;
        assert_eq!(olga.request(&token).await, id, "{verb}: a second click asks for nothing more");
        assert_eq!(tables.record(&record).await, seen, "{verb}: nothing is settled yet");
        let listed = vera.get("approvals").await["approvals"].clone();
        assert_eq!(listed.as_array().map(Vec::len), Some(1), "{verb}: {listed}");
        assert_eq!((&listed[0]["approval"], &listed[0]["requested_by"]), (&json!(id), &json!("olga")));
        assert_eq!(vera.get(&format!("records/{record}")).await["approvals"], listed);

        let path = format!("approvals/{id}");
        assert_eq!(olga.call(Method::POST, &path, None).await.problem(), "403 same-operator", "{verb}");
        assert_eq!(vera.call(Method::POST, &path, None).await.problem(), "403 viewer", "{verb}");
        assert_eq!(tables.record(&record).await, seen, "{verb}: still nothing");
        let approved = otto.approve(&id).await;
        assert_eq!((approved.status, &approved.json()["used_by"]), (200, &json!("otto")), "{}", approved.text());
        let settled = tables.record(&record).await;
        assert_ne!(settled, seen, "{verb}");
        assert_eq!(oskar.call(Method::POST, &path, None).await.json()["used_by"], "otto", "{verb}: it is used up");
        assert_eq!(tables.record(&record).await, settled, "{verb}");
        assert_eq!(vera.get("approvals").await["approvals"], json!([]), "{verb}");

        let audit = vera.get(&format!("records/{record}")).await["audit"].clone();
        let [done, asked] = &audit.as_array().expect("entries")[..] else { panic!("{verb}: {audit}") };
        assert_eq!((&done["actor"], &done["requested_by"]), (&json!("otto"), &json!("olga")), "{done}");
        assert_eq!((&asked["what"], &asked["actor"]), (&json!("requested"), &json!("olga")), "{asked}");
        for entry in [done, asked] {
            assert_eq!(entry["reason"], REASON);
            let word = entry["provider"].as_str().expect("what the provider said").to_owned();
            assert!(word.starts_with("No evidence"), "{entry}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_refused_once_the_provider_speaks_the_record_changes_or_time_passes() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let ann = stack.user("ann").await;
    let (olga, otto) = (Script::of(&stack, "olga", "operator").await, Script::of(&stack, "otto", "operator").await);
    let charged = olga.unknown_payment(&ann, "key-1", &payment("acct-1", "pm_timeout_after_charge")).await;
    stack.provider("down").await;
    let mut approvals = Vec::new();
    let records = ["changed", "aged"].map(|key| (key, subject("acct-1", 1999, "EUR")));
    let mut named = vec![charged];
    for (key, subject) in &records {
        named.push(tables.unknown(key, "POST /payments", subject).await);
    }
    for record in &named {
        let [(_, wish), _] = wishes();
        let token = olga.preview(record, "fail", &wish).await;
        approvals.push(olga.request(&token).await);
    }
    let [charged, changed, aged] = &approvals[..] else { panic!("three") };
    tables.age_approval(aged, Duration::from_secs(24 * 60 * 60)).await;
    let approve = async |id: &str| otto.approve(id).await.problem();
    assert_eq!(approve(aged).await, "410 approval-expired");
    stack.provider("up").await;
    let seen = tables.record(&named[0]).await;
    assert_eq!(approve(charged).await, "409 contradicted");
    assert_eq!(tables.record(&named[0]).await, seen);
    // The reconciler is faster.
    stack.reconcile().await;
    assert_eq!(approve(changed).await, "409 record-changed");
    assert_eq!(approve(charged).await, "409 record-changed");
    assert_eq!(approve("0190a5b4-0000-7000-8000-000000000000").await, "404 no-approval");
    assert_eq!(otto.get("approvals").await["approvals"], json!([]), "none of them can be approved");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_given_on_pages_by_another_person_than_who_asked() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    stack.provider("down").await;
    let [olga, otto] = ["olga", "otto"].map(|name| Visitor::of(&stack, name, "operator"));
    let (olga, otto, vera) = (olga.await, otto.await, Visitor::of(&stack, "vera", "viewer").await);
    let preview = olga.preview(&record, "fail", &[("evidence", EVIDENCE), ("reason", REASON)]).await;
    let asked = olga.confirm(&preview).await;
    let approval = asked.header("location").expect("the approval").to_owned();
    assert!(asked.status == 303 && approval.starts_with("/console/approvals/"), "{asked:?}");
    assert_eq!(olga.open(&preview).await.header("location"), Some(&*approval), "the preview is not open any more");

    for path in ["/console/approvals".to_owned(), format!("/console/records/{record}")] {
        let page = vera.open(&path).await.text();
        assert!(page.contains(&approval) && page.contains("olga"), "{path}: {page}");
    }
    let page = olga.open(&approval).await.text();
    assert!(page.contains("Another operator must approve") && page.contains(EVIDENCE), "{page}");
    for (who, visitor) in [("olga", &olga), ("vera", &vera)] {
        let page = visitor.open(&approval).await.text();
        assert_eq!(page.matches("<form").count(), 2, "{who} has only the forms to find and to sign out: {page}");
        assert_eq!(visitor.confirm(&approval).await.status, 403, "{who}");
    }
    assert_eq!(otto.send(&approval, &[("csrf", &olga.csrf().await)]).await.status, 403, "a form of another");
    let page = otto.open(&approval).await.text();
    for shown in ["olga", REASON, EVIDENCE, "gave no answer", "422 settled-as-failed", "Approve"] {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    let clicks = futures::future::join_all((0..4).map(|_| otto.confirm(&approval))).await;
    for click in &clicks {
        assert_eq!((click.status, click.header("location")), (303, Some(&*approval)), "{}", click.text());
    }
    let page = otto.open(&approval).await.text();
    assert!(page.contains("It was done") && page.contains("otto") && page.contains("olga"), "{page}");
    let audit = vera.open("/console/audit").await.text();
    assert!(audit.contains("settled as FAILED") && audit.contains("No evidence"), "{audit}");
    let entries = Script::of(&stack, "vera", "viewer").await.get("audit").await;
    assert_eq!(entries["entries"].as_array().map(Vec::len), Some(2), "{entries}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_as_paid_is_not_settled_as_failed_while_the_provider_is_down() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    // As after a backup of the records was restored.
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    stack.provider("down").await;
    let mut tokens = Vec::new();
    for (verb, wish) in wishes() {
        tokens.push(olga.preview(&record, verb, &wish).await);
    }
    tables.record_payment(&record, "acct-1").await;
    let seen = tables.record(&record).await;
    for token in tokens {
        let refused = olga.confirm(&token).await;
        assert_eq!(refused.problem(), "409 contradicted");
        assert!(
            refused.json()["detail"].as_str().is_some_and(|why| why.contains("recorded as payment")),
            "{refused:?}"
        );
    }
    assert_eq!(tables.record(&record).await, seen);
}

/// A payment, and a record without an outcome of a request that refunds all of it; the refund itself is written.
struct RecordedRefund {
    record: String,
    path: String,
    amount: u64,
}

const REVERSAL: &str = "re_1234";

impl RecordedRefund {
    async fn make(stack: &Stack, tables: &Tables) -> Self {
        let ann = stack.user("ann").await;
        let paid = ann.pay("paid", &payment("acct-1", "pm_card_visa")).await;
        let id = paid.json()["id"].as_str().expect("an id").to_owned();
        let record = tables.unknown("refunded", REFUND, &json!({ "payment": id }).to_string()).await;
        let amount = tables.record_refund(&record, &id, REVERSAL).await;
        Self { record, path: paid.header("location").expect("a location").to_owned(), amount }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_recorded_as_a_refund_is_neither_settled_as_failed_nor_released_nor_as_another_refund() {
    let stack = Setup::brief().reconciled_on_demand().parameter("OutboxState", "STOPPED").start().await;
    let tables = Tables::of(&stack).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    // Its event is not posted to the ledger yet, so only the refund itself is evidence.
    let RecordedRefund { record, .. } = RecordedRefund::make(&stack, &tables).await;
    stack.provider("down").await;
    let seen = tables.record(&record).await;
    let other = ("succeed", json!({ "reference": "re_5678", "reason": REASON }));
    for (verb, wish) in wishes().into_iter().chain([other]) {
        let refused = olga.call(Method::POST, &format!("records/{record}/{verb}"), Some(&wish)).await;
        let refused = match refused.status {
            201 => olga.confirm(refused.json()["token"].as_str().expect("a token")).await,
            _ => refused,
        };
        assert_eq!(refused.problem(), "409 contradicted", "{verb}: {}", refused.text());
        let detail = refused.json()["detail"].as_str().expect("a text").to_owned();
        assert!(detail.contains("recorded as refund ref_") && detail.contains(REVERSAL), "{verb}: {detail}");
    }
    assert_eq!(tables.record(&record).await, seen);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_refund_that_is_recorded_is_settled_without_evidence_and_given_back_once() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (olga, otto) = (Script::of(&stack, "olga", "operator").await, Script::of(&stack, "otto", "operator").await);
    let RecordedRefund { record, path, amount } = RecordedRefund::make(&stack, &tables).await;
    stack.provider("down").await;
    let token = olga.preview(&record, "succeed", &json!({ "reference": REVERSAL, "reason": REASON })).await;
    let approval = olga.request(&token).await;
    let approved = otto.approve(&approval).await;
    assert_eq!(approved.status, 200, "{}", approved.text());
    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!(details["status"], "SUCCESS", "{details}");
    let ann = stack.user("ann").await;
    assert_eq!(ann.get(&path).await.json()["refunded"], amount);
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 0, "the payment and one refund");
}
