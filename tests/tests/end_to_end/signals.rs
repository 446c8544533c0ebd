//! Retry signals through the real API: who is raised, who is not, and what operators do with it.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use fault_proxy::Proxy;
use futures::stream::{self, StreamExt};
use idempotency::engine::{Clock, SystemClock};
use reqwest::Method;
use retry_signals::Signals;
use serde_json::Value;
use signals::{Counts, Kind, Memory, Model, Moment, Sample, WindowTime};
use tests::browser::{Browser, DESK, PHONE, View, is_available};
use tests::console::{Script, Visitor};
use tests::local_stack::{Answer, Setup, Stack, payment};
use tests::process::free_port;
use tests::sizes::number;
use tests::wait::eventually;
use tests::workspace;

use crate::browser::{keep, opens};

const WINDOW_S: u32 = 2;

/// The key of the pseudonyms, which no log may show.
const PSEUDONYMS_KEY: &str = "pseudonyms-key-that-no-log-shows";

/// A caller and a card that no log may show.
const ATTACKER: &str = "an-attacker-that-no-log-shows";

/// Declined, each of them.
const CARDS: [&str; 6] = [
    "pm_card_chargeDeclined",
    "pm_card_chargeDeclinedInsufficientFunds",
    "pm_card_chargeDeclinedExpiredCard",
    "pm_card_chargeDeclinedIncorrectCvc",
    "pm_card_visa_chargeDeclinedLostCard",
    "pm_card_visa_chargeDeclinedStolenCard",
];

/// A stack with retry signals, as it is after a week of ordinary traffic.
async fn with_signals() -> (Stack, Client) {
    let setup = Setup::deployed().parameter("Signals", "true").parameter("SignalWindowSeconds", WINDOW_S);
    let stack = setup.start().await;
    let secret = serde_json::json!({ "key": PSEUDONYMS_KEY }).to_string();
    let answer = stack.local(Method::POST, "secrets/local/pseudonyms").body(secret).send().await.expect("answers");
    assert_eq!(answer.status(), 204);
    let endpoint = stack.local(Method::GET, "dynamodb").send().await.expect("answers").text().await.expect("a URL");
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("local", "local", None, None, "tests"))
        .build();
    let client = Client::from_conf(config);
    has_learned(&client).await;
    (stack, client)
}

/// One in ten payments of everybody was declined, all week.
async fn has_learned(client: &Client) {
    let table = Signals::new(client.clone(), "SignalsTable".to_owned(), Duration::from_secs(WINDOW_S.into()));
    let (mut sample, model) = (Sample::default(), Model::default());
    let at = WindowTime::containing(SystemClock.now().0 / 1000, WINDOW_S);
    for number in 0..3000_u32 {
        let payments = 5 + number % 20;
        let declined = payments / 10;
        let counts = Counts { requests: payments, runs: payments, payments, declined, ..Counts::default() };
        for kind in Kind::ALL {
            let moment = Moment::of(kind, [&counts], &model);
            sample.observe(&counts, &Memory::default(), &moment, at);
        }
    }
    table.seed_sample(at.day() - 1, &sample, 6000).await.expect("seeded");
}

/// Waits until every line that was printed by now is counted.
async fn until_counted(stack: &Stack, lines: u64) {
    stack_has(stack, lines).await;
    eventually("all lines are delivered", || async {
        let contents = get(stack, "logs/PaymentsApiLogs").await;
        (contents["waiting"] == 0).then_some(())
    })
    .await;
}

async fn stack_has(stack: &Stack, lines: u64) {
    eventually("each request has its line", || async { (stack.count("\"who\":") >= lines).then_some(()) }).await;
}

async fn get(stack: &Stack, path: &str) -> Value {
    stack.local(Method::GET, path).send().await.expect("answers").json().await.expect("JSON")
}

/// Scores until the windows of everything that was counted are closed and scored.
async fn score(stack: &Stack) {
    let now_s = SystemClock.now().0 / 1000;
    eventually("all windows are scored", || async {
        // Windows up to the last moment are closed by then. Before the run, which may take longer than a window.
        let past = SystemClock.now().0 / 1000 > now_s + u64::from(WINDOW_S) * 2;
        let report: Value = {
            let run = stack.local(Method::POST, "schedules/RetrySignalsScore");
            run.send().await.expect("answers").json().await.expect("a report")
        };
        assert!(report["windows"].is_u64(), "{report}");
        (past && report["held_elsewhere"] == false).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_costs_what_the_page_on_costs_says() {
    let port = free_port();
    let proxy = Proxy::start(([127, 0, 0, 1], port).into()).await.expect("a free port");
    proxy.count_units();
    let setup = Setup::deployed().reconciled_on_demand().parameter("OutboxState", "STOPPED");
    let stack = setup.parameter("Signals", "true").behind(&proxy.url(), port).start().await;
    let ann = stack.user("ann").await;
    assert_eq!(ann.pay("one", &payment("acct-1", "pm_card_visa")).await.status, 201);
    until_counted(&stack, 1).await;
    let units = proxy.traffic().write_units;
    println!("{units} write units");
    let page = std::fs::read_to_string(workspace().join("docs/cost.md")).expect("readable");
    assert!(page.contains("A request costs 2 write units more"));
    // A first payment costs seven.
    assert_eq!(units, 7.0 + 2.0);
}

/// The items of windows.
async fn windows(client: &Client) -> BTreeMap<String, String> {
    let items = client.scan().table_name("SignalsTable").send().await.expect("read").items.unwrap_or_default();
    let text = |value: &AttributeValue| value.as_s().cloned().unwrap_or_default();
    let windows = items.into_iter().filter(|item| text(&item["pk"]).starts_with("window#"));
    windows
        .map(|item| {
            let key = format!("{} {}", text(&item["pk"]), text(&item["sk"]));
            let mut members: Vec<String> = item.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            members.sort();
            (key, members.join(" "))
        })
        .collect()
}

async fn customers(stack: &Stack, count: usize) {
    for number in 0..count {
        let customer = stack.user(&format!("customer-{number}")).await;
        let answer = customer.pay("order", &payment(&format!("shop-{}", number % 4), "pm_card_visa")).await;
        assert_eq!(answer.status, 201, "{}", answer.text());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_test_raises_one_caller_with_its_reasons_in_the_console_and_one_event_and_labels_do_what_they_say() {
    let (stack, client) = with_signals().await;
    customers(&stack, 12).await;
    let attacker = stack.user(ATTACKER).await;
    for (number, card) in CARDS.iter().cycle().take(24).enumerate() {
        // Each at another account, so that only the caller is unusual.
        let mut body = payment(&format!("victim-{number}"), card);
        body["amount"] = 100.into();
        let answer = attacker.pay(&format!("try-{number}"), &body).await;
        assert_eq!(answer.status, 402, "{}", answer.text());
    }
    until_counted(&stack, 36).await;
    score(&stack).await;

    let events = eventually("the event", || async {
        let events = get(&stack, "events").await;
        (!events[0].is_null()).then_some(events)
    })
    .await;
    assert_eq!(events.as_array().map(Vec::len), Some(1), "{events}");
    let event = &events[0];
    assert_eq!((&event["source"], &event["detail-type"]), (&"retry-signals".into(), &"signal".into()));
    let detail = &event["detail"];
    let entity = detail["entity"].as_str().expect("a pseudonym");
    assert_eq!(detail["kind"], "principal");
    assert!(detail["records"].as_str().is_some_and(|ids| ids.starts_with("idempotency:")), "{detail}");

    // The same deliveries again change no count, and raise nobody.
    let before = windows(&client).await;
    let again = stack.local(Method::POST, "logs/PaymentsApiLogs/deliver-again").send().await.expect("answers");
    let again: Value = again.json().await.expect("a report");
    assert!(again["batches"].as_u64().is_some_and(|batches| batches > 0) && again["failed"] == 0, "{again}");
    assert_eq!(windows(&client).await, before);
    score(&stack).await;
    assert_eq!(get(&stack, "events").await.as_array().map(Vec::len), Some(1));

    labels_by_script(&stack, entity).await;
    let page = labels(&stack, entity).await;
    looks(&stack, &page).await;

    let log = stack.log();
    for metric in ["SignalRaised", "SignalWindows", "SignalRepeated", "SignalsHeartbeat"] {
        assert!(log.contains(&format!("\"{metric}\"")), "{metric} is printed");
    }
    for secret in [PSEUDONYMS_KEY, ATTACKER, "customer-1", "victim-1", "pm_card_chargeDeclined", "try-1\"", "Bearer"] {
        let found = log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
}

/// Labels a signal by the console's API.
async fn post(who: &Script<'_>, place: &str, label: &str) -> Answer {
    who.call(Method::POST, place, Some(&serde_json::json!({ "label": label }))).await
}

/// The console's API: the list, the signal with its windows, and its label.
async fn labels_by_script(stack: &Stack, entity: &str) {
    let (olga, vera) = (Script::of(stack, "olga", "operator").await, Script::of(stack, "vera", "viewer").await);
    let list = vera.get("signals?kind=principal&detector=declined&label=none").await;
    assert_eq!(list["signals"].as_array().map(Vec::len), Some(1), "{list}");
    let listed = &list["signals"][0];
    assert_eq!((&listed["entity"], &listed["label"]), (&entity.into(), &"none".into()), "{listed}");
    assert!(listed["reasons"][0].as_str().is_some_and(|reason| reason.contains("payments declined")), "{listed}");
    for nothing in ["signals?kind=account", "signals?label=abuse", "signals?day=2020-01-01"] {
        assert_eq!(vera.get(nothing).await, serde_json::json!({ "signals": [] }), "{nothing}");
    }
    let place = format!("signals/{}/principal/{entity}", listed["day"].as_str().expect("a day"));
    let found = vera.get(&place).await;
    let strip = found["strip"].as_array().expect("windows");
    let declined: f64 = strip.iter().filter_map(|window| window["counted"].as_f64()).sum();
    assert_eq!(declined, 24.0, "{found}");

    // Problems, with the codes that docs/console.md lists.
    let code = |answer: Answer| (answer.status, answer.json()["code"].as_str().unwrap_or_default().to_owned());
    assert_eq!(code(post(&vera, &place, "abuse").await), (403, "viewer".to_owned()));
    assert_eq!(code(post(&olga, &place, "nonsense").await), (422, "invalid".to_owned()));
    assert_eq!(code(olga.call(Method::POST, &place, None).await), (422, "invalid".to_owned()));
    let nobody = place.replace(entity, "W8lJIn2aGdO7");
    assert_eq!(code(post(&olga, &nobody, "fine").await), (404, "no-signal".to_owned()));
    assert_eq!(code(vera.call(Method::GET, "signals?day=today", None).await), (422, "invalid".to_owned()));
    assert_eq!(code(olga.as_nobody().call(Method::GET, "signals", None).await), (401, "unauthorized".to_owned()));

    for (label, acts) in [("abuse", 1), ("abuse", 1), ("none", 2)] {
        let labelled = post(&olga, &place, label).await;
        assert_eq!(labelled.status, 200, "{}", labelled.text());
        let labelled = labelled.json();
        assert_eq!((&labelled["label"], labelled["labellings"].as_array().map(Vec::len)), (&label.into(), Some(acts)));
        assert_eq!(labelled["labellings"][acts - 1]["by"], "olga", "{labelled}");
        assert_eq!(vera.get(&place).await["labellings"], labelled["labellings"]);
    }
}

/// The console's list and page, and its buttons.
async fn labels(stack: &Stack, entity: &str) -> String {
    let olga = Visitor::of(stack, "olga", "operator").await;
    let list = olga.open("/console/signals").await;
    assert!(list.text().contains(entity) && list.text().contains("declined"), "{}", list.text());
    let filtered = olga.open("/console/signals?kind=account").await;
    assert!(!filtered.text().contains(entity), "{}", filtered.text());
    let path =
        list.text().split('"').find(|part| part.ends_with(&format!("/principal/{entity}"))).expect("a link").to_owned();
    let page = olga.open(&path).await;
    for words in ["Peers, at that moment", "<svg", "/console/records/", "Client bug", "payment methods"] {
        assert!(page.text().contains(words), "{words}: {}", page.text());
    }

    // A viewer reads, and cannot label; nor can a form without the value of the session.
    let vera = Visitor::of(stack, "vera", "viewer").await;
    assert!(vera.open(&path).await.text().contains("needs the role operator"));
    assert_eq!(vera.send(&path, &[("label", "abuse"), ("csrf", &vera.csrf().await)]).await.status, 403);
    assert_eq!(olga.send(&path, &[("label", "abuse"), ("csrf", "other")]).await.status, 403);
    let csrf = olga.csrf().await;
    assert_eq!(olga.send(&path, &[("label", "nonsense"), ("csrf", &csrf)]).await.status, 422);
    for (label, shown) in [("fine", "Fine"), ("abuse", "Abuse"), ("none", "Nobody has labelled it")] {
        assert_eq!(olga.send(&path, &[("label", label), ("csrf", &csrf)]).await.status, 303);
        assert!(olga.open(&path).await.text().contains(shown), "{label}");
    }
    let page = olga.open(&path).await;
    assert_eq!(page.text().matches("by <span class=\"actor\">olga").count(), 2 + 3, "each act is in the audit");
    assert!(olga.open("/console/signals?label=none").await.text().contains(entity));
    path
}

/// In a real browser: accessible, in both themes, and no wider than a phone. With `CONSOLE_PICTURES` set to a folder,
/// saves a screenshot of each page there.
async fn looks(stack: &Stack, page: &str) {
    if !is_available() {
        return;
    }
    let pictures = std::env::var_os("CONSOLE_PICTURES").map(|folder| workspace().join(folder));
    let browser = Browser::start(DESK).await;
    opens(&browser, &format!("{}/console/signals", stack.base()), "olga", "operator").await;
    let looks = [("phone", PHONE), ("dark", View { dark: true, ..DESK }), ("light", DESK)];
    for (look, view) in looks.into_iter().take(number("SOAK_LOOKS", 1)) {
        for (name, path) in [("signals", "/console/signals"), ("signal", page)] {
            browser.look(view).await;
            browser.open(&format!("{}{path}", stack.base())).await;
            assert_eq!(browser.accessibility_findings().await, [] as [String; 0], "{name}, {look}");
            assert!(browser.overflow().await <= 0, "{name} is wider than the window, {look}");
            if let Some(folder) = &pictures {
                keep(folder, &format!("{name}-{look}.png"), &browser.picture().await);
            }
        }
    }
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_with_two_hundred_retrying_clients_raises_nobody() {
    let (stack, _) = with_signals().await;
    customers(&stack, 4).await;
    stack.provider("down").await;
    let clients = (0..200).map(|number| {
        let stack = &stack;
        async move {
            let client = stack.user(&format!("client-{number}")).await;
            for _ in 0..3 {
                let body = payment(&format!("shop-{}", number % 4), "pm_card_visa");
                let answer = client.pay("order", &body).await;
                assert!(answer.status >= 500 || answer.status == 409, "{}", answer.text());
            }
        }
    });
    stream::iter(clients).buffer_unordered(8).collect::<()>().await;
    until_counted(&stack, 604).await;
    score(&stack).await;
    assert_eq!(get(&stack, "events").await, Value::Array(Vec::new()));
}
