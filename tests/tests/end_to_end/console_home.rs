//! The console's home page and the dead letters: what they show, and sending one message again.

use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::local_stack::{Setup, payment};
use tests::wait::eventually;

const REFUSED: &str = "does not allow";

#[tokio::test(flavor = "multi_thread")]
async fn the_home_page_shows_what_is_unresolved_by_operation_and_whether_the_machinery_works() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, ann) = (Tables::of(&stack).await, stack.user("ann").await);
    let (vera, visitor) = (Script::of(&stack, "vera", "viewer").await, Visitor::of(&stack, "vera", "viewer").await);
    let home = vera.get("home").await;
    assert_eq!((&home["unresolved"]["count"], &home["reconciler"]["ran"]), (&json!(0), &Value::Null), "{home}");
    assert_eq!((&home["reconciler"]["late"], &home["signals"]), (&json!(true), &Value::Null), "{home}");
    let page = visitor.open("/console").await.text();
    assert!(page.contains("No operation has an unknown outcome.") && page.contains("has not run yet"), "{page}");

    let paid = ann.pay("paid", &payment("acct-1", "pm_card_visa")).await.json();
    let refund = json!({ "payment": paid["id"], "amount": 500 }).to_string();
    tables.unknown("one", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    tables.unknown("two", "POST /payments", &subject("acct-1", 700, "JPY")).await;
    tables.unknown("refund", "POST /payments/{id}/refunds", &refund).await;
    stack.provider("down").await;
    stack.reconcile().await;
    let home = vera.get("home").await;
    let total = &home["unresolved"];
    assert_eq!(
        (&total["count"], &total["older"][0], &total["older"][1]["count"]),
        (&json!(3), &json!({"age_s": 0, "count": 3}), &json!(0))
    );
    let at_risk = |group: &Value| group["at_risk"].clone();
    let eur = |amount: &str| json!({ "currency": "EUR", "amount": amount });
    assert_eq!(at_risk(total), json!([eur("2499"), { "currency": "JPY", "amount": "700" }]));
    let operations: Vec<_> = home["operations"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| (group["operation"].as_str(), group["count"].as_u64()))
        .collect();
    assert_eq!(operations, [(Some("POST /payments"), Some(2)), (Some("POST /payments/{id}/refunds"), Some(1))]);
    assert_eq!(at_risk(&home["operations"][1]), json!([eur("500")]), "a refund has its payment's currency");
    assert_eq!(home["reconciler"]["late"], false, "{home}");
    assert!(home["reconciler"]["ran"].is_string());

    let page = visitor.open("/console?refresh=60").await.text();
    assert!(page.contains("<meta http-equiv=\"refresh\" content=\"60\">") && page.contains("As of "), "{page}");
    assert!(page.contains("href=\"/console/unresolved?operation=POST+%2Fpayments%2F%7Bid%7D%2Frefunds\""), "{page}");
    assert!(!visitor.open("/console").await.text().contains("http-equiv"), "only on demand");
    assert!(!stack.log().contains(REFUSED), "{}", stack.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_dead_letter_is_sent_again_alone_and_posted_and_the_audit_has_it() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (olga, vera) = (Script::of(&stack, "olga", "operator").await, Script::of(&stack, "vera", "viewer").await);
    let ann = stack.user("ann").await;
    // Two that were lost on the way, and one that nobody can read.
    for number in [1, 2] {
        let sale = json!({
            "type": "terminal.sale", "terminal": "till-1", "sequence": number,
            "account": "acct-1", "amount": 100 * number, "currency": "EUR",
        });
        stack.put("LedgerDeadLetters", 1, sale.to_string()).await;
    }
    stack.put("LedgerDeadLetters", 1, "<script>alert(1)</script>").await;

    assert_eq!(vera.get("home").await["ledger_dead_letters"], json!({ "waiting": 3, "in_flight": 0 }));
    let letters = vera.get("dead-letters").await["messages"].as_array().cloned().expect("messages");
    assert_eq!(letters.len(), 3, "{letters:?}");
    let of = |amount: &str| letters.iter().find(|letter| letter["amount"] == amount).expect("the sale");
    assert_eq!((&of("200")["terminal"], &of("200")["account"]), (&json!("till-1"), &json!("acct-1")));
    assert!(letters.iter().any(|letter| letter["problem"].is_string()), "{letters:?}");
    let page = Visitor::of(&stack, "vera", "viewer").await.open("/console/dead-letters").await.text();
    assert!(page.contains("till-1, number 1") && !page.contains("Send it to the ledger again"), "{page}");
    assert!(!page.contains("<script"), "{page}");

    let message = of("100")["message"].as_str().expect("an id");
    let path = format!("dead-letters/{message}");
    assert_eq!(vera.call(Method::POST, &path, None).await.problem(), "403 viewer");
    // Without an entry in the audit nothing is sent, and nobody waits for the next try.
    stack.local(Method::POST, "dynamodb?mode=down").send().await.expect("answers");
    assert_eq!(olga.call(Method::POST, &path, None).await.problem(), "503 store-unavailable");
    let left = stack.queue("LedgerDeadLetters").await;
    assert_eq!((&left["visible"], &left["in_flight"]), (&json!(3), &json!(0)), "all of them are there at once");
    stack.local(Method::POST, "dynamodb?mode=up").send().await.expect("answers");
    assert_eq!(olga.call(Method::POST, &path, None).await.status, 200);
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 100, "it alone is posted");
    assert_eq!(stack.queue("LedgerDeadLetters").await["visible"], 2, "the others are there at once");
    assert_eq!(olga.call(Method::POST, &path, None).await.problem(), "404 no-dead-letter");
    let audit = olga.get("audit").await["entries"].clone();
    let entry = &audit[0];
    assert_eq!(
        (&entry["what"], &entry["actor"], &entry["message"], &entry["record"]),
        (&json!("redriven"), &json!("olga"), &json!(message), &Value::Null),
        "{audit}"
    );

    // From the page, too.
    let visitor = Visitor::of(&stack, "olga", "operator").await;
    let other = of("200")["message"].as_str().expect("an id");
    let csrf = visitor.csrf().await;
    assert_eq!(visitor.send("/console/dead-letters", &[("message", other)]).await.status, 403, "without its value");
    let sent = visitor.send("/console/dead-letters", &[("csrf", &csrf), ("message", other)]).await;
    assert_eq!((sent.status, sent.header("location")), (303, Some("/console/audit")));
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 300);
    let page = visitor.open("/console/audit").await.text();
    assert!(page.contains("sent the dead letter again") && page.contains(other), "{page}");
    assert!(!stack.log().contains(REFUSED), "{}", stack.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reconciler_tries_at_once_when_an_operator_says_so() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_after_charge");
    let record = olga.unknown_payment(&ann, "key-1", &body).await;
    let path = format!("records/{record}/reconcile");

    stack.provider("down").await;
    let unclear = olga.call(Method::POST, &path, None).await;
    assert_eq!((unclear.status, &unclear.json()["result"]), (200, &json!("unclear")), "{unclear:?}");
    assert_eq!(tables.record(&record).await.state.status().as_str(), "UNKNOWN");
    stack.provider("up").await;
    let found = olga.call(Method::POST, &path, None).await;
    assert_eq!((found.status, &found.json()["result"]), (200, &json!("happened")), "{found:?}");
    assert_eq!(olga.call(Method::POST, &path, None).await.problem(), "409 not-open");
    let retry = ann.pay("key-1", &body).await;
    assert_eq!((retry.status, retry.is_replay(), stack.charges().await.len()), (201, true, 1), "{retry:?}");
    let details = olga.get(&format!("records/{record}")).await;
    let audit: Vec<_> = details["audit"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (entry["what"].as_str(), entry["evidence"].as_str().expect("the result").to_owned()))
        .collect();
    let [(Some("reconciled"), happened), (Some("reconciled"), unclear)] = &audit[..] else { panic!("{audit:?}") };
    assert!(happened.contains("settled as SUCCESS") && unclear.contains("no evidence"), "{audit:?}");

    // Without a charge it is prevented, and the next call runs.
    let (held, claim) = tables.held("held").await;
    assert_eq!(olga.call(Method::POST, &format!("records/{held}/reconcile"), None).await.problem(), "409 not-open");
    assert!(claim.abandon("the test says so".into()).await.is_ok());
    let visitor = Visitor::of(&stack, "olga", "operator").await;
    let csrf = visitor.csrf().await;
    let sent = visitor.send(&format!("/console/records/{held}/reconcile"), &[("csrf", &csrf)]).await;
    assert_eq!(sent.status, 303, "{}", sent.text());
    let page = visitor.open(&format!("/console/records/{held}")).await.text();
    assert!(
        page.contains("had it reconciled</strong> by") && page.contains("released, so that the next call runs"),
        "{page}"
    );
    let foreign = tables.unknown("foreign", "post elsewhere", "{}").await;
    assert_eq!(olga.call(Method::POST, &format!("records/{foreign}/reconcile"), None).await.problem(), "409 not-ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_shows_its_timeline_with_a_text_alternative() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let record = olga.unknown_payment(&ann, "key-1", &payment("acct-1", "pm_timeout_after_charge")).await;
    olga.call(Method::POST, &format!("records/{record}/ask"), None).await;
    olga.call(Method::POST, &format!("records/{record}/reconcile"), None).await;
    let visitor = Visitor::of(&stack, "vera", "viewer").await;
    let page = eventually("the history is whole", || async {
        let page = visitor.open(&format!("/console/records/{record}")).await.text();
        page.contains("Settled: it happened").then_some(page)
    })
    .await;
    let (_, picture) = page.split_once("<desc id=\"timeline-text\">").expect("a text alternative");
    let (words, picture) = picture.split_once("</desc>").expect("its end");
    for shown in [
        "Attempt 1 starts",
        "Attempt 1 ends, outcome unknown",
        "Search for evidence (2)",
        "Charged, by the provider",
        "olga: asked the provider",
    ] {
        assert!(words.contains(shown) && picture.contains(shown), "{shown}: {words}");
    }
    assert!(!picture.contains("style="), "the policy forbids styles in the page");
}
