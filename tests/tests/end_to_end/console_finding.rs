//! The console's search box: every id that people have leads to what it belongs to, settled or not.

use fault_proxy::Proxy;
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::local_stack::{Setup, payment};
use tests::log::Printed;
use tests::process::free_port;
use tests::wait::eventually;

/// What the script finds: kind and id of each, and the notes.
async fn found(script: &Script<'_>, text: &str) -> (Vec<(String, String)>, String) {
    let answer = script.call(Method::POST, "find", Some(&json!({ "text": text }))).await;
    assert_eq!(answer.status, 200, "{text}: {}", answer.text());
    let answer = answer.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let found = answer["found"].as_array().expect("a list").iter();
    (found.map(|found| (text(&found["kind"]), text(&found["id"]))).collect(), answer["notes"].to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_id_of_a_settled_payment_and_its_refund_leads_to_its_record() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, vera) = (stack.user("ann").await, Script::of(&stack, "vera", "viewer").await);
    let paid = ann.pay("order-17", &payment("acct-1", "pm_card_visa")).await;
    let location = paid.header("location").expect("a location").to_owned();
    let paid = paid.json();
    let id = paid["id"].as_str().expect("an id");
    let refund = ann.post(&format!("{location}/refunds"), "refund-1", &json!({ "amount": 500 })).await.json();
    ann.balance("acct-1", "EUR", 2).await;

    // The client's key with its principal, as in the documentation of the record's id.
    let (of_key, _) = found(&vera, "ann order-17").await;
    let [(kind, record)] = &of_key[..] else { panic!("{of_key:?}") };
    assert_eq!((kind.as_str(), record.len()), ("record", 43));
    let details = vera.get(&format!("records/{record}")).await;
    assert_eq!((&details["status"], &details["payment"]["id"]), (&json!("SUCCESS"), &json!(id)));
    let transaction = details["transaction"].as_str().expect("an id");
    let intent = details["payment"]["intent"].as_str().expect("the charge").to_owned();
    let fields = json!({ "principal": "ann", "key": "\"order-17\"" });
    let answer = vera.call(Method::POST, "find", Some(&fields)).await.json();
    assert_eq!(answer["found"][0]["id"], *record);

    for text in [&intent, transaction, record, &format!("idempotency:{record}")] {
        let (found, notes) = found(&vera, text).await;
        assert!(found.contains(&("record".to_owned(), record.clone())), "{text}: {found:?} {notes}");
    }
    assert_eq!(found(&vera, id).await.0, [("payment".to_owned(), id.to_owned())]);
    assert_eq!(found(&vera, "acct-1").await.0, [("account".to_owned(), "acct-1".to_owned())]);
    let (of_refund, _) = found(&vera, refund["id"].as_str().expect("an id")).await;
    let [(kind, refund_record)] = &of_refund[..] else { panic!("{of_refund:?}") };
    assert!(kind == "record" && refund_record != record, "the refund has its own");

    let shown = vera.get(&format!("payments/{id}")).await;
    assert_eq!(
        (&shown["record"], &shown["record_status"], &shown["refunded"]),
        (&json!(record), &json!("SUCCESS"), &json!("500"))
    );
    assert_eq!((&shown["refunds"][0]["id"], &shown["refunds"][0]["record"]), (&refund["id"], &json!(refund_record)));
    let account = vera.get("accounts/acct-1").await;
    assert_eq!(
        (&account["balances"][0]["balance"], &account["entries"][0]["amount"]),
        (&json!("1499"), &json!("-500"))
    );
    assert_eq!(account["entries"].as_array().map(Vec::len), Some(2));

    // The log line of the request has the whole id, so it leads there, too.
    let line = eventually("the line of the request", || async {
        let printed = Printed::read(&stack.log());
        printed.outcomes().map(|line| line["fields"].clone()).find(|fields| fields["transaction"] == transaction)
    })
    .await;
    assert_eq!(line["record"], *record, "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unresolved_is_found_by_its_transaction_its_charge_and_twelve_characters_and_what_is_not_there_says_why()
 {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, vera) = (stack.user("ann").await, Script::of(&stack, "vera", "viewer").await);
    let record = vera.unknown_payment(&ann, "key-1", &payment("acct-1", "pm_timeout_after_charge")).await;
    let transaction = tables.record(&record).await.transaction;
    let details = vera.get(&format!("records/{record}")).await;
    let intent = details["provider"]["reference"].as_str().expect("the charge").to_owned();
    let expected = ("record".to_owned(), record.clone());
    let payment_id = format!("pay_{}", transaction.uuid().simple());
    for text in [&transaction.to_string(), &intent, &payment_id, &record, &record[..12], "ann key-1"] {
        let (found, notes) = found(&vera, text).await;
        assert!(found.contains(&expected), "{text}: {found:?} {notes}");
    }
    let (of_account, _) = found(&vera, "acct-1").await;
    assert_eq!(of_account, [("account".to_owned(), "acct-1".to_owned())], "nothing is posted to it yet");
    assert_eq!(vera.get("accounts/acct-1").await["unresolved"][0]["record"], record);

    let nothing = uuid::Uuid::nil();
    for (text, why) in [
        ("bob key-1", "no record of this key and principal"),
        (&*nothing.to_string(), "Neither a payment nor a posting"),
        (&*format!("pay_{}", nothing.simple()), "Neither a payment nor a posting"),
        (&*"A".repeat(43), "no record with this id"),
        ("AAAAAAAAAAAA", "twelve characters"),
        ("pi_unknown", "The provider did not return"),
        ("acct-9", "Nothing is posted"),
    ] {
        let (found, notes) = found(&vera, text).await;
        assert!(found.is_empty() && notes.contains(why), "{text}: {found:?} {notes}");
    }
    for wrong in
        [json!({ "text": "" }), json!({ "text": "<script>" }), json!({ "key": "k" }), json!({ "text": "x", "more": 1 })]
    {
        assert_eq!(vera.call(Method::POST, "find", Some(&wrong)).await.problem(), "422 invalid", "{wrong}");
    }
    assert_eq!(vera.call(Method::GET, "payments/pay_1", None).await.problem(), "404 no-payment");
    assert_eq!(vera.call(Method::GET, "accounts/acct-9", None).await.problem(), "404 no-account");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_may_be_several_things_reads_the_unresolved_records_once() {
    let port = free_port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
    let setup = Setup::brief().reconciled_on_demand().parameter("OutboxState", "STOPPED");
    let stack = setup.behind(&proxy.url(), port).start().await;
    let vera = Script::of(&stack, "vera", "viewer").await;
    found(&vera, "acct-1").await;
    // The index of unresolved records has this many parts, and each is asked.
    const UNRESOLVED: u64 = 16;
    for (text, requests) in [
        // A transaction: its posting, its payment, the unresolved records. An account: its balances.
        (uuid::Uuid::nil().to_string(), 2 + UNRESOLVED + 1),
        // Twelve characters of a record: the unresolved ones. An account: its balances.
        ("AAAAAAAAAAAA".to_owned(), UNRESOLVED + 1),
    ] {
        let before = proxy.traffic();
        assert!(found(&vera, &text).await.0.is_empty(), "{text}");
        assert_eq!((proxy.traffic() - before).requests, requests, "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_with_many_refunds_shows_them_fifty_at_a_time() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, ann) = (Tables::of(&stack).await, stack.user("ann").await);
    let paid = ann.pay("order-17", &payment("acct-1", "pm_card_visa")).await.json();
    let id = paid["id"].as_str().expect("an id");
    tables.refund(id, 55, 10).await;

    let vera = Script::of(&stack, "vera", "viewer").await;
    let refunds = |page: &Value| -> Vec<Value> {
        page["refunds"].as_array().expect("a list").iter().map(|refund| refund["id"].clone()).collect()
    };
    let first = vera.get(&format!("payments/{id}")).await;
    assert_eq!((refunds(&first).len(), &first["refunded"]), (50, &json!("550")), "{first}");
    let next = first["next"].as_str().expect("there are more");
    let second = vera.get(&format!("payments/{id}?after={next}")).await;
    assert_eq!((refunds(&second).len(), &second["next"]), (5, &Value::Null), "{second}");
    let all = [refunds(&first), refunds(&second)].concat();
    assert!(all.is_sorted_by_key(Value::to_string), "oldest first, each once: {all:?}");
    assert_eq!(vera.call(Method::GET, &format!("payments/{id}?after=x"), None).await.problem(), "422 invalid");

    let visitor = Visitor::of(&stack, "vera", "viewer").await;
    let page = visitor.open(&format!("/console/payments/{id}")).await.text();
    assert!(page.contains("There are more than the 50 here."), "{page}");
    let page = visitor.open(&format!("/console/payments/{id}?after={next}")).await.text();
    let last = all[54].as_str().expect("an id");
    assert!(page.contains(last) && page.contains("The oldest") && !page.contains("There are more"), "{page}");
    ann.balance("acct-1", "EUR", 56).await;
    let transaction = uuid::Uuid::parse_str(last.strip_prefix("ref_").expect("a refund")).expect("an id");
    for text in [last, &transaction.to_string()] {
        assert_eq!(found(&vera, text).await.0, [("payment".to_owned(), id.to_owned())], "{text}: on no page before");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_box_is_on_every_page_and_puts_no_key_and_no_principal_into_urls_or_logs() {
    const PRINCIPAL: &str = "ann-whom-no-log-shows";
    const KEY: &str = "key-that-no-log-shows";
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let ann = stack.user(PRINCIPAL).await;
    assert_eq!(ann.pay(KEY, &payment("acct-1", "pm_card_visa")).await.status, 201);
    let vera = Visitor::of(&stack, "vera", "viewer").await;
    for page in
        ["/console", "/console/unresolved", "/console/audit", "/console/nowhere", &format!("/console/records/{record}")]
    {
        let page = vera.open(page).await.text();
        assert!(page.contains("action=\"/console/find\"") && page.contains("role=\"search\""), "{page}");
    }
    let csrf = vera.csrf().await;
    let text = format!("{PRINCIPAL} {KEY}");
    assert_eq!(vera.send("/console/find", &[("text", text.as_str())]).await.status, 403, "only from a page of ours");
    let found = vera.send("/console/find", &[("csrf", csrf.as_str()), ("text", &text)]).await;
    let location = found.header("location").expect("a record");
    assert!(found.status == 303 && location.starts_with("/console/records/"), "{location}");
    let fields = [("csrf", csrf.as_str()), ("principal", PRINCIPAL), ("key", KEY)];
    assert_eq!(vera.send("/console/find", &fields).await.header("location"), Some(location));
    let nothing = vera.send("/console/find", &[("csrf", csrf.as_str()), ("text", "acct-9")]).await;
    assert!(nothing.status == 200 && nothing.text().contains("Nothing was found."), "{}", nothing.text());
    let page = vera.send("/console/find", &[("csrf", csrf.as_str()), ("text", "<script>")]).await.text();
    assert!(page.contains("not an id that can be found") && !page.contains("<script"), "{page}");
    vera.open(location).await;
    eventually("the lines are there", || async { (stack.count("/console/find") >= 4).then_some(()) }).await;
    let log = stack.log();
    for secret in [PRINCIPAL, KEY] {
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "{secret}");
    }
}
