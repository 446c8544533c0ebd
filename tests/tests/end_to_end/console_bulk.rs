//! The console's list: filters, pages and files; and one action for several records.

use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::local_stack::{Answer, Setup, payment};

const REASON: &str = "Seen in the provider's dashboard.";
const EVIDENCE: &str = "The bank says that nothing was charged.";

fn results(answer: &Value) -> Vec<&str> {
    answer["items"].as_array().expect("items").iter().map(|item| item["result"].as_str().expect("a result")).collect()
}

async fn call(script: &Script<'_>, path: &str, body: Value) -> Answer {
    script.call(Method::POST, path, Some(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_by_account_and_amount_goes_forth_and_back_and_is_a_file() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, ann) = (Tables::of(&stack).await, stack.user("ann").await);
    let paid = ann.pay("paid", &payment("acct-7", "pm_card_visa")).await.json();
    for number in 0..55 {
        let account = if number % 2 == 0 { "acct-1" } else { "acct-2" };
        tables.unknown(&format!("key-{number}"), "POST /payments", &subject(account, 1000 + number, "EUR")).await;
    }
    let refund = json!({ "payment": paid["id"] }).to_string();
    tables.unknown("refund", "POST /payments/{id}/refunds", &refund).await;
    tables
        .unknown("formula", "POST /payments", &json!({ "account": "=1+1", "amount": 5, "currency": "EUR" }).to_string())
        .await;
    let vera = Script::of(&stack, "vera", "viewer").await;
    for (query, count) in [
        ("account=acct-1", 28),
        ("account=acct-7", 1),
        ("account=acct", 0),
        ("amount_min=1050&amount_max=1054", 5),
        ("amount_min=1999", 1),
        ("amount_max=5", 1),
        ("account=acct-2&amount_min=1050", 2),
        ("amount_min=19.99", 0),
    ] {
        assert_eq!(vera.get(&format!("unresolved?{query}")).await["count"], count, "{query}");
    }

    let visitor = Visitor::of(&stack, "vera", "viewer").await;
    let (forth, back) = forth_and_back(&visitor).await;
    assert_eq!(forth, ["1–25 of 57", "26–50 of 57", "51–57 of 57"]);
    assert_eq!(back, ["26–50 of 57", "1–25 of 57"]);

    let csv = vera.call(Method::GET, "unresolved.csv?account=%3D1%2B1", None).await;
    assert_eq!(csv.header("content-disposition"), Some("attachment; filename=\"unresolved.csv\""));
    let text = csv.text();
    assert!(csv.header("content-type").is_some_and(|kind| kind.starts_with("text/csv")), "{csv:?}");
    assert!(text.lines().count() == 2 && text.contains(",\"'=1+1\","), "{text}");
    let lines = visitor.open("/console/unresolved.jsonl?account=acct-7").await;
    let row: Value = serde_json::from_str(&lines.text()).expect("one line");
    assert_eq!((&row["amount"], &row["currency"], &row["account"]), (&json!("1999"), &json!("EUR"), &json!("acct-7")));
    assert_eq!(vera.call(Method::GET, "unresolved.jsonl", None).await.text().lines().count(), 57);
    assert_eq!(vera.as_nobody().call(Method::GET, "unresolved.csv", None).await.status, 401);
}

/// The places of the list's pages, by the pages' own links: forth from the first, and back from the last.
async fn forth_and_back(visitor: &Visitor) -> (Vec<String>, Vec<String>) {
    let link = |page: &str, rel: &str| {
        let link = page.split("<a ").find(|link| link.contains(&format!("rel=\"{rel}\"")))?;
        Some(link.split("href=\"").nth(1)?.split('"').next()?.replace("&amp;", "&"))
    };
    let place = |page: &str| {
        page.split("id=\"place\">").nth(1).and_then(|rest| rest.split('<').next()).expect("a place").to_owned()
    };
    let (mut path, mut forth, mut back) = ("/console/unresolved".to_owned(), Vec::new(), Vec::new());
    while let Some(next) = {
        let page = visitor.open(&path).await.text();
        forth.push(place(&page));
        link(&page, "next")
    } {
        path = next;
    }
    while let Some(previous) = link(&visitor.open(&path).await.text(), "prev") {
        path = previous;
        back.push(place(&visitor.open(&path).await.text()));
    }
    (forth, back)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_has_a_result_for_each_record_and_each_has_its_own_checks() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let ann = stack.user("ann").await;
    let (olga, vera) = (Script::of(&stack, "olga", "operator").await, Script::of(&stack, "vera", "viewer").await);
    let body = payment("acct-1", "pm_timeout_after_charge");
    let charged = olga.unknown_payment(&ann, "charged", &body).await;
    let mut records = vec![charged.clone()];
    for key in ["key-1", "key-2"] {
        records.push(tables.unknown(key, "POST /payments", &subject("acct-1", 1999, "EUR")).await);
    }
    let form = json!({ "records": records, "name": "Incident 4711", "reason": REASON, "evidence": EVIDENCE });
    for path in ["bulk/ask", "bulk/reconcile", "bulk/fail", "bulk/confirm"] {
        assert_eq!(call(&vera, path, form.clone()).await.problem(), "403 viewer", "{path}");
    }

    let asked = call(&olga, "bulk/ask", json!({ "records": records, "name": "Incident 4711" })).await.json();
    assert_eq!(results(&asked), ["happened", "nothing", "nothing"], "{asked}");
    let previews = call(&olga, "bulk/fail", form.clone()).await.json();
    assert_eq!(results(&previews), ["problem", "previewed", "previewed"], "{previews}");
    assert_eq!(previews["items"][0]["code"], "contradicted", "what was charged cannot be settled as failed");
    let tokens: Vec<Value> =
        previews["items"].as_array().expect("items")[1..].iter().map(|item| item["preview"]["token"].clone()).collect();
    for record in &records {
        assert_eq!(tables.record(record).await.state.status().as_str(), "UNKNOWN", "a preview settles nothing");
    }
    let both = json!({ "tokens": [tokens[0], tokens[1], "00000000000000000000000000000000"] });
    let confirmed = call(&olga, "bulk/confirm", both).await.json();
    assert_eq!(results(&confirmed), ["done", "done", "problem"], "{confirmed}");
    assert_eq!(
        (&confirmed["items"][2]["code"], &confirmed["items"][2]["record"]),
        (&json!("no-preview"), &Value::Null)
    );
    for record in &records[1..] {
        let details = olga.get(&format!("records/{record}")).await;
        assert_eq!(details["status"], "FAILED");
        assert_eq!(details["audit"][0]["reason"], format!("Incident 4711: {REASON}"), "the audit names it");
    }

    let mixed = call(&olga, "bulk/ask", json!({ "records": records, "name": "Incident 4711" })).await.json();
    assert_eq!(results(&mixed), ["happened", "left-out", "left-out"], "what is settled is not asked about");
    let searched = call(&olga, "bulk/reconcile", json!({ "records": [charged], "name": "Incident 4711" })).await.json();
    assert_eq!(results(&searched), ["happened"], "{searched}");
    let retry = ann.pay("charged", &body).await;
    assert_eq!((retry.status, retry.is_replay(), stack.charges().await.len()), (201, true, 1));
    for wrong in [
        json!({ "records": [], "name": "Incident 4711" }),
        json!({ "records": [charged], "name": "" }),
        json!({ "records": vec!["x"; 1], "name": "Incident 4711" }),
    ] {
        let refused = call(&olga, "bulk/ask", wrong.clone()).await;
        assert!(refused.problem() == "422 invalid" || refused.problem() == "409 none-left", "{wrong}: {refused:?}");
    }
    let many: Vec<String> = (0..26).map(|number| format!("{number:043}")).collect();
    assert_eq!(
        call(&olga, "bulk/ask", json!({ "records": many, "name": "Incident 4711" })).await.problem(),
        "422 invalid"
    );
}

/// Why a record was left out.
fn left_out<'a>(items: &'a Value, record: &str) -> (&'a str, &'a str) {
    let item = items.as_array().expect("items").iter().find(|item| item["record"] == record).expect(record);
    (item["code"].as_str().expect("a code"), item["detail"].as_str().expect("a detail"))
}

async fn settle_one_by_one(operator: &Script<'_>, settlements: [(&str, &str); 3]) {
    for (record, verb) in settlements {
        let wish = match verb {
            "release" => json!({ "understood": "yes", "reason": REASON }),
            _ => json!({ "evidence": EVIDENCE, "reason": REASON }),
        };
        let token = operator.preview(record, verb, &wish).await;
        assert_eq!(operator.confirm(&token).await.status, 200);
    }
}

/// The page of the previews after the form for these records was sent.
async fn preview_failing(visitor: &Visitor, records: &str) -> String {
    let csrf = visitor.csrf().await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("action", "fail"),
        ("records", records),
        ("name", "Incident 4711"),
        ("evidence", EVIDENCE),
        ("reason", REASON),
    ];
    visitor.send("/console/bulk", &fields).await.text()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_leaves_out_what_has_changed_since_and_does_nothing_to_it() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, ann) = (Tables::of(&stack).await, stack.user("ann").await);
    let olga = Script::of(&stack, "olga", "operator").await;
    let body = payment("acct-1", "pm_timeout_after_charge");
    let charged = olga.unknown_payment(&ann, "charged", &body).await;
    let mut unknown = Vec::new();
    for key in ["open", "failed", "released", "again"] {
        unknown.push(tables.unknown(key, "POST /payments", &subject("acct-1", 1999, "EUR")).await);
    }
    let [open, failed, released, again] = <[String; 4]>::try_from(unknown).expect("four");
    let foreign = tables.unknown("foreign", "POST /orders", "{}").await;
    let (abandoned, _claim) = tables.frozen("abandoned").await;
    let expired = "0".repeat(43);

    // The operator sees the form; then others are faster.
    let visitor = Visitor::of(&stack, "olga", "operator").await;
    let all = [&open, &charged, &failed, &released, &again, &foreign, &abandoned, &expired];
    let query: String = all.iter().map(|record| format!("&record={record}")).collect();
    let page = visitor.open(&format!("/console/bulk?action=fail{query}")).await.text();
    assert!(page.contains("Settle as failed: 5 records") && page.contains("Left out"), "{page}");
    assert!(page.contains("It is PROCESSING, and the others are UNKNOWN"), "{page}");
    let chosen = page.split("name=\"records\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let chosen = chosen.expect("the records").to_owned();
    olga.call(Method::POST, &format!("records/{charged}/reconcile"), None).await;
    settle_one_by_one(&olga, [(&failed, "fail"), (&released, "release"), (&again, "release")]).await;
    assert_eq!(tables.unknown("again", "POST /payments", &subject("acct-1", 1999, "EUR")).await, again);

    let page = preview_failing(&visitor, &chosen).await;
    assert!(page.contains("1 of 1 without a problem. 4 were left out, and nothing is done to them."), "{page}");
    for why in
        ["settled as SUCCESS, at ", "settled as FAILED, at ", "It was released, at ", "it has run again, last at "]
    {
        assert!(page.contains(why), "{why}: {page}");
    }
    assert!(page.contains("Confirm 1: Settle as failed"), "{page}");

    let form = json!({ "records": all, "name": "Incident 4711", "evidence": EVIDENCE, "reason": REASON });
    let previews = call(&olga, "bulk/fail", form).await.json();
    let expected = ["previewed", "left-out", "left-out", "left-out", "previewed", "left-out", "left-out", "left-out"];
    assert_eq!(results(&previews), expected, "{previews}");
    for (record, code, why) in [
        (&charged, "not-open", "It was settled as SUCCESS, at "),
        (&failed, "not-open", "It was settled as FAILED, at "),
        (&released, "not-open", "It was released, at "),
        (&foreign, "not-ours", "Another application"),
        (&abandoned, "other-state", "It is PROCESSING"),
        (&expired, "no-record", "It has expired"),
    ] {
        let (found, detail) = left_out(&previews["items"], record);
        assert!(found == code && detail.starts_with(why), "{found} {detail}");
    }
    for record in [&charged, &failed, &released] {
        assert_eq!(olga.get(&format!("records/{record}")).await["audit"].as_array().map(Vec::len), Some(1), "{record}");
    }

    let none = json!({ "records": [failed, expired], "name": "Incident 4711", "evidence": EVIDENCE, "reason": REASON });
    let refused = call(&olga, "bulk/fail", none).await;
    assert_eq!(refused.problem(), "409 none-left");
    assert_eq!(left_out(&refused.json()["left_out"], &expired).0, "no-record", "{refused:?}");
    let gone = visitor.open(&format!("/console/bulk?action=fail&record={failed}")).await;
    assert_eq!(gone.status, 409);
    assert!(gone.text().contains("Nothing was done") && gone.text().contains("settled as FAILED"), "{}", gone.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bulk_action_without_evidence_asks_for_an_approval_of_each_and_succeeds_by_the_providers_references() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    for key in ["one", "two"] {
        let refused = ann.pay(key, &payment("acct-1", "pm_timeout_after_charge")).await;
        assert_eq!(refused.problem(), "503 outcome-unknown");
    }
    let charged = olga.unresolved().await;
    let form = json!({ "records": charged, "name": "Ticket 9", "reason": REASON });
    let previews = olga.call(Method::POST, "bulk/succeed", Some(&form)).await.json();
    assert_eq!(results(&previews), ["previewed", "previewed"], "{previews}");
    let items = previews["items"].as_array().expect("items");
    let references: Vec<_> = items.iter().map(|item| &item["preview"]["action"]["reference"]).collect();
    assert_ne!(references[0], references[1], "each has its own");
    let tokens: Vec<_> = items.iter().map(|item| &item["preview"]["token"]).collect();
    let confirmed = olga.call(Method::POST, "bulk/confirm", Some(&json!({ "tokens": tokens }))).await.json();
    assert_eq!(results(&confirmed), ["done", "done"], "{confirmed}");
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 3998);

    // On the pages, with the provider down.
    let mut records = Vec::new();
    for key in ["three", "four"] {
        records.push(tables.unknown(key, "POST /payments", &subject("acct-1", 500, "EUR")).await);
    }
    stack.provider("down").await;
    let visitor = Visitor::of(&stack, "olga", "operator").await;
    let vera = Visitor::of(&stack, "vera", "viewer").await;
    let choice = format!("/console/bulk?action=release&record={}&record={}", records[0], records[1]);
    assert_eq!(vera.open(&choice).await.status, 403);
    assert!(!vera.open("/console/unresolved").await.text().contains("checkbox"), "a viewer chooses nothing");
    let page = visitor.open(&choice).await.text();
    assert!(page.contains("Release for retry: 2 records") && page.contains(&records[1][..12]), "{page}");
    let csrf = visitor.csrf().await;
    let chosen = records.join(" ");
    let mut fields =
        vec![("csrf", csrf.as_str()), ("action", "release"), ("records", chosen.as_str()), ("name", "Ticket 10")];
    let incomplete = visitor.send("/console/bulk", &fields).await;
    assert!(incomplete.status == 422 && incomplete.text().contains("must be confirmed"), "{}", incomplete.text());
    fields.extend([("reason", REASON), ("understood", "yes")]);
    assert_eq!(visitor.send("/console/bulk", &fields[1..]).await.status, 403, "only from a page of ours");
    let page = visitor.send("/console/bulk", &fields).await.text();
    assert!(page.contains("2 of 2 without a problem") && page.contains("Nothing is written yet"), "{page}");
    assert!(page.contains("<dt>Together</dt>") && page.contains("10.00 EUR"), "{page}");
    let (_, rest) = page.split_once("name=\"tokens\" value=\"").expect("the previews");
    let tokens = rest.split('"').next().expect("tokens");
    let page = visitor.send("/console/bulk/confirm", &[("csrf", &csrf), ("tokens", tokens)]).await.text();
    assert_eq!(page.matches("another operator’s approval").count(), 2, "{page}");
    assert!(page.contains("2 of them: nothing is settled before another operator approves it."), "{page}");
    for record in &records {
        assert_eq!(tables.record(record).await.state.status().as_str(), "UNKNOWN", "one operator is not enough");
    }
    assert_eq!(olga.get("approvals").await["approvals"].as_array().map(Vec::len), Some(2));
}
