//! The local stack refuses what a function's role in the template does not allow, as AWS does.

use serde_json::json;
use tests::console::Script;
use tests::local_stack::{Setup, payment};
use tests::wait::eventually;

use crate::stacks::changed;

const REFUSED: &str = "does not allow";

fn sale(terminal: &str, sequence: u64) -> String {
    let sale = json!({
        "type": "terminal.sale", "terminal": terminal, "sequence": sequence,
        "account": "acct-1", "amount": 100, "currency": "EUR",
    });
    sale.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_functions_do_is_what_their_roles_allow() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let ann = stack.user("ann").await;
    let paid = ann.pay("paid", &payment("acct-1", "pm_card_visa")).await;
    let location = paid.header("location").expect("a location").to_owned();
    assert_eq!(ann.post(&format!("{location}/refunds"), "refund", &json!({ "amount": 500 })).await.status, 201);
    assert_eq!(ann.get(&location).await.status, 200);
    assert_eq!(ann.pay("declined", &payment("acct-1", "pm_card_chargeDeclined")).await.status, 402);
    ann.balance("acct-1", "EUR", 2).await;
    assert_eq!(ann.get("/accounts/acct-1").await.status, 200);
    assert_eq!(stack.user("bob").await.get("/accounts/acct-1").await.status, 404);

    stack.put("LedgerQueue", 2, sale("till-1", 1)).await;
    stack.append("terminal-sales", "till-2", sale("till-2", 1)).await;
    ann.balance("acct-1", "EUR", 4).await;

    for (key, method) in [("a", "pm_timeout_after_charge"), ("b", "pm_timeout_before_charge")] {
        assert!(ann.pay(key, &payment("acct-1", method)).await.json()["code"] == "outcome-unknown");
    }
    let report = stack.reconcile().await;
    assert_eq!((&report["happened"], &report["prevented"]), (&json!(1), &json!(1)), "{report}");

    // Another payment, because the retry of one that was prevented is exempt.
    assert!(ann.pay("c", &payment("acct-2", "pm_timeout_before_charge")).await.json()["code"] == "outcome-unknown");
    let olga = Script::of(&stack, "olga", "operator").await;
    let record = olga.unresolved().await.remove(0);
    olga.get(&format!("records/{record}")).await;
    let wish = json!({ "evidence": "The bank says that nothing was charged.", "reason": "Seen at the bank." });
    let token = olga.preview(&record, "fail", &wish).await;
    assert!(olga.confirm(&token).await.status < 500);
    olga.get("audit").await;
    assert!(!stack.log().contains(REFUSED), "{}", stack.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_a_kind_that_a_role_does_not_name_is_refused() {
    let stack = changed(Setup::brief(), |template| {
        let statement = template.statement("PaymentsApiRole", "Owners").expect("there");
        statement["Condition"]["ForAllValues:StringLike"]["dynamodb:LeadingKeys"] = json!(["another#*"]);
    });
    let stack = stack.await;
    let ann = stack.user("ann").await;
    assert_eq!(ann.pay("paid", &payment("acct-1", "pm_card_visa")).await.status, 201, "no owner is written");
    ann.balance("acct-1", "EUR", 1).await;
    assert_eq!(ann.get("/accounts/acct-1").await.problem(), "503 store-unavailable");
    let refusal = "PaymentsApiRole does not allow dynamodb:GetItem on";
    eventually("the stack says why", || async { stack.log().contains(refusal).then_some(()) }).await;
    assert_eq!(stack.auditor().await.get("/accounts/acct-1").await.status, 200, "for whom no owner is looked up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_is_refused_where_a_role_names_kinds_of_items() {
    let stack = changed(Setup::brief(), |template| {
        template.statement("ReconcilerRole", "Abandoned").expect("there")["Effect"] = json!("Deny");
    });
    let stack = stack.await;
    let run = stack.local(reqwest::Method::POST, "reconcile").send().await.expect("answers");
    assert!(run.status().is_server_error(), "{run:?}");
    let refusal = "ReconcilerRole does not allow dynamodb:Scan on";
    eventually("the stack says why", || async { stack.log().contains(refusal).then_some(()) }).await;
}
