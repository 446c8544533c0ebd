//! The operators' console, end to end, over HTTP.

use std::time::Duration;

use idempotency::Outcome;
use idempotency::protocol::Resolution;
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::{Script, Tables, Visitor, subject};
use tests::dynamodb::RECORDS;
use tests::local_stack::{Answer, Setup, Stack, payment};
use tests::log::Printed;
use tests::wait::eventually;

const REASON: &str = "Seen in the provider's dashboard.";
const EVIDENCE: &str = "The bank says that nothing was charged.";

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_settles_an_unknown_charge_and_the_clients_retry_hears_of_it() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_after_charge");
    let record = olga.unknown_payment(&ann, "key-1", &body).await;

    let listing = olga.get("unresolved").await;
    assert_eq!((&listing["count"], &listing["at_risk"]), (&json!(1), &json!([{"currency": "EUR", "amount": "1999"}])));
    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!((&details["status"], &details["account"]), (&json!("UNKNOWN"), &json!("acct-1")));
    assert_eq!(details["provider"]["answer"], "happened");
    let reference = details["provider"]["reference"].as_str().expect("the intent").to_owned();

    let wrong = json!({ "reference": "pi_other", "reason": "short" });
    let refused = olga.call(Method::POST, &format!("records/{record}/succeed"), Some(&wrong)).await;
    assert_eq!(refused.problem(), "422 invalid");
    let detail = refused.json()["detail"].as_str().expect("what is wrong").to_owned();
    assert!(detail.contains("reason must have 10") && detail.contains(&reference), "{detail}");

    let token = olga.preview(&record, "succeed", &json!({ "reference": reference, "reason": REASON })).await;
    let look = olga.get(&format!("previews/{token}")).await;
    assert_eq!((&look["action"]["verified"], &look["used"]), (&json!(true), &Value::Null));
    assert_eq!(olga.get(&format!("records/{record}")).await["status"], "UNKNOWN", "a preview writes nothing");
    assert_eq!(olga.confirm(&token).await.status, 200);

    let retry = ann.pay("key-1", &body).await;
    assert_eq!(retry.status, 201, "{retry:?}");
    assert!(retry.is_replay());
    let location = retry.header("location").expect("a location").to_owned();
    assert_eq!(ann.get(&location).await.json(), retry.json(), "it is the client's own payment");
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
    assert_eq!(stack.charges().await.len(), 1);

    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!((&details["status"], &details["payment"]["intent"]), (&json!("SUCCESS"), &json!(reference)));
    let amounts: Vec<_> =
        details["entries"].as_array().expect("entries").iter().map(|entry| &entry["amount"]).collect();
    assert_eq!(amounts, ["1999", "-1999"]);
    let entry = &details["audit"][0];
    assert_eq!(
        (&entry["what"], &entry["actor"], &entry["reason"]),
        (&json!("succeeded"), &json!("olga"), &json!(REASON))
    );
    let events: Vec<_> =
        details["story"].as_array().expect("a story").iter().map(|step| step["event"].as_str()).collect();
    assert!(events[0].is_some_and(|event| event.starts_with("claimed")), "{events:?}");
    assert_eq!(events.last().copied().flatten(), Some("settled as SUCCESS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_settled_as_failed_is_final_and_what_is_released_runs_again() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_before_charge");
    for key in ["failed", "released"] {
        assert_eq!(ann.pay(key, &body).await.problem(), "503 outcome-unknown");
    }
    let [failed, released] = &olga.unresolved().await[..] else { panic!("two records") };

    assert_eq!(ann.pay("another", &payment("acct-1", "pm_card_visa")).await.status, 201);
    let [another] = &stack.charges().await[..] else { panic!("one charge") };
    let stolen = json!({ "reference": another["id"], "reason": REASON });
    let refused = olga.call(Method::POST, &format!("records/{failed}/succeed"), Some(&stolen)).await;
    assert_eq!(refused.problem(), "422 invalid", "a charge of another transaction proves nothing");

    let hasty = json!({ "reason": REASON });
    let refused = olga.call(Method::POST, &format!("records/{released}/release"), Some(&hasty)).await;
    assert_eq!(refused.problem(), "422 invalid", "the danger must be understood");
    let evidence = json!({ "evidence": "The bank confirmed that nothing was charged.", "reason": REASON });
    let token = olga.preview(failed, "fail", &evidence).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let token = olga.preview(released, "release", &json!({ "understood": "yes", "reason": REASON })).await;
    assert_eq!(olga.confirm(&token).await.status, 200);

    let final_answer = ann.pay("failed", &body).await;
    assert_eq!(final_answer.problem(), "422 settled-as-failed");
    assert!(final_answer.is_replay());
    let before = olga.get(&format!("records/{released}")).await["transaction"].clone();
    let again = ann.pay("released", &payment("acct-1", "pm_card_visa")).await;
    assert_eq!(again.status, 201, "a corrected request may use the key: {again:?}");
    assert_eq!(stack.charges().await.len(), 2);
    let details = olga.get(&format!("records/{released}")).await;
    assert_eq!((&details["status"], &details["transaction"]), (&json!("SUCCESS"), &before));
    assert_eq!(olga.get(&format!("records/{failed}")).await["audit"][0]["evidence"], evidence["evidence"]);
    let refused = olga.call(Method::POST, &format!("records/{failed}/fail"), Some(&evidence)).await;
    assert_eq!(refused.problem(), "409 not-open", "what is settled stays settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_of_two_operators_sees_what_changed_and_writes_nothing() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let (olga, otto) = (Visitor::of(&stack, "olga", "operator").await, Visitor::of(&stack, "otto", "operator").await);
    let fields = [("evidence", "The bank says that nothing happened."), ("reason", REASON)];
    let (first, second) = (olga.preview(&record, "fail", &fields).await, otto.preview(&record, "fail", &fields).await);

    assert_eq!(otto.open(&first).await.status, 404, "a preview is its operator's");
    assert_eq!(otto.confirm(&first).await.status, 404);
    assert_eq!(olga.confirm(&first).await.status, 303);
    let settled = tables.record(&record).await;
    for answer in [otto.confirm(&second).await, otto.open(&second).await] {
        assert_eq!(answer.status, 409, "{}", answer.text());
        let page = answer.text();
        for shown in ["The record has changed", "You saw", "UNKNOWN", "Now", "FAILED"] {
            assert!(page.contains(shown), "{shown}: {page}");
        }
    }
    assert_eq!(tables.record(&record).await, settled);
    let script = Script::of(&stack, "otto", "operator").await;
    let audit = script.get("audit").await;
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(1), "{audit}");
    let token = second.rsplit('/').next().expect("a token");
    let refused = script.confirm(token).await;
    assert_eq!(refused.problem(), "409 record-changed");
    assert_eq!(
        (&refused.json()["shown"]["status"], &refused.json()["now"]["status"]),
        (&json!("UNKNOWN"), &json!("FAILED"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_double_submit_is_done_once_and_says_so_twice() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let olga = Visitor::of(&stack, "olga", "operator").await;
    let csrf = olga.csrf().await;
    let fields = [("evidence", "The bank says that nothing happened."), ("reason", REASON)];
    for round in 0..5 {
        let record = tables.unknown(&format!("key-{round}"), "POST /payments", &subject("acct-1", 1999, "EUR")).await;
        let preview = olga.preview(&record, "fail", &fields).await;
        let form = [("csrf", csrf.as_str())];
        let clicks = futures::future::join_all((0..4).map(|_| olga.send(&preview, &form))).await;
        for click in &clicks {
            assert_eq!((click.status, click.header("location")), (303, Some(preview.as_str())), "{}", click.text());
        }
        assert!(olga.open(&preview).await.text().contains("It was done"));
        assert_eq!(olga.send(&preview, &form).await.status, 303, "and once more, later");
    }
    let audit = Script::of(&stack, "vera", "viewer").await.get("audit").await;
    assert_eq!(audit["entries"].as_array().map(Vec::len), Some(5), "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_owner_changes_nothing_and_is_shown_in_the_audit() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    let (record, claim) = tables.frozen("key-1").await;
    let evidence = json!({ "evidence": "The bank says that nothing happened.", "reason": REASON });
    let token = olga.preview(&record, "fail", &evidence).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let settled = tables.record(&record).await;

    // The frozen owner continues, and commits a success.
    let outcome = claim.commit(Resolution::Success, json!({ "id": "pay_late" }), Vec::new()).await;
    assert!(!matches!(outcome, Ok(Outcome::Executed(_))), "{outcome:?}");
    assert_eq!(tables.record(&record).await, settled);
    let audit = olga.get(&format!("records/{record}")).await["audit"].clone();
    let kinds: Vec<_> =
        audit.as_array().expect("entries").iter().map(|entry| (&entry["what"], &entry["actor"])).collect();
    let expected = [(&json!("late-owner"), &json!("payments-api")), (&json!("failed"), &json!("olga"))];
    // Its clock is a minute behind, so it may be listed on either side.
    assert!(kinds == expected || kinds == [expected[1], expected[0]], "{audit}");
    let page = Visitor::of(&stack, "vera", "viewer").await.open("/console/audit").await.text();
    assert!(page.contains("late owner refused") && page.contains("The late attempt succeeded"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_holds_and_what_was_previewed_long_ago_cannot_be_settled() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    let evidence = json!({ "evidence": "The bank says that nothing happened.", "reason": REASON });
    let (held, claim) = tables.held("key-1").await;
    let refused = olga.call(Method::POST, &format!("records/{held}/fail"), Some(&evidence)).await;
    assert_eq!(refused.problem(), "409 not-open");
    let page = Visitor::of(&stack, "olga", "operator").await.open(&format!("/console/records/{held}")).await.text();
    assert!(page.contains("It is held until") && !page.contains("Settle it"), "{page}");

    assert!(claim.abandon("the test says so".into()).await.is_ok());
    let token = olga.preview(&held, "fail", &evidence).await;
    tables.age(&token, Duration::from_secs(10 * 60)).await;
    let seen = tables.record(&held).await;
    assert_eq!(olga.confirm(&token).await.problem(), "410 preview-expired");
    assert_eq!(tables.record(&held).await, seen);
    assert_eq!(olga.get("audit").await["entries"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_closed_and_a_viewer_changes_nothing() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let seen = tables.record(&record).await;
    let pages = ["/console", "/console/audit", "/console/nowhere"].map(str::to_owned);
    let pages = pages.into_iter().chain([format!("/console/records/{record}")]);
    let anybody = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
    for page in pages {
        let answer = anybody.get(format!("{}{page}", stack.base())).send().await.expect("answers");
        let location = format!("/console/sign-in?to={}", page.replace('/', "%2F"));
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["location"].to_str().ok()),
            (303, Some(location.as_str())),
            "{page}"
        );
    }
    for (name, token) in [("nobody", String::new()), ("forged", forged())] {
        let request = anybody.get(format!("{}/console/api/unresolved", stack.base())).bearer_auth(token);
        assert_eq!(request.send().await.expect("answers").status(), 401, "{name}");
    }
    for role in ["", "admin", "operators"] {
        let nobody = Script::of(&stack, "nobody", role).await;
        assert_eq!(nobody.call(Method::GET, "unresolved", None).await.problem(), "403 no-role", "{role}");
        let mut visitor = Visitor::of_nobody(&stack);
        assert_eq!(visitor.sign_in(&[("name", "nobody"), ("role", role)]).await.status, 403, "{role}");
    }

    let (vera, olga) = (Visitor::of(&stack, "vera", "viewer").await, Visitor::of(&stack, "olga", "operator").await);
    let shown = olga.open(&format!("/console/records/{record}")).await.text();
    assert!(shown.contains("Settle it") && shown.matches("<form").count() == 4, "an operator has forms: {shown}");
    let page = vera.open(&format!("/console/records/{record}")).await.text();
    assert!(page.contains("You are a viewer") && !page.contains("Settle it"), "{page}");
    assert_eq!(page.matches("<form").count(), 2, "only those to find and to sign out");
    let csrf = vera.csrf().await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("evidence", "The bank says nothing happened."),
        ("reason", REASON),
        ("understood", "yes"),
    ];
    let preview = olga.preview(&record, "fail", &fields[1..3]).await;
    assert_eq!(vera.open(&format!("/console/records/{record}/fail")).await.status, 403);
    for path in
        ["ask", "reconcile", "succeed", "fail", "release"].map(|verb| format!("/console/records/{record}/{verb}"))
    {
        assert_eq!(vera.send(&path, &fields).await.status, 403, "{path}");
    }
    assert_eq!(vera.send(&preview, &fields[..1]).await.status, 403);
    let script = Script::of(&stack, "vera", "viewer").await;
    for path in ["ask", "reconcile", "succeed", "fail", "release"].map(|verb| format!("records/{record}/{verb}")) {
        assert_eq!(script.call(Method::POST, &path, Some(&json!({}))).await.problem(), "403 viewer", "{path}");
    }
    assert_eq!(script.confirm(preview.rsplit('/').next().expect("a token")).await.problem(), "403 viewer");
    assert_eq!(tables.record(&record).await, seen);
    assert_eq!(script.get("audit").await["entries"], json!([]));
}

/// Signed with a secret instead of the issuer's key, which checkers that trust the token's algorithm accept.
fn forged() -> String {
    // {"alg":"HS256","typ":"JWT","kid":"local"} and
    // {"iss":"http://127.0.0.1/_local","aud":"payments","sub":"eve","role":"operator","exp":4102444800}
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImxvY2FsIn0.eyJpc3MiOiJodHRwOi8vMTI3LjAuMC4xL19sb2NhbCIsImF1ZCI6InBheW1lbnRzIiwic3ViIjoiZXZlIiwicm9sZSI6Im9wZXJhdG9yIiwiZXhwIjo0MTAyNDQ0ODAwfQ.c2lnbmF0dXJl".to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_counts_only_if_it_comes_from_a_page_of_ours() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let (olga, otto) = (Visitor::of(&stack, "olga", "operator").await, Visitor::of(&stack, "otto", "operator").await);
    let fields = [("evidence", "The bank says nothing happened."), ("reason", REASON)];
    let preview = olga.preview(&record, "fail", &fields).await;
    let (own, others) = (olga.csrf().await, otto.csrf().await);
    assert_ne!(own, others);
    for csrf in ["", "x", &others] {
        assert_eq!(olga.send(&preview, &[("csrf", csrf)]).await.status, 403, "{csrf}");
        let ask = format!("/console/records/{record}/ask");
        assert_eq!(olga.send(&ask, &[("csrf", csrf)]).await.status, 403, "{csrf}");
        assert_eq!(olga.send("/console/session/end", &[("csrf", csrf)]).await.status, 403, "{csrf}");
    }
    for site in ["cross-site", "same-site"] {
        let request = olga.request(Method::POST, &preview).header("sec-fetch-site", site).form(&[("csrf", &own)]);
        assert_eq!(request.send().await.expect("answers").status(), 403, "{site}");
    }
    // A cookie alone does not authenticate a request to the API.
    let request = olga.request(Method::POST, &preview.replace("/console/", "/console/api/"));
    assert_eq!(request.send().await.expect("answers").status(), 401);
    assert_eq!(tables.record(&record).await.attempt, 1);
    assert_eq!(olga.send(&preview, &[("csrf", &own)]).await.status, 303, "from here it counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_oldest_first_filtered_and_paged_and_its_url_says_how() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let mut records = Vec::new();
    for number in 0..60 {
        let operation = if number % 10 == 0 { "POST /payments/{id}/refunds" } else { "POST /payments" };
        records.push(
            tables.unknown(&format!("key-{number}"), operation, &subject("acct-1", 9_007_199_254_740_993, "EUR")).await,
        );
    }
    let vera = Script::of(&stack, "vera", "viewer").await;
    let (mut seen, mut path) = (Vec::new(), "unresolved".to_owned());
    loop {
        let page = vera.get(&path).await;
        assert_eq!((&page["count"], &page["at_least"]), (&json!(60), &json!(false)));
        // 60 times 2^53 + 1: a float would lose the last digits.
        assert_eq!(page["at_risk"], json!([{"currency": "EUR", "amount": "540431955284459580"}]));
        let page_records = page["records"].as_array().expect("records").clone();
        assert!(page_records.len() <= 25);
        assert!(page_records.iter().all(|record| record["amount"] == "9007199254740993"));
        seen.extend(page_records.iter().map(|record| record["record"].as_str().expect("an id").to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("unresolved?after={next}");
    }
    let mut by_age = Vec::new();
    for record in &records {
        by_age.push((tables.record(record).await.created, record.clone()));
    }
    by_age.sort();
    assert_eq!(seen, by_age.iter().map(|(_, record)| record.clone()).collect::<Vec<_>>());

    let one = tables.record(&records[7]).await;
    let principal = one.principal.expect("a principal").to_string();
    let cases = [
        ("operation=POST+%2Fpayments%2F%7Bid%7D%2Frefunds", 6),
        ("operation=POST", 0),
        (&format!("transaction={}", one.transaction), 1),
        (&format!("principal={}", &principal[..12]), 60),
        ("principal=ffff", 0),
        ("age_s=3600", 0),
        ("age_s=0", 60),
    ];
    for (query, count) in cases {
        assert_eq!(vera.get(&format!("unresolved?{query}")).await["count"], count, "{query}");
    }
    let page =
        Visitor::of(&stack, "vera", "viewer").await.open("/console/unresolved?operation=POST+%2Fpayments").await.text();
    assert!(page.contains("value=\"POST /payments\""), "the form shows the filter: {page}");
    assert!(
        page.contains("href=\"/console/unresolved?operation=POST+%2Fpayments&amp;after="),
        "the next page keeps it: {page}"
    );
    let moved = Visitor::of(&stack, "vera", "viewer").await.open("/console?age_s=60").await;
    assert_eq!(moved.header("location"), Some("/console/unresolved?age_s=60"), "an old link leads to the list");
    assert!(page.contains("90\u{202f}071\u{202f}992\u{202f}547\u{202f}409.93 EUR"), "every digit: {page}");
}

fn assert_harmless(answer: &Answer) {
    let page = answer.text();
    assert!(page.starts_with("<!DOCTYPE html>"), "{page}");
    for raw in ["<script", "<img", "onerror=alert(1)>&lt;&#x27;", "style=\"", "javascript:"] {
        assert!(!page.contains(raw), "{raw} in {page}");
    }
    let policy = answer.header("content-security-policy").expect("a policy");
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_is_text_on_every_page_and_every_page_forbids_scripts() {
    const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&lt;&#x27;";
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let foreign = tables.unknown("key-1", HOSTILE, HOSTILE).await;
    let record = tables.unknown("key-3", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let other = tables
        .unknown(
            "key-2",
            "POST /payments",
            &json!({"account": HOSTILE, "amount": 1, "currency": HOSTILE, "payment": HOSTILE}).to_string(),
        )
        .await;
    let olga = Visitor::of(&stack, HOSTILE, "operator").await;
    let hostile = format!("{HOSTILE} {HOSTILE}");
    let fields = [("evidence", hostile.as_str()), ("reason", hostile.as_str())];
    let preview = olga.preview(&record, "fail", &fields).await;
    let invalid = olga
        .send(
            &format!("/console/records/{record}/succeed"),
            &[("csrf", &olga.csrf().await), ("reference", HOSTILE), ("reason", HOSTILE)],
        )
        .await;
    assert_eq!(invalid.status, 422);
    let before = olga.open(&preview).await;
    // Without the provider's evidence it takes two operators.
    stack.provider("down").await;
    let asked = olga.confirm(&preview).await;
    let approval = asked.header("location").expect("the approval").to_owned();
    let mut pages = vec![invalid, before, olga.open(&approval).await, olga.open("/console/approvals").await];
    let otto = Visitor::of(&stack, &format!("{HOSTILE}2"), "operator").await;
    assert_eq!(otto.confirm(&approval).await.status, 303);
    for path in [
        "/console".to_owned(),
        "/console/unresolved".to_owned(),
        format!(
            "/console/unresolved?operation={0}&principal={0}&transaction={0}&age_s={0}&account={0}&amount_min={0}",
            "%3Cscript%3E%22%27"
        ),
        format!("/console/bulk?action=ask&record={record}&record={other}"),
        "/console/find".to_owned(),
        "/console/dead-letters".to_owned(),
        "/console/payments/%3Cscript%3E".to_owned(),
        format!("/console/records/{record}"),
        format!("/console/records/{foreign}"),
        format!("/console/records/{foreign}/release"),
        format!("/console/records/{other}"),
        format!("/console/records/{other}/release"),
        approval.clone(),
        "/console/audit".to_owned(),
        "/console/audit?actor=%3Cscript%3E%22%27&record=%3Cscript%3E".to_owned(),
        "/console/records/%3Cscript%3E".to_owned(),
        "/console/sign-in".to_owned(),
    ] {
        pages.push(olga.open(&path).await);
    }
    for answer in &pages {
        assert_harmless(answer);
    }
    let shown = pages.iter().filter(|answer| answer.text().contains("&lt;script&gt;")).count();
    assert!(shown >= 9, "it is shown, as text, on {shown} pages");
    let vera = Script::of(&stack, "vera", "viewer").await;
    assert_eq!(vera.get(&format!("records/{record}")).await["audit"][0]["requested_by"], HOSTILE);
    assert_eq!(vera.get(&format!("records/{foreign}")).await["operation"], HOSTILE);
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_provider_down_the_word_of_two_operators_counts_and_the_audit_says_so() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let body = payment("acct-1", "pm_timeout_after_charge");
    let record = olga.unknown_payment(&ann, "key-1", &body).await;
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert!(stack.local(Method::POST, "provider?mode=down").send().await.expect("answers").status().is_success());
    let asked = olga.call(Method::POST, &format!("records/{record}/ask"), None).await;
    assert_eq!((asked.status, &asked.json()["answer"]), (200, &json!("none")), "{}", asked.text());

    let reference = charge["payment_intent"].as_str().expect("an id");
    let token = olga.preview(&record, "succeed", &json!({ "reference": reference, "reason": REASON })).await;
    assert_eq!(olga.get(&format!("previews/{token}")).await["action"]["verified"], false);
    let otto = Script::of(&stack, "otto", "operator").await;
    assert_eq!(otto.approve(&olga.request(&token).await).await.status, 200);
    let retry = ann.pay("key-1", &body).await;
    assert_eq!((retry.status, retry.is_replay()), (201, true), "{retry:?}");
    assert_eq!(ann.balance("acct-1", "EUR", 1).await, 1999);
    let audit = olga.get("audit").await;
    let entries: Vec<_> = audit["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .map(|entry| (&entry["what"], &entry["actor"], &entry["provider"]))
        .collect();
    let [(succeeded, actor, word), (requested, ..), (asked, ..)] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!([*succeeded, *requested, *asked], ["succeeded", "requested", "asked"]);
    assert_eq!(*actor, "otto");
    assert!(word.as_str().is_some_and(|text| text.starts_with("No evidence. The provider gave no answer")), "{word}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_refund_is_settled_as_a_refund_of_its_payment() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(&stack, "olga", "operator").await);
    let paid = ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await.json();
    let id = paid["id"].as_str().expect("an id");
    let subject = json!({ "payment": id, "amount": 500 }).to_string();
    let record = tables.unknown("key-2", "POST /payments/{id}/refunds", &subject).await;
    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!(
        (&details["amount"], &details["currency"], &details["payment"]["id"]),
        (&json!("500"), &json!("EUR"), &json!(id))
    );
    assert_eq!(details["provider"]["answer"], "nothing");
    let wish = json!({ "reference": "re_1234", "reason": REASON });
    let path = format!("records/{record}/succeed");
    assert_eq!(
        olga.call(Method::POST, &path, Some(&wish)).await.problem(),
        "422 invalid",
        "the provider does not confirm it"
    );

    assert!(stack.local(Method::POST, "provider?mode=down").send().await.expect("answers").status().is_success());
    let token = olga.preview(&record, "succeed", &wish).await;
    let otto = Script::of(&stack, "otto", "operator").await;
    assert_eq!(otto.approve(&olga.request(&token).await).await.status, 200);
    assert_eq!(ann.get(&format!("/payments/{id}")).await.json()["refunded"], 500);
    assert_eq!(ann.balance("acct-1", "EUR", 2).await, 1499);
    let details = olga.get(&format!("records/{record}")).await;
    assert_eq!((&details["status"], &details["entries"][0]["amount"]), (&json!("SUCCESS"), &json!("-500")));
    let page = Visitor::of(&stack, "vera", "viewer").await.open(&format!("/console/records/{record}")).await.text();
    assert!(page.contains("5.00 EUR") && page.contains("-5.00 EUR"), "{page}");
}

/// Sends requests of all kinds, and returns the token of a preview that was confirmed.
async fn send_one_of_each(stack: &Stack, record: &str, [olga, vera]: [&Script<'_>; 2], visitor: &Visitor) -> String {
    olga.get("unresolved").await;
    vera.get(&format!("records/{record}")).await;
    olga.call(Method::POST, &format!("records/{record}/ask"), None).await;
    vera.call(Method::POST, &format!("records/{record}/fail"), None).await;
    olga.call(Method::POST, &format!("records/{record}/fail"), Some(&json!({}))).await;
    let token = olga.preview(record, "fail", &json!({ "evidence": EVIDENCE, "reason": REASON })).await;
    visitor.open(&format!("/console/previews/{token}")).await;
    for _ in 0..2 {
        assert_eq!(olga.confirm(&token).await.status, 200);
    }
    for path in [&*format!("/console/records/{record}"), "/console/audit", "/console/style.css", "/console/secret"] {
        visitor.open(path).await;
    }
    reqwest::get(format!("{}/console/audit", stack.base())).await.expect("answers");
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn each_request_leaves_one_line_that_says_what_was_done_and_nothing_secret() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let transaction = tables.record(&record).await.transaction.to_string();
    let (vera, olga) = (Script::of(&stack, "vera", "viewer").await, Script::of(&stack, "olga", "operator").await);
    let visitor = Visitor::of(&stack, "olga", "operator").await;

    let token = send_one_of_each(&stack, &record, [&olga, &vera], &visitor).await;
    tables.client.delete_table().table_name(RECORDS).send().await.expect("deleted");
    olga.call(Method::GET, "unresolved", None).await;

    const OF_RECORD: &str = "GET /console/api/records/{record}";
    const ACTION: &str = "POST /console/api/records/{record}/{verb}";
    const PREVIEW: &str = "POST /console/api/previews/{token}";
    let mut expected = [
        // The operation; the outcome; the role; the status; whether the line names the record.
        ("GET /console/api/unresolved", "shown", "operator", 200, false),
        (OF_RECORD, "shown", "viewer", 200, true),
        ("POST /console/api/records/{record}/ask", "asked the provider", "operator", 200, true),
        (ACTION, "viewer", "-", 403, true),
        (ACTION, "invalid", "-", 422, true),
        (ACTION, "previewed", "operator", 201, true),
        ("GET /console/previews/{token}", "shown", "operator", 200, true),
        (PREVIEW, "settled as FAILED", "operator", 200, true),
        (PREVIEW, "done before", "operator", 200, true),
        ("GET /console/records/{record}", "shown", "operator", 200, true),
        ("GET /console/audit", "shown", "operator", 200, false),
        ("GET /console/style.css", "shown", "-", 200, false),
        ("GET elsewhere", "not-found", "-", 404, false),
        // Redirected to the sign-in page, and what that logs.
        ("GET /console/audit", "sent elsewhere", "-", 303, false),
        ("GET /console/sign-in", "shown", "-", 200, false),
        // The visitor's own sign-in.
        ("GET /console/sign-in/start", "sent elsewhere", "-", 303, false),
        ("GET /console/callback", "signed in", "operator", 200, false),
        ("GET /console/api/unresolved", "store-unavailable", "-", 503, false),
    ];
    expected.sort_unstable();
    let printed = eventually("each line is there", || async {
        let printed = Printed::read(&stack.log());
        (printed.outcomes().count() >= expected.len()).then_some(printed)
    })
    .await;
    let lines: Vec<&Value> = printed.outcomes().map(|line| &line["fields"]).collect();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or("-").to_owned();
    let mut found: Vec<_> = lines
        .iter()
        .map(|line| {
            let (operation, outcome) = (text(line, "operation"), text(line, "outcome"));
            (operation, outcome, text(line, "role"), line["status"].as_u64(), text(line, "record") == record)
        })
        .collect();
    found.sort_unstable();
    let expected = expected.map(|(operation, outcome, role, status, of_record)| {
        (operation.to_owned(), outcome.to_owned(), role.to_owned(), Some(status), of_record)
    });
    assert_eq!(found, expected);

    let of = |outcome: &str| *lines.iter().find(|line| line["outcome"] == outcome).expect(outcome);
    let settled = of("settled as FAILED");
    assert_eq!(settled["transaction"], transaction, "{settled}");
    assert_eq!(settled["attempt"], 1, "{settled}");
    assert!(of("store-unavailable")["error"].as_str().is_some_and(|error| error.contains("ResourceNotFound")));
    assert!(lines.iter().all(|line| line["total_ms"].is_u64() && line["cold_start"].is_boolean()), "{lines:?}");
    assert!(lines.iter().any(|line| line["cold_start"] == true), "{lines:?}");
    for secret in ["olga", "vera", &token, EVIDENCE, REASON, "key-1", "acct-1", "Bearer", "/console/secret"] {
        let log = stack.log();
        assert_eq!(log.lines().find(|line| line.contains(secret)), None, "{secret}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_finds_nothing_leaves_a_preview_as_it_is_and_a_refusal_keeps_the_text() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let (olga, otto) = (Visitor::of(&stack, "olga", "operator").await, Visitor::of(&stack, "otto", "operator").await);
    let evidence = "The bank says that nothing happened.";
    let fields = [("evidence", evidence), ("reason", REASON)];
    let (first, second) = (olga.preview(&record, "fail", &fields).await, otto.preview(&record, "fail", &fields).await);
    stack.provider("down").await;
    let attempt = tables.record(&record).await.attempt;
    stack.reconcile().await;
    stack.reconcile().await;
    assert!(tables.record(&record).await.attempt > attempt, "there were searches");
    stack.provider("up").await;
    assert_eq!(olga.confirm(&first).await.status, 303);
    assert_eq!(tables.record(&record).await.state.status().as_str(), "FAILED");

    let refused = otto.confirm(&second).await;
    let page = refused.text();
    assert_eq!(refused.status, 409, "{page}");
    let link = page.split("href=\"").find(|link| link.contains("?from=")).expect("a way back to the text");
    let form = otto.open(link.split('"').next().expect("an address")).await.text();
    assert!(form.contains(evidence) && form.contains(REASON), "{form}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_release_the_console_says_who_released_what_and_which_transaction_it_was() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let olga = Script::of(&stack, "olga", "operator").await;
    let before = olga.get(&format!("records/{record}")).await["transaction"].clone();
    let token = olga.preview(&record, "release", &json!({ "understood": "yes", "reason": REASON })).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let details = olga.get(&format!("records/{record}")).await;
    let state = details["state"].as_str().expect("words");
    assert!(state.starts_with("Released by olga: the next call with its key runs."), "{state}");
    assert!(details["audit"].to_string().contains(before.as_str().expect("an id")), "{details}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_amount_at_risk_has_refunds_in_the_currency_of_their_payments() {
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let (tables, ann) = (Tables::of(&stack).await, stack.user("ann").await);
    let paid = ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await.json();
    let id = paid["id"].as_str().expect("an id");
    for (key, subject) in [
        ("part", json!({ "payment": id, "amount": 500 })),
        ("all", json!({ "payment": id })),
        ("lost", json!({ "payment": "pay_0190a5b400007000800000000000000a" })),
    ] {
        tables.unknown(key, "POST /payments/{id}/refunds", &subject.to_string()).await;
    }
    let list = Script::of(&stack, "vera", "viewer").await.get("unresolved").await;
    assert_eq!(list["at_risk"], json!([{ "currency": "EUR", "amount": (500 + 1999).to_string() }]), "{list}");
    assert_eq!(list["without_amount"], 1);
    let page = Visitor::of(&stack, "vera", "viewer").await.open("/console").await.text();
    assert!(page.contains("24.99 EUR") && page.contains("1 without a known amount"), "{page}");
}
