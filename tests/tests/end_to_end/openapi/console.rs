//! The console's API and its description.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, subject};
use tests::local_stack::{Setup, Stack, payment};
use tests::workspace;

use super::{Api, CONSOLE};

const REASON: &str = "Seen in the provider's dashboard.";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_of_the_consoles_api_is_declared() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, mut api) = (Tables::of(&stack).await, Api::load(CONSOLE));
    let [olga, otto] = ["olga", "otto"].map(|name| Script::of(&stack, name, "operator"));
    let (olga, otto, vera) = (olga.await, otto.await, Script::of(&stack, "vera", "viewer").await);
    let [released, failed, asked] = ["key-1", "key-2", "key-3"].map(|key| {
        let tables = &tables;
        async move { tables.unknown(key, "POST /payments", &subject("acct-1", 1999, "EUR")).await }
    });
    let (released, failed, asked) = (released.await, failed.await, asked.await);
    let none = "0".repeat(43);

    let listed = vera.call(Method::GET, "unresolved?operation=POST%20%2Fpayments", None).await;
    assert_eq!(listed.json()["count"], 3);
    api.check("listUnresolved", &listed);
    api.check("getRecord", &vera.call(Method::GET, &format!("records/{asked}"), None).await);
    api.check("getRecord", &vera.call(Method::GET, &format!("records/{none}"), None).await);
    let ask = format!("records/{asked}/ask");
    api.check("askProvider", &olga.call(Method::POST, &ask, None).await);
    api.check("askProvider", &vera.call(Method::POST, &ask, None).await);
    api.check("askProvider", &olga.call(Method::POST, &format!("records/{none}/ask"), None).await);

    let release = json!({ "understood": "yes", "reason": REASON });
    let evidence = json!({ "evidence": "The bank says that nothing happened.", "reason": REASON });
    let preview = |record: &str, verb: &str| format!("records/{record}/{verb}");
    let first = olga.call(Method::POST, &preview(&released, "release"), Some(&release)).await;
    api.check("previewSettlement", &first);
    let token = first.json()["token"].as_str().expect("a token").to_owned();
    let second = olga.preview(&released, "fail", &evidence).await;
    api.check("previewSettlement", &olga.call(Method::POST, &preview(&asked, "fail"), Some(&json!({}))).await);
    api.check("previewSettlement", &vera.call(Method::POST, &preview(&asked, "fail"), Some(&evidence)).await);
    api.check("previewSettlement", &olga.call(Method::POST, &preview(&none, "fail"), Some(&evidence)).await);
    api.check("getPreview", &olga.call(Method::GET, &format!("previews/{token}"), None).await);
    api.check("getPreview", &otto.call(Method::GET, &format!("previews/{token}"), None).await);
    api.check("confirmPreview", &olga.confirm(&token).await);
    api.check("getRecord", &vera.call(Method::GET, &format!("records/{released}"), None).await);
    let changed = olga.confirm(&second).await;
    assert_eq!(changed.problem(), "409 record-changed");
    api.check("confirmPreview", &changed);
    api.check("getPreview", &olga.call(Method::GET, &format!("previews/{second}"), None).await);
    api.check("previewSettlement", &olga.call(Method::POST, &preview(&released, "fail"), Some(&evidence)).await);

    // Without the provider's answer, a second operator must approve.
    stack.provider("down").await;
    check_approvals([&olga, &otto, &vera], &failed, &evidence, &mut api).await;
    stack.provider("up").await;
    check_overview_and_finding(&stack, &vera, &asked, &mut api).await;
    check_bulk_and_dead_letters(&stack, &olga, &vera, &asked, &mut api).await;
    api.check("listAudit", &vera.call(Method::GET, "audit", None).await);

    let nobody = Script::of(&stack, "nobody", "").await;
    for (operation, method, path) in [
        ("listUnresolved", Method::GET, "unresolved".to_owned()),
        ("listApprovals", Method::GET, "approvals".to_owned()),
        ("listAudit", Method::GET, "audit".to_owned()),
        ("askProvider", Method::POST, ask),
        ("getHome", Method::GET, "home".to_owned()),
        ("listDeadLetters", Method::GET, "dead-letters".to_owned()),
    ] {
        api.check(operation, &nobody.call(method.clone(), &path, None).await);
        api.check(operation, &super::unauthorized(&stack, method, &format!("/console/api/{path}")).await);
    }
    seen_all(&api);
}

async fn check_approvals([olga, otto, vera]: [&Script<'_>; 3], failed: &str, evidence: &Value, api: &mut Api) {
    let token = olga.preview(failed, "fail", evidence).await;
    let requested = olga.confirm(&token).await;
    assert_eq!(requested.status, 202, "{requested:?}");
    api.check("confirmPreview", &requested);
    let approval = requested.json()["approval"].as_str().expect("an id").to_owned();
    api.check("listApprovals", &otto.call(Method::GET, "approvals", None).await);
    api.check("getApproval", &otto.call(Method::GET, &format!("approvals/{approval}"), None).await);
    let nowhere = format!("approvals/{}", "0".repeat(32));
    api.check("getApproval", &otto.call(Method::GET, &nowhere, None).await);
    api.check("approve", &olga.approve(&approval).await);
    api.check("getRecord", &vera.call(Method::GET, &format!("records/{failed}"), None).await);
    api.check("approve", &otto.approve(&approval).await);
    api.check("getApproval", &otto.call(Method::GET, &format!("approvals/{approval}"), None).await);
    api.check("listAudit", &vera.call(Method::GET, "audit", None).await);
}

async fn check_overview_and_finding(stack: &Stack, vera: &Script<'_>, record: &str, api: &mut Api) {
    let ann = stack.user("ann").await;
    let paid = ann.pay("paid", &payment("acct-2", "pm_card_visa")).await.json();
    let id = paid["id"].as_str().expect("an id");
    let refunds = format!("/payments/{id}/refunds");
    assert_eq!(ann.post(&refunds, "refund", &json!({ "amount": 500 })).await.status, 201);
    ann.balance("acct-2", "EUR", 2).await;
    api.check("getHome", &vera.call(Method::GET, "home", None).await);
    for text in [record, id, "acct-2", "acct-9"] {
        api.check("find", &vera.call(Method::POST, "find", Some(&json!({ "text": text }))).await);
    }
    api.check("find", &vera.call(Method::POST, "find", Some(&json!({ "text": "" }))).await);
    api.check("getPayment", &vera.call(Method::GET, &format!("payments/{id}"), None).await);
    api.check("getPayment", &vera.call(Method::GET, "payments/pay_1", None).await);
    api.check("getAccount", &vera.call(Method::GET, "accounts/acct-2", None).await);
    api.check("getAccount", &vera.call(Method::GET, "accounts/acct-9", None).await);
}

async fn check_bulk_and_dead_letters(stack: &Stack, olga: &Script<'_>, vera: &Script<'_>, record: &str, api: &mut Api) {
    let form = json!({ "records": [record], "name": "Incident 4711", "evidence": "The bank says no, really.", "reason": REASON });
    for action in ["ask", "fail"] {
        api.check("bulk", &olga.call(Method::POST, &format!("bulk/{action}"), Some(&form)).await);
    }
    api.check("bulk", &olga.call(Method::POST, "bulk/fail", Some(&json!({ "records": [record] }))).await);
    api.check("bulk", &vera.call(Method::POST, "bulk/ask", Some(&form)).await);
    let previews = olga.call(Method::POST, "bulk/fail", Some(&form)).await.json();
    let tokens = json!({ "tokens": [previews["items"][0]["preview"]["token"], "x"] });
    api.check("reconcile", &olga.call(Method::POST, &format!("records/{record}/reconcile"), None).await);
    api.check("reconcile", &olga.call(Method::POST, &format!("records/{record}/reconcile"), None).await);
    api.check("reconcile", &vera.call(Method::POST, &format!("records/{record}/reconcile"), None).await);
    api.check("confirmBulk", &olga.call(Method::POST, "bulk/confirm", Some(&tokens)).await);
    api.check("confirmBulk", &olga.call(Method::POST, "bulk/confirm", Some(&json!({ "tokens": [] }))).await);
    let gone = json!({ "records": ["0".repeat(43)], "name": "Incident 4711" });
    api.check("bulk", &olga.call(Method::POST, "bulk/ask", Some(&gone)).await);

    stack.put("LedgerDeadLetters", 1, "no message of ours").await;
    let letters = vera.call(Method::GET, "dead-letters", None).await;
    api.check("listDeadLetters", &letters);
    let message = letters.json()["messages"][0]["message"].as_str().expect("an id").to_owned();
    let path = format!("dead-letters/{message}");
    api.check("redrive", &vera.call(Method::POST, &path, None).await);
    api.check("redrive", &olga.call(Method::POST, &path, None).await);
    api.check("redrive", &olga.call(Method::POST, &path, None).await);
}

fn seen_all(api: &Api) {
    let expected = [
        ("listUnresolved", &[200, 401, 403][..]),
        ("getRecord", &[200, 404]),
        ("askProvider", &[200, 401, 403, 404]),
        ("previewSettlement", &[201, 403, 404, 409, 422]),
        ("getPreview", &[200, 404, 409]),
        ("confirmPreview", &[200, 202, 409]),
        ("listApprovals", &[200, 401, 403]),
        ("getApproval", &[200, 404]),
        ("approve", &[200, 403]),
        ("listAudit", &[200, 401, 403]),
        ("getHome", &[200, 401, 403]),
        ("find", &[200, 422]),
        ("getPayment", &[200, 404]),
        ("getAccount", &[200, 404]),
        ("reconcile", &[200, 403, 409]),
        ("bulk", &[200, 403, 409, 422]),
        ("confirmBulk", &[200, 422]),
        ("listDeadLetters", &[200, 401, 403]),
        ("redrive", &[200, 403, 404]),
    ];
    for (operation, statuses) in expected {
        for status in statuses {
            assert!(api.seen.contains(&(operation.to_owned(), *status)), "{operation} {status} was not seen");
        }
    }
}

/// The routes are read from the source, because a router does not list them.
#[test]
fn every_route_of_the_consoles_api_is_described() {
    let names = ["api.rs", "api/bulk.rs", "api/dead_letters.rs", "api/find.rs", "api/home.rs", "api/signals.rs"];
    let sources = names.map(|name| workspace().join("functions/console/src").join(name));
    let source = sources.map(|path| std::fs::read_to_string(path).expect("readable")).concat();
    let routes: BTreeSet<String> = source
        .match_indices(".route(\"")
        .filter_map(|(start, before)| source.get(start + before.len()..)?.split('"').next())
        .map(|path| format!("/console/api{path}"))
        .collect();
    assert!(routes.len() >= 20, "the routes are found: {routes:?}");
    let api = Api::load(CONSOLE);
    let described: BTreeSet<String> = api.document["paths"].as_object().expect("paths").keys().cloned().collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    assert!(missing.is_empty(), "{CONSOLE} does not describe {missing:?}");
}
