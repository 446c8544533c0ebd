//! The operators' console in a real browser.

use std::path::Path;

use serde_json::Value;
use tests::browser::{Browser, DESK, NARROW, PHONE, View, is_available};
use tests::console::{Script, Tables, subject};
use tests::local_stack::{Setup, Stack, User, payment};
use tests::sizes::number;
use tests::wait::eventually;
use tests::workspace;

const REASON: &str = "Seen in the provider's dashboard.";

/// Records, each with the provider's reference.
type Records = Vec<(String, Value)>;

/// Opens a page of the console, and signs in on the way.
pub(crate) async fn opens(browser: &Browser, page: &str, name: &str, role: &str) {
    browser.open(page).await;
    browser.shows(&["Sign in", "You sign in at localhost"]).await;
    browser.press("Sign in").await;
    browser.shows(&["Sign in locally"]).await;
    browser.fill("name", name).await;
    browser.choose("role", role).await;
    browser.press("Sign in").await;
    browser.shows(&[&format!("{name} ({role})")]).await;
    assert_eq!(browser.url().await, page, "the page that was asked for");
}

fn home(stack: &Stack) -> String {
    format!("{}/console", stack.base())
}

/// From the list through the record, the form and the preview to the result, by links and buttons only.
async fn resolves(browser: &Browser, stack: &Stack, record: &str) {
    opens(browser, &home(stack), "olga", "operator").await;
    browser.shows(&["Home", "Amount at risk"]).await;
    browser.press("Open the list").await;
    browser.shows(&["Unresolved", "1–1 of 1"]).await;
    browser.press(&record[..12]).await;
    browser.shows(&["The outcome is unknown."]).await;
    browser.press("Ask the provider now").await;
    browser.shows(&["asked the provider by olga"]).await;
    browser.press("Settle as failed").await;
    browser.fill("evidence", "The bank says that nothing happened.").await;
    browser.fill("reason", REASON).await;
    browser.press("Preview").await;
    let shown =
        ["Preview: Settle as failed", "UNKNOWN", "FAILED", "422 settled-as-failed", REASON, "Nothing is written yet."];
    browser.shows(&shown).await;
    browser.press("Confirm").await;
    browser.shows(&["Done: Settle as failed"]).await;
    browser.press("Look at the record").await;
    browser.shows(&["It did not happen and will not."]).await;
    browser.press("Audit").await;
    browser.shows(&["settled as FAILED by olga", REASON]).await;
    browser.press("Sign out").await;
    // By the console's page, then the issuer's.
    browser.shows(&["You are signed out", "Sign in"]).await;
    eventually("the issuer leads back", || async {
        browser.url().await.ends_with("/console/signed-out").then_some(())
    })
    .await;
    browser.open(&home(stack)).await;
    browser.shows(&["You sign in at"]).await;
    browser.press("Sign in").await;
    browser.shows(&["Sign in locally"]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_record_is_resolved_with_scripts_and_without() {
    if !is_available() {
        return;
    }
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    for (scripts, key) in [(true, "key-1"), (false, "key-2")] {
        let record = tables.unknown(key, "POST /payments", &subject("acct-1", 1999, "EUR")).await;
        let browser = Browser::start(View { scripts, ..DESK }).await;
        assert_eq!(browser.runs_scripts().await, scripts);
        resolves(&browser, &stack, &record).await;
        if scripts {
            assert_eq!(browser.noted().await, "", "nothing that the policy forbids");
        }
        browser.quit().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_link_survives_the_sign_in_on_a_phone_and_a_known_person_is_not_asked_again() {
    if !is_available() {
        return;
    }
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let page = format!("{}/console/records/{record}", stack.base());
    let browser = Browser::start(PHONE).await;
    browser.open(&page).await;
    for shown in ["You sign in at localhost", "Sign in locally"] {
        browser.shows(&[shown]).await;
        assert_eq!(browser.accessibility_findings().await, [] as [String; 0], "{shown}");
        assert!(browser.overflow().await <= 0, "{shown}");
        if shown != "Sign in locally" {
            browser.press("Sign in").await;
        }
    }
    opens(&browser, &page, "vera", "viewer").await;
    browser.shows(&["You are a viewer"]).await;

    // The session here is gone, the one at the issuer is not: no page asks.
    browser.forget_cookies().await;
    browser.open(&page).await;
    browser.press("Sign in").await;
    browser.shows(&["vera (viewer)", "You are a viewer"]).await;

    // A person without a role can become another.
    browser.forget_cookies().await;
    browser.open(&format!("{}/console/sign-in/start?again&to=/console/audit", stack.base())).await;
    browser.shows(&["Sign in locally"]).await;
    browser.choose("role", "").await;
    browser.press("Sign in").await;
    browser.shows(&["You have no role in this console", "Sign in again"]).await;
    assert_eq!(browser.accessibility_findings().await, [] as [String; 0]);
    browser.press("Sign in as somebody else").await;
    browser.choose("role", "operator").await;
    browser.press("Sign in").await;
    browser.shows(&["Audit", "olga (operator)"]).await;
    assert_eq!(browser.url().await, format!("{}/console/audit", stack.base()));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_found_and_several_records_are_asked_about_without_a_script() {
    if !is_available() {
        return;
    }
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let paid = stack.user("ann").await.pay("order-17", &payment("acct-1", "pm_card_visa")).await.json();
    for key in ["key-1", "key-2"] {
        tables.unknown(key, "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    }
    let browser = Browser::start(View { scripts: false, ..PHONE }).await;
    opens(&browser, &home(&stack), "olga", "operator").await;
    browser.fill("search", "ann order-17").await;
    browser.press("Find").await;
    browser.shows(&["It happened.", paid["id"].as_str().expect("an id")]).await;
    browser.press("acct-1").await;
    browser.shows(&["Account acct-1", "Latest entries"]).await;
    browser.press("2 in the list").await;
    browser.shows(&["Unresolved", "1–2 of 2"]).await;
    browser.tick_all("record").await;
    browser.choose("action", "ask").await;
    browser.press("Go on").await;
    browser.shows(&["Ask the provider: 2 records"]).await;
    browser.fill("name", "Incident 4711").await;
    browser.press("Ask the provider").await;
    browser.shows(&["2 of 2 without a problem", "The provider finds nothing."]).await;
    browser.press("Audit").await;
    browser.shows(&["asked the provider by olga", "Incident 4711"]).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_resolved_by_the_keyboard_alone() {
    if !is_available() {
        return;
    }
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let record = tables.unknown("key-1", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let browser = Browser::start(DESK).await;
    opens(&browser, &home(&stack), "olga", "operator").await;
    browser.tab_to("Skip to the content").await;
    browser.enter_in_place().await;
    browser.tab_to("Open the list").await;
    browser.enter().await;
    browser.tab_to(&record[..12]).await;
    browser.enter().await;
    browser.tab_to("Release for retry").await;
    browser.enter().await;
    browser.tab_to("understood").await;
    browser.key(" ").await;
    browser.tab_to("reason").await;
    browser.key("          no          ").await;
    browser.tab_to("Preview").await;
    browser.enter().await;
    browser.shows(&["This cannot be previewed yet", "must have 10 to 500 characters"]).await;
    assert!(browser.focus().await.contains("This cannot be previewed yet"), "the problem has the focus");
    browser.tab_to("Reason").await;
    browser.enter_in_place().await;
    assert_eq!(browser.value("reason").await.trim(), "no", "what was typed is kept");
    browser.key(REASON).await;
    browser.tab_to("Preview").await;
    browser.enter().await;
    browser.shows(&["Preview: Release for retry", REASON]).await;
    browser.tab_to("Confirm").await;
    browser.enter().await;
    browser.shows(&["Done: Release for retry"]).await;
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_runs_nothing_and_no_page_breaks_its_policy() {
    if !is_available() {
        return;
    }
    const HOSTILE: &str = "<script>alert(1)</script><img src=x onerror=alert(2)><b style=color:red>\"'";
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let tables = Tables::of(&stack).await;
    let foreign = tables.unknown("key-1", HOSTILE, HOSTILE).await;
    let record = tables.unknown("key-2", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let script = Script::of(&stack, HOSTILE, "operator").await;
    let wish = serde_json::json!({ "evidence": HOSTILE, "reason": HOSTILE });
    // Without the provider's evidence another operator must approve.
    stack.provider("down").await;
    let token = script.preview(&record, "fail", &wish).await;
    let browser = Browser::start(DESK).await;
    opens(&browser, &home(&stack), "olga", "operator").await;
    let record_page = format!("{}/console/records/{record}", stack.base());
    browser.shows(&[HOSTILE]).await;
    let mut shown = browser.text().await;
    let foreign_page = format!("{}/console/records/{foreign}", stack.base());
    for page in [format!("{foreign_page}/release"), foreign_page, format!("{record_page}/release")] {
        browser.open(&page).await;
        shown += &browser.text().await;
    }
    let approval = script.request(&token).await;
    browser.open(&format!("{}/console/approvals/{approval}", stack.base())).await;
    shown += &browser.text().await;
    browser.press("Approve: Settle as failed").await;
    browser.shows(&["Done: Settle as failed"]).await;
    for page in [record_page, format!("{}/console/audit", stack.base())] {
        browser.open(&page).await;
        shown += &browser.text().await;
    }
    assert!(shown.matches(HOSTILE).count() >= 8, "shown as it is: {shown}");
    assert_eq!(browser.noted().await, "");

    // A counter-check: the policy is in force, and a violation is recorded.
    let inject = "document.querySelector('main').innerHTML += '<img src=x onerror=alert(3)>'";
    browser.driver.execute(inject, vec![]).await.expect("a script");
    let inline =
        "const script = document.createElement('script'); script.text = 'alert(4)'; document.body.append(script)";
    browser.driver.execute(inline, vec![]).await.expect("a script");
    let noted = browser.noted().await;
    assert!(noted.contains("script-src-elem inline") && !noted.contains("alert 4"), "{noted}");
    browser.quit().await;
}

/// Three payments whose outcome is unknown: those that the provider has charged, and the others.
async fn unknown_payments(ann: &User<'_>, olga: &Script<'_>) -> (Records, Records) {
    let kinds = ["pm_timeout_after_charge", "pm_timeout_before_charge", "pm_timeout_after_charge"];
    let bodies = kinds.map(|method| payment("acct-1", method));
    let paid = bodies
        .iter()
        .enumerate()
        .map(|(number, body)| async move { ann.pay(&format!("key-{number}"), body).await.problem() });
    assert_eq!(futures::future::join_all(paid).await, ["503 outcome-unknown"; 3]);
    let (mut happened, mut others) = (Vec::new(), Vec::new());
    for record in olga.unresolved().await {
        let provider = olga.get(&format!("records/{record}")).await["provider"].clone();
        let list = if provider["answer"] == "happened" { &mut happened } else { &mut others };
        list.push((record, provider["reference"].clone()));
    }
    (happened, others)
}

/// All pages, with a record of each kind behind them.
pub(crate) async fn pages(stack: &Stack) -> Vec<(&'static str, String)> {
    let tables = Tables::of(stack).await;
    let (ann, olga) = (stack.user("ann").await, Script::of(stack, "olga", "operator").await);
    let (happened, others) = unknown_payments(&ann, &olga).await;
    let [(succeeded, reference), (open, _)] = &happened[..] else { panic!("two charges") };
    let [(failed, _)] = &others[..] else { panic!("one without") };
    for (account, amount, currency) in [("acct-7", 1_250_000, "JPY"), ("acct-12", 4_999_900, "EUR")] {
        tables.unknown(account, "POST /payments", &subject(account, amount, currency)).await;
    }
    let token =
        olga.preview(succeeded, "succeed", &serde_json::json!({ "reference": reference, "reason": REASON })).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let wish = serde_json::json!({ "evidence": "Ticket 4711: the bank says that nothing happened.", "reason": REASON });
    let drifted = olga.preview(failed, "fail", &wish).await;
    let token = olga.preview(failed, "fail", &wish).await;
    assert_eq!(olga.confirm(&token).await.status, 200);
    let release = serde_json::json!({ "understood": "yes", "reason": REASON });
    // Nothing contradicts the action while the provider is down.
    stack.provider("down").await;
    let preview = olga.preview(open, "release", &release).await;
    let waiting = tables.unknown("acct-3", "POST /payments", &subject("acct-3", 500, "EUR")).await;
    let token_of_two = olga.preview(&waiting, "release", &release).await;
    let otto = Script::of(stack, "otto", "operator").await;
    let approval = otto.request(&otto.preview(&waiting, "fail", &wish).await).await;
    assert_eq!(olga.request(&token_of_two).await.len(), 32);
    stack.provider("up").await;
    let at = |path: String| format!("{}{path}", stack.base());
    let ann_paid = ann.pay("key-paid", &payment("acct-1", "pm_card_visa")).await;
    let location = ann_paid.header("location").expect("a location").to_owned();
    assert_eq!(
        ann.post(&format!("{location}/refunds"), "refund", &serde_json::json!({ "amount": 500 })).await.status,
        201
    );
    let sale = serde_json::json!({
        "type": "terminal.sale", "terminal": "till-1", "sequence": 1, "account": "acct-1", "amount": 1250, "currency": "EUR",
    });
    for body in [sale.to_string(), "no message of ours".to_owned()] {
        stack.put("LedgerDeadLetters", 1, body).await;
    }
    ann.balance("acct-1", "EUR", 3).await;
    vec![
        ("home", at("/console".to_owned())),
        ("unresolved", at("/console/unresolved".to_owned())),
        ("filtered", at("/console/unresolved?operation=POST+%2Fpayments&age_s=86400".to_owned())),
        ("bulk", at(format!("/console/bulk?action=fail&record={waiting}&record={open}"))),
        ("find", at("/console/find".to_owned())),
        ("payment", at(format!("/console{location}"))),
        ("account", at("/console/accounts/acct-1".to_owned())),
        ("dead-letters", at("/console/dead-letters".to_owned())),
        ("failed", at(format!("/console/records/{failed}"))),
        ("fail-form", at(format!("/console/records/{open}/fail"))),
        ("record", at(format!("/console/records/{open}"))),
        ("settled", at(format!("/console/records/{succeeded}"))),
        ("form", at(format!("/console/records/{open}/succeed"))),
        ("dangerous-form", at(format!("/console/records/{open}/release"))),
        ("preview", at(format!("/console/previews/{preview}"))),
        ("done", at(format!("/console/previews/{token}"))),
        ("changed", at(format!("/console/previews/{drifted}"))),
        ("approvals", at("/console/approvals".to_owned())),
        ("approval", at(format!("/console/approvals/{approval}"))),
        ("audit", at("/console/audit".to_owned())),
        ("sign-in", at("/console/sign-in?ended&to=/console/audit".to_owned())),
        ("sign-in-refused", at("/console/callback?state=x&code=y".to_owned())),
        ("signed-out", at("/console/signed-out".to_owned())),
    ]
}

/// `SOAK_LOOKS` is the number of looks. With `CONSOLE_PICTURES` set to a folder, saves a screenshot of each page there.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_in_both_themes_and_fits_a_phone() {
    if !is_available() {
        return;
    }
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let pages = pages(&stack).await;
    let pictures = std::env::var_os("CONSOLE_PICTURES").map(|folder| workspace().join(folder));
    let browser = Browser::start(DESK).await;
    opens(&browser, &home(&stack), "olga", "operator").await;
    let looks = [
        ("narrow", View { dark: true, ..NARROW }),
        ("light", DESK),
        ("dark", View { dark: true, ..DESK }),
        ("phone", PHONE),
    ];
    for (look, view) in looks.into_iter().take(number("SOAK_LOOKS", 1)) {
        browser.look(view).await;
        for (name, url) in &pages {
            browser.open(url).await;
            assert_eq!(browser.accessibility_findings().await, [] as [String; 0], "{name}, {look}");
            let overflow = browser.overflow().await;
            if let Some(folder) = &pictures {
                keep(folder, &format!("{name}-{look}.png"), &browser.picture().await);
                // The picture has made the window as high as the page.
                browser.look(view).await;
            }
            assert!(overflow <= 0, "{name} is {overflow} px wider than the window, {look}");
        }
    }
    assert_eq!(browser.noted().await, "");
    let script = "document.querySelector('main').innerHTML = '<img src=/console/icon.svg><input>'";
    browser.driver.execute(script, vec![]).await.expect("a script");
    assert!(!browser.accessibility_findings().await.is_empty(), "the checker finds what is to be found");
    browser.quit().await;
}

pub(crate) fn keep(folder: &Path, name: &str, picture: &[u8]) {
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join(name), picture).expect("a picture");
}
