//! The live page of the local stack, and its demonstration.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::browser::{Browser, DESK, NARROW, PHONE, View, is_available};
use tests::local_stack::{Setup, Stack, payment};
use tests::sizes::number;
use tests::wait::eventually;

/// Reads the server-sent events of a name until one passes.
async fn event(stack: &Stack, name: &str, passes: impl Fn(&Value) -> bool) -> Value {
    let mut response = stack.local(Method::GET, "live").send().await.expect("answers");
    let mut text = String::new();
    let wanted = async {
        while let Some(chunk) = response.chunk().await.expect("bytes") {
            text += &String::from_utf8_lossy(&chunk);
            while let Some((event, rest)) =
                text.split_once("\n\n").map(|(event, rest)| (event.to_owned(), rest.to_owned()))
            {
                text = rest;
                let (first, data) = event.split_once('\n').unwrap_or_default();
                let data = data.strip_prefix("data: ").and_then(|data| serde_json::from_str::<Value>(data).ok());
                if let (true, Some(data)) = (first == format!("event: {name}"), data)
                    && passes(&data)
                {
                    return data;
                }
            }
        }
        panic!("the events ended");
    };
    tokio::time::timeout(Duration::from_secs(60), wanted).await.expect("in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_events_show_a_payment_its_duplicate_and_one_posting() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    let duplicate = event(&stack, "answered", |line| line["outcome"] == "replayed");
    let pay = async {
        // Whoever watches from now on hears of it; the watcher above may begin a little later.
        eventually("a replay", || async {
            ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await;
            (stack.count("replayed") > 1).then_some(())
        })
        .await;
    };
    let (duplicate, ()) = tokio::join!(duplicate, pay);
    assert_eq!((duplicate["path"].as_str(), duplicate["status"].as_u64()), (Some("/payments"), Some(201)));
    let seen = event(&stack, "stack", |seen| seen["totals"]["postings"] == 1).await;
    assert_eq!((&seen["totals"]["keys"], &seen["charges"], &seen["charged_twice"]), (&1.into(), &1.into(), &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_counted_before_its_charge_and_pages_of_the_console_are_not() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    let console = reqwest::get(format!("{}/console", stack.base())).await.expect("answers");
    assert_eq!(console.status(), StatusCode::OK);
    let watched = event(&stack, "stack", |seen| seen["totals"]["keys"] == 1);
    let slow = payment("acct-1", "pm_slow_1500");
    let (paid, seen) = tokio::join!(ann.pay("key-1", &slow), watched);
    assert_eq!((paid.status, &seen["charges"], &seen["totals"]["requests"]), (201, &json!(0), &json!(1)));
    let retry = ann.pay("key-1", &slow).await;
    assert!(retry.is_replay());
    let seen = event(&stack, "stack", |seen| seen["totals"]["requests"] == 2).await;
    assert_eq!((&seen["totals"]["keys"], &seen["charges"]), (&json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_begins_to_watch_hears_of_the_last_requests_and_of_one_that_found_evidence() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    let silent = payment("acct-1", "pm_timeout_after_charge");
    assert_ne!(ann.pay("key-1", &silent).await.status, 201);
    eventually("a final answer", || async { (ann.pay("key-1", &silent).await.status == 201).then_some(()) }).await;
    assert!(ann.pay("key-1", &silent).await.is_replay());
    let is_replayed =
        |list: &Value| list.as_array().is_some_and(|all| all.iter().any(|line| line["outcome"] == "replayed"));
    let latest = eventually("the last requests", || async {
        let latest = event(&stack, "latest", |_| true).await;
        is_replayed(&latest).then_some(latest)
    })
    .await;
    let lines = latest.as_array().expect("a list");
    let found: Vec<&Value> = lines.iter().filter(|line| line["outcome"] == "reconciled").collect();
    assert_eq!((found.len(), &found[0]["status"]), (1, &json!(201)), "{latest}");
    assert!(lines.iter().all(|line| line["outcome"] != "executed"), "nobody saw it: {latest}");
    let record = found[0]["record"].as_str().expect("a name");
    assert_eq!((record.len(), found[0]["path"].as_str()), (43, Some("/payments")), "by which the console has it");
    assert!(found[0]["at"].as_u64().is_some_and(|at| at > 0), "{latest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_dynamodb_runs_nothing_and_the_alarms_see_what_was_printed() {
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    stack.local(Method::POST, "dynamodb?mode=down").send().await.expect("answers");
    let refused = ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await;
    assert_eq!((refused.status, stack.charges().await.len()), (503, 0));
    stack.local(Method::POST, "dynamodb?mode=up").send().await.expect("answers");
    let paid = ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await;
    assert_eq!((paid.status, stack.charges().await.len()), (201, 1));

    stack.put("LedgerDeadLetters", 1, "lost").await;
    eventually("the alarm sees the dead letter", || async {
        let alarms: Vec<Value> =
            stack.local(Method::GET, "alarms").send().await.expect("answers").json().await.expect("a list");
        let alarm = alarms.iter().find(|alarm| alarm["alarm"] == "DeadLettersAlarm").expect("it is in the template");
        (alarm["state"] == "ALARM").then_some(())
    })
    .await;
    let metrics = stack.local(Method::GET, "metrics").send().await.expect("answers").text().await.expect("text");
    assert!(metrics.contains("Executed_sum{namespace=\"local\",service=\"payments-api\"} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_sandbox_answers_when_it_is_resumed_and_a_paused_schedule_says_so() {
    let stack = Setup::deployed().start().await;
    let ann = stack.user("ann").await;
    ann.pay("warm", &payment("acct-1", "pm_card_visa")).await;
    let frozen: Value = stack
        .local(Method::POST, "functions/PaymentsApi/freeze")
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("JSON");
    assert_eq!(frozen["frozen"], 1);
    let body = payment("acct-1", "pm_card_visa");
    let paid = ann.pay("key-1", &body);
    let resume = async {
        eventually("the frozen sandbox has the request", || async {
            let sandboxes: Value =
                stack.local(Method::GET, "functions").send().await.expect("answers").json().await.expect("JSON");
            (sandboxes["PaymentsApi"][0]["doing"] == "serving").then_some(())
        })
        .await;
        stack.local(Method::POST, "functions/PaymentsApi/resume").send().await.expect("answers");
    };
    let (paid, ()) = tokio::join!(paid, resume);
    assert_eq!(paid.status, 201);

    let schedules = async || -> Vec<Value> {
        stack.local(Method::GET, "schedules").send().await.expect("answers").json().await.expect("a list")
    };
    let name = schedules().await[0]["name"].as_str().expect("a name").to_owned();
    stack.local(Method::POST, &format!("schedules/{name}?mode=off")).send().await.expect("answers");
    let paused = schedules().await.into_iter().find(|schedule| schedule["name"] == name.as_str()).expect("it is there");
    assert_eq!(paused["enabled"], false);
}

async fn change(stack: &Stack, name: &str, value: &str) -> (StatusCode, Value) {
    let request = stack.local(Method::POST, &format!("parameters/{name}")).query(&[("value", value)]);
    let response = request.send().await.expect("answers");
    (response.status(), response.json().await.expect("JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_parameter_is_seen_by_the_function_and_a_payment_that_runs_meanwhile_is_made_once() {
    let stack = Setup::deployed().start().await;
    let (ann, bob) = (stack.user("ann").await, stack.user_with("bob", &[("accounts", "acct-1")]).await);
    assert_eq!(ann.pay("first", &payment("acct-1", "pm_card_visa")).await.status, 201);
    ann.balance("acct-1", "EUR", 1).await;
    assert_eq!(bob.get("/accounts/acct-1").await.status, 404);
    let slow = payment("acct-1", "pm_slow_3000");
    let changed = async {
        eventually("the payment runs", || async {
            let sandboxes: Value =
                stack.local(Method::GET, "functions").send().await.expect("answers").json().await.expect("JSON");
            (sandboxes["PaymentsApi"][0]["doing"] == "serving").then_some(())
        })
        .await;
        let (status, change) = change(&stack, "AccountsClaim", "accounts").await;
        assert_eq!((status, &change["functions"]), (StatusCode::OK, &json!(["PaymentsApi"])), "{change}");
        assert_eq!(stack.charges().await.len(), 1, "the payment runs still");
        bob.get("/accounts/acct-1").await.status
    };
    let (paid, read) = tokio::join!(ann.pay("slow", &slow), changed);
    assert_eq!((paid.status, read), (201, 200));
    let retry = ann.pay("slow", &slow).await;
    assert_eq!((retry.is_replay(), stack.charges().await.len()), (true, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_the_stack_cannot_change_names_the_command_and_an_alarm_follows_its_parameter() {
    let stack = Stack::start().await;
    for (name, value, status, why) in [
        ("Signals", "true", StatusCode::CONFLICT, "--parameter Signals=true;"),
        ("RecordStore", "Valkey", StatusCode::CONFLICT, "--store valkey;"),
        ("LedgerMaxReceiveCount", "3", StatusCode::CONFLICT, "LedgerQueue.RedrivePolicy"),
        ("ConsoleClientId", "other", StatusCode::CONFLICT, "--parameter ConsoleClientId=other;"),
        ("TombstonesWithinSeconds", "700000", StatusCode::BAD_REQUEST, "MaxValue is 604800"),
        ("Stage", "test", StatusCode::BAD_REQUEST, "AllowedValues are development, production"),
    ] {
        let (answered, problem) = change(&stack, name, value).await;
        assert_eq!(answered, status, "{name}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{name}: {problem}");
    }
    let threshold = async || {
        let alarms: Vec<Value> =
            stack.local(Method::GET, "alarms").send().await.expect("answers").json().await.expect("a list");
        alarms.into_iter().find(|alarm| alarm["alarm"] == "UnknownAgeAlarm").expect("it is there")["threshold"].clone()
    };
    assert_eq!(threshold().await, 900.0);
    let (_, change) = change(&stack, "OldestUnknownSeconds", "60").await;
    assert_eq!((&change["functions"], threshold().await), (&json!([]), json!(60.0)), "{change}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_page_pays_by_its_buttons_and_is_accessible_on_a_phone() {
    if !is_available() {
        return;
    }
    let stack = Stack::start().await;
    let browser = Browser::start(DESK).await;
    let (mut before, views) = (82_800, [PHONE, View { dark: true, ..NARROW }, DESK]);
    let looks = number("SOAK_LOOKS", 1).min(views.len());
    for (number, view) in views.into_iter().take(looks).enumerate() {
        browser.look(view).await;
        browser.open(&format!("{}/", stack.base())).await;
        browser.shows(&["The path of a request", "charged twice", "DeadLettersAlarm"]).await;
        browser.tab_to("Pay once").await;
        browser.enter_in_place().await;
        browser.shows(&["Final answers: 1 × 201.", "executed"]).await;
        browser.tab_to("Send the last one 5 times more").await;
        browser.enter_in_place().await;
        browser.shows(&["5 got the recorded answer"]).await;

        browser.tab_to("parameter").await;
        browser.key("TombstonesW").await;
        browser.shows(&["Seconds after a request's first attempt", &format!("Now: {before}.")]).await;
        browser.tab_to("parameter-value").await;
        browser.fill("parameter-value", "604801").await;
        browser.enter_in_place().await;
        browser.shows(&["MaxValue is 604800; nothing was changed"]).await;
        let value = 60 + number;
        browser.fill("parameter-value", &value.to_string()).await;
        browser.enter_in_place().await;
        let said = format!("TombstonesWithinSeconds is now {value}; it was {before}. New sandboxes:");
        browser.shows(&[&said, &format!("Now: {value}.")]).await;
        before = value;
        assert_eq!(browser.accessibility_findings().await, [""; 0], "{view:?}");
        assert_eq!(browser.overflow().await, 0, "{view:?}");
    }
    assert_eq!(stack.charges().await.len(), looks);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_shown_after_a_reload_and_one_button_ends_them_all() {
    if !is_available() {
        return;
    }
    let stack = Stack::start().await;
    let ann = stack.user("ann").await;
    assert_eq!(ann.pay("key-1", &payment("acct-1", "pm_card_visa")).await.status, 201);
    let browser = Browser::start(DESK).await;
    let open = async || browser.open(&format!("{}/", stack.base())).await;
    let pressed = async |faults: &[&str]| {
        let script = "return [...document.querySelectorAll('[aria-pressed=true]')].map((each) => each.dataset.fault)";
        eventually("the buttons are as the stack is", || async {
            let found = browser.driver.execute(script, vec![]).await.expect("a script");
            (found.json() == &json!(faults)).then_some(())
        })
        .await;
    };
    open().await;
    browser.shows(&["executed"]).await;
    browser.tab_to("Kill the sandboxes").await;
    browser.enter_in_place().await;
    browser.shows(&["Killed 1 sandbox."]).await;
    assert_eq!(ann.pay("key-2", &payment("acct-1", "pm_card_visa")).await.status, 201);
    let faults = ["frozen", "provider", "dynamodb", "schedules"];
    for (before, label) in ["Freeze them", "Provider down", "DynamoDB down", "Schedules off"].into_iter().enumerate() {
        browser.tab_to(label).await;
        browser.enter_in_place().await;
        pressed(&faults[..=before]).await;
    }
    open().await;
    pressed(&faults).await;
    browser.shows(&["1 frozen"]).await;
    browser.tab_to("All back to normal").await;
    browser.enter_in_place().await;
    browser
        .shows(&["Back to normal: the provider is up, DynamoDB is up, 1 frozen sandbox of PaymentsApi goes on"])
        .await;
    pressed(&[]).await;
    stack.local(Method::POST, "provider?mode=down").send().await.expect("answers");
    pressed(&["provider"]).await;

    for (label, words) in [
        ("A poison message", "after 5 receives, one in"),
        ("Redrive the dead letters", "There was no dead letter."),
        ("Recreate the topic", "its offsets begin at 0 again"),
        ("Reconcile now", "The run has ended: nothing to settle. Outcome unknown now: 0."),
    ] {
        browser.tab_to(label).await;
        browser.enter_in_place().await;
        browser.shows(&[words]).await;
    }
    assert_eq!(browser.noted().await, "");
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demonstration_charges_each_order_once_beside_a_handler_that_does_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let picture = folder.path().join("demo.svg");
    let mut command = Setup::deployed().command();
    command.args(["--demo", "--orders", "24", "--record"]).arg(&picture).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("runs").expect("starts");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let row = |name: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line[name.len()..].split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!((row("charges")[0].as_str(), row("posted once")[0].as_str()), ("24", "24"));
    let twice = row("charged twice");
    assert_eq!(twice[0], "0", "{text}");
    assert_ne!(twice[1], "0", "{text}");
    let picture = std::fs::read_to_string(picture).expect("recorded");
    assert!(picture.contains("<svg") && picture.contains("charged twice"), "{picture}");
}
