//! Alarms, dashboard and queries read metrics and fields that the application really emits.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use idempotency::telemetry::metrics::Metric;
use local::template::{Deployment, expand};
use reqwest::Method;
use serde_json::{Value, json};
use tests::console::Script;
use tests::local_stack::{Setup, Stack, User, payment};
use tests::log::{Printed, Series};
use tests::monitoring::{Resources, dashboards, fields, of_type, series};
use tests::wait::eventually;
use tests::workspace;
use tokio::sync::OnceCell;

/// Metrics that an end-to-end run does not emit, the tests that prove that they are counted, and the services that do.
const NOT_IN_A_RUN: [(Metric, &str, &[&str]); 9] = [
    (Metric::Conflict, "takes a lost race: engine::tests::counted", &CLAIMING),
    (Metric::Fenced, "takes a sandbox that freezes beyond its lease: engine::tests::counted", &CLAIMING),
    (Metric::Unprotected, "the API's keys are required: http::tests::front_doors", &[]),
    (Metric::OwnWriteRecognised, "takes a lost reply: engine::tests::counted", &WRITING),
    (Metric::StoreError, "takes a store that does not answer: engine::tests::counted, stream::tests", &ALL),
    (Metric::CommitFailed, "takes a store that does not answer: engine::tests::counted", &CLAIMING),
    (Metric::FollowedUp, "takes a minute's window: follow_up", &["reconciler"]),
    (Metric::FollowUpMissed, "takes a follow-up that is ten minutes late: reconciler, handler::tests", &["reconciler"]),
    (Metric::VisibilityUnchanged, "takes a queue that does not answer: queue::tests", &["ledger-worker"]),
];

/// The services that run under a claim, those that write records, and those that write anything.
const CLAIMING: [&str; 3] = ["payments-api", "reconciler", "console"];
const WRITING: [&str; 4] = ["payments-api", "reconciler", "console", "ledger-worker"];
const ALL: [&str; 5] = ["payments-api", "reconciler", "console", "ledger-worker", "terminal-stream"];

/// Metrics with an alarm for every service that counts them.
const ALARMED: [Metric; 3] = [Metric::Fenced, Metric::CommitFailed, Metric::StoreError];

/// Metrics of AWS services (their pages "Metrics and dimensions"), with the dimensions that we use.
const OF_AWS: [(&str, &str, &[&str]); 15] = [
    ("AWS/ApiGateway", "5xx", &["ApiId"]),
    ("AWS/ApiGateway", "Count", &["ApiId"]),
    ("AWS/DynamoDB", "WriteThrottleEvents", &["TableName"]),
    ("AWS/EventBridge/Pipes", "EventCount", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionFailed", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionPartiallyFailed", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionThrottled", &["PipeName"]),
    ("AWS/EventBridge/Pipes", "ExecutionTimeout", &["PipeName"]),
    ("AWS/Lambda", "DestinationDeliveryFailures", &["FunctionName"]),
    ("AWS/Lambda", "Errors", &["ExecutedVersion", "FunctionName", "Resource"]),
    ("AWS/Lambda", "IteratorAge", &["FunctionName"]),
    ("AWS/Lambda", "OnFailureDestinationDeliveredEventCount", &["EventSourceMappingUUID"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    ("AWS/SQS", "ApproximateAgeOfOldestMessage", &["QueueName"]),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible", &["QueueName"]),
];

/// Metrics of the retry signals, which their own tests cause: `signals`.
const OF_SIGNALS: [&str; 7] = [
    "SignalRaised",
    "SignalWindows",
    "SignalRepeated",
    "SignalLate",
    "SignalSkipped",
    "SignalRefused",
    "SignalsHeartbeat",
];

const KEY: &str = "a-key-that-no-log-shows";
const REFERENCE: &str = "a reference that no log shows";
const CALLER: &str = "a-caller-that-no-log-shows";

/// The trace context of the terminal's sale.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

struct Run {
    log: String,
    printed: Printed,
    requests: usize,
}

/// One run for all tests, with every outcome that a test can cause.
async fn run() -> &'static Run {
    static RUN: OnceCell<Run> = OnceCell::const_new();
    RUN.get_or_init(|| async {
        // Long enough for a duplicate to wait a second, and too short to wait for a lease.
        let stack = Setup::impatient().parameter("ApiTimeoutSeconds", 9).start().await;
        let events = async {
            messages(&stack).await;
            streams(&stack).await;
        };
        // Each waits for leases and redeliveries that the other does not affect.
        let (requests, ()) = tokio::join!(requests(&stack), events);
        let log = stack.log();
        Run { printed: Printed::read(&log), log, requests }
    })
    .await
}

/// Causes each outcome of a request. Returns the number of log lines, one for each request except the one that is
/// killed.
async fn requests(stack: &Stack) -> usize {
    let caller = stack.user(CALLER).await;
    let mut sent = 0;
    let mut pay = async |key: &str, method: &str, expected: &str| {
        let mut body = payment("acct-1", method);
        body["reference"] = json!(REFERENCE);
        let answer = caller.pay(key, &body).await;
        sent += 1;
        assert_eq!(answer.problem(), expected, "{key}");
    };
    pay(KEY, "pm_card_visa", "201 -").await;
    pay(KEY, "pm_card_visa", "201 -").await;
    pay(KEY, "pm_card_mastercard", "422 fingerprint-mismatch").await;
    pay("two words", "pm_card_visa", "400 invalid-key").await;
    // Nothing was executed, so the next request is a second attempt.
    pay("corrected", "", "400 invalid-request").await;
    pay("corrected", "pm_card_visa", "201 -").await;
    pay("declined", "", "400 invalid-request").await;
    pay("declined", "pm_card_chargeDeclined", "402 generic_decline").await;
    pay("happened", "pm_timeout_after_charge", "503 outcome-unknown").await;
    pay("refused", "pm_timeout_after_decline", "503 outcome-unknown").await;
    pay("by-hand", "pm_timeout_before_charge", "503 outcome-unknown").await;
    stack.provider("down").await;
    assert_eq!(stack.reconcile().await["unclear"], 3);
    by_hand(stack).await;
    stack.provider("up").await;
    pay("taken-over", "pm_timeout_after_charge", "503 outcome-unknown").await;
    pay("taken-over", "pm_timeout_after_charge", "201 -").await;
    reconciled(stack, &["happened", "refused"]).await;

    let body = payment("acct-1", "pm_kill_before_charge");
    assert!(caller.pay("prevented", &body).await.status >= 500, "it dies");
    reconciled(stack, &["prevented"]).await;

    let simultaneous = simultaneous_requests(stack, &caller).await;

    let request = caller.request(Method::POST, "/payments").json(&payment("acct-1", "pm_slow_1500"));
    assert_eq!(request.send().await.expect("answers").status(), 400, "no key");
    eventually("the last request is logged", || async { stack.log().contains("\"MissingKey\"").then_some(()) }).await;
    sent + simultaneous + 1
}

/// Sends requests under one key at the same time, until each of their outcomes has come. Returns their number.
async fn simultaneous_requests(stack: &Stack, caller: &User<'_>) -> usize {
    // The first request runs; on a busy machine the second may arrive too late to find it running.
    let body = payment("acct-1", "pm_slow_1500");
    let pairs = AtomicUsize::new(0);
    eventually("of two at once one finds the other running", || async {
        let key = format!("slow-{}", pairs.fetch_add(1, Ordering::SeqCst));
        let (one, other) = tokio::join!(caller.pay(&key, &body), caller.pay(&key, &body));
        [one, other].iter().any(|answer| answer.problem() == "409 in-progress").then_some(())
    })
    .await;

    let waits = AtomicUsize::new(0);
    eventually("a duplicate waits for the first", || async {
        let key = format!("waited-{}", waits.fetch_add(1, Ordering::SeqCst));
        let patient = || caller.request(Method::POST, "/payments").header("prefer", "wait=1").json(&body);
        let request = || patient().header("idempotency-key", &key).send();
        let (one, other) = tokio::join!(request(), request());
        assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
        stack.log().contains("\"WaitMs\"").then_some(())
    })
    .await;
    let replays = AtomicUsize::new(0);
    eventually("a sandbox replays what it remembers", || async {
        replays.fetch_add(1, Ordering::SeqCst);
        assert_eq!(caller.pay("slow-0", &body).await.status, 201);
        stack.log().contains("\"ReplayedLocal\"").then_some(())
    })
    .await;
    2 * (pairs.into_inner() + waits.into_inner()) + replays.into_inner()
}

/// An operator settles the newest unresolved record.
async fn by_hand(stack: &Stack) {
    let olga = Script::of(stack, "olga", "operator").await;
    let record = olga.unresolved().await.pop().expect("something is unresolved");
    let wish = json!({ "evidence": "The bank says that nothing was charged.", "reason": "Seen at the bank." });
    let token = olga.preview(&record, "fail", &wish).await;
    // The provider is down, so it takes two operators.
    let approval = olga.request(&token).await;
    assert_eq!(Script::of(stack, "otto", "operator").await.approve(&approval).await.status, 200);
}

/// Waits until the reconciler has made each of these findings.
async fn reconciled(stack: &Stack, findings: &[&str]) {
    let found = tokio::sync::Mutex::new(BTreeSet::<&str>::new());
    eventually("each is found", || async {
        let report = stack.reconcile().await;
        let mut found = found.lock().await;
        found.extend(findings.iter().filter(|finding| report[**finding] != 0));
        (found.len() == findings.len()).then_some(())
    })
    .await;
}

/// A message three times, another one with the same key, a poison one, and one that comes too early.
async fn messages(stack: &Stack) {
    let event = json!({
        "type": "payment.succeeded",
        "event": "01935b4a-7c00-7000-8000-000000000001",
        "payment": "pay_01935b4a7c0070008000000000000001",
        "account": "acct-2",
        "amount": 100,
        "currency": "EUR",
    });
    stack.put("LedgerQueue", 2, event.to_string()).await;
    stack.until_empty("LedgerQueue").await;
    // In one batch the second gets the first one's result; in another batch it is a replay.
    stack.put("LedgerQueue", 1, event.to_string()).await;
    let mut other = event;
    other["amount"] = json!(101);
    for body in [other.to_string(), "poison".to_owned(), sale(2)] {
        stack.put("LedgerQueue", 1, body).await;
    }
    eventually("all three are in the dead letters", || async {
        (stack.queue("LedgerDeadLetters").await["visible"] == 3).then_some(())
    })
    .await;
}

fn sale(sequence: u64) -> String {
    sale_of(sequence, 100)
}

fn sale_of(sequence: u64, amount: u64) -> String {
    let sale = json!({
        "type": "terminal.sale", "terminal": "term-1", "sequence": sequence,
        "account": "acct-3", "amount": amount, "currency": "EUR",
    });
    sale.to_string()
}

/// Stream records: a duplicate, a conflict, poison, and a topic that was recreated.
async fn streams(stack: &Stack) {
    let until_printed = async |metric: &str| {
        eventually(metric, || async { stack.log().contains(&format!("\"{metric}\"")).then_some(()) }).await;
    };
    let caller = stack.user(CALLER).await;
    let append = stack.local(Method::POST, "streams/terminal-sales").header("x-key", "term-1");
    append.header("x-header-traceparent", PARENT).body(sale(1)).send().await.expect("answers");
    caller.balance("acct-3", "EUR", 1).await;
    for partition in 0..3 {
        let path = format!("streams/terminal-sales/rewind?partition={partition}&offset=0");
        stack.local(Method::POST, &path).send().await.expect("answers");
    }
    until_printed("DuplicateSkipped").await;
    // Another sale with a used number, through either channel.
    stack.append("terminal-sales", "term-1", sale_of(1, 101)).await;
    until_printed("SequenceConflict").await;
    stack.put("LedgerQueue", 1, sale_of(1, 102)).await;
    stack.until_empty("LedgerQueue").await;
    // The queue's delivery of the same sale has no record yet; its sequence number shows that it was posted.
    stack.put("LedgerQueue", 1, sale(1)).await;
    stack.until_empty("LedgerQueue").await;
    stack.append("terminal-sales", "term-1", "poison").await;
    // Not only returned, as the conflict before it was.
    eventually("the poison is not executed", || async {
        let is_poison = |line: &str| line.contains("post from the stream") && line.contains("\"not executed\"");
        stack.log().lines().any(is_poison).then_some(())
    })
    .await;
    until_printed("RecordReturned").await;
    stack.local(Method::POST, "streams/terminal-sales/recreate").send().await.expect("answers");
    stack.append("terminal-sales", "term-1", sale(2)).await;
    until_printed("WatermarkRegression").await;
}

/// The template with all its conditions enabled.
fn resources() -> Resources {
    let parameters = [
        ("Stage", "production"),
        ("JwtIssuer", "https://issuer.example"),
        ("AlarmEmail", "on-call@example.com"),
        ("ConsoleLogin", "Cognito"),
        ("KafkaClusterArn", "arn:aws:kafka:us-east-1:000000000000:cluster/terminals/0"),
        ("KmsKeyArn", "arn:aws:kms:us-east-1:000000000000:key/0"),
        ("ApiConcurrency", "100"),
        ("Signals", "true"),
    ];
    let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let text = std::fs::read_to_string(workspace().join("template.yaml")).expect("readable");
    expand(&text, &Deployment { parameters, ..Deployment::default() }).expect("the template expands")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_read_is_emitted_with_these_dimensions() {
    let printed = &run().await.printed;
    let services: BTreeSet<&str> = printed.metrics.iter().map(|series| series.dimensions["service"].as_str()).collect();
    assert_eq!(services, BTreeSet::from(ALL), "every function prints metrics");
    let by_fault = |series: &Series| NOT_IN_A_RUN.iter().any(|(metric, _, by)| by_fault(*metric, by).contains(series));
    let of_signals = |series: &Series| {
        let dimensions = BTreeMap::from([("service".to_owned(), "retry-signals".to_owned())]);
        series.namespace == "local" && series.dimensions == dimensions && OF_SIGNALS.contains(&&*series.name)
    };
    for (reader, series) in series(&resources()) {
        let of_aws = OF_AWS.iter().any(|(namespace, name, dimensions)| {
            (*namespace, *name) == (&*series.namespace, &*series.name)
                && series.dimensions.keys().eq(dimensions.iter())
                && series.dimensions.values().all(|value| !value.is_empty())
        });
        assert!(
            of_aws || of_signals(&series) || by_fault(&series) || printed.metrics.contains(&series),
            "{reader} reads {series:?}, which nobody writes"
        );
    }
}

/// The series of a metric that these services count.
fn by_fault(metric: Metric, services: &[&str]) -> BTreeSet<Series> {
    let series = |service: &&str| Series {
        namespace: "local".to_owned(),
        name: metric.name().to_owned(),
        dimensions: BTreeMap::from([("service".to_owned(), (*service).to_owned())]),
    };
    services.iter().map(series).collect()
}

#[test]
fn a_metric_that_takes_a_fault_has_an_alarm_for_every_function_that_counts_it() {
    let resources = resources();
    for (metric, _, services) in NOT_IN_A_RUN.iter().filter(|(metric, ..)| ALARMED.contains(metric)) {
        assert_eq!(alarmed(&resources, metric.name()), by_fault(*metric, services), "{}", metric.name());
    }
}

#[test]
fn a_used_number_or_key_with_other_content_has_an_alarm_on_every_way_of_a_sale() {
    let resources = resources();
    let expected = by_fault(Metric::SequenceConflict, &["ledger-worker", "terminal-stream"]);
    assert_eq!(alarmed(&resources, "SequenceConflict"), expected);
    assert!(alarmed(&resources, "Mismatch").is_superset(&by_fault(Metric::Mismatch, &["ledger-worker"])));
}

#[test]
fn every_function_and_every_table_that_throttles_has_an_alarm() {
    let resources = resources();
    for (metric, dimension, kind) in [
        ("Throttles", "FunctionName", "AWS::Serverless::Function"),
        ("WriteThrottleEvents", "TableName", "AWS::DynamoDB::Table"),
    ] {
        let series = alarmed(&resources, metric);
        let named: BTreeSet<&str> = series.iter().map(|series| series.dimensions[dimension].as_str()).collect();
        assert_eq!(named, of_type(&resources, kind).map(|(id, _)| id).collect(), "{metric}");
    }
}

/// The series of a metric that alarms read.
fn alarmed(resources: &Resources, metric: &str) -> BTreeSet<Series> {
    let alarms: BTreeSet<&str> = of_type(resources, "AWS::CloudWatch::Alarm").map(|(id, _)| id).collect();
    let read = series(resources).into_iter().filter(|(reader, _)| alarms.contains(reader.as_str()));
    read.map(|(_, series)| series).filter(|series| series.name == metric).collect()
}

/// And no expression names a metric that is not there, whatever is deployed: CloudWatch refuses such an alarm.
#[test]
fn an_alarm_reads_exactly_the_metrics_that_its_expression_names() {
    const FUNCTIONS: [&str; 4] = ["SUM", "FILL", "MAX", "IF"];
    let text = std::fs::read_to_string(workspace().join("template.yaml")).expect("the template");
    for login in ["None", "Issuer"] {
        let parameters = [("Stage", "production"), ("JwtIssuer", "https://issuer.example"), ("ConsoleLogin", login)];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let deployment = Deployment { parameters: parameters.into(), ..Deployment::default() };
        let resources = expand(&text, &deployment).expect("a template");
        assert!(of_type(&resources, "AWS::CloudWatch::Alarm").count() > 10);
        for (id, alarm) in of_type(&resources, "AWS::CloudWatch::Alarm") {
            let queries = alarm["Metrics"].as_array().into_iter().flatten();
            let (read, computed): (Vec<_>, Vec<_>) = queries.partition(|query| query["Expression"].is_null());
            let Some(expression) = computed.first().and_then(|query| query["Expression"].as_str()) else { continue };
            let words = expression.split(|letter: char| !letter.is_ascii_alphanumeric());
            let named = words.filter(|word| word.starts_with(char::is_alphabetic) && !FUNCTIONS.contains(word));
            let named: BTreeSet<&str> = named.collect();
            let read: BTreeSet<&str> = read.iter().filter_map(|query| query["Id"].as_str()).collect();
            assert_eq!(named, read, "{id} with ConsoleLogin={login}: {expression}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_is_emitted_by_a_run_or_takes_a_fault() {
    let printed = &run().await.printed;
    let names: BTreeSet<&str> = printed.metrics.iter().map(|series| series.name.as_str()).collect();
    let known: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
    let by_fault: BTreeSet<&str> = NOT_IN_A_RUN.iter().map(|(metric, ..)| metric.name()).collect();
    let missing: Vec<_> = known.difference(&names).filter(|name| !by_fault.contains(*name)).collect();
    assert!(missing.is_empty(), "nobody prints {missing:?}");
    assert!(names.is_subset(&known), "{:?} are no metrics of ours", names.difference(&known));
    for series in &printed.metrics {
        let dimensions: Vec<&str> = series.dimensions.keys().map(String::as_str).collect();
        assert!(matches!(dimensions[..], ["service"] | ["operation", "service"]), "{series:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_that_a_query_reads_is_written() {
    let printed = &run().await.printed;
    let mut written = BTreeSet::new();
    for line in printed.outcomes() {
        for part in ["fields", "span"] {
            let members = line[part].as_object().expect("members").keys();
            written.extend(members.map(|member| format!("{part}.{member}")));
        }
    }
    // This field appears only if the store does not answer.
    written.insert("fields.error".to_owned());
    for (reader, field) in fields(&resources()) {
        assert!(written.contains(&field), "{reader} reads {field}, which nobody writes: {written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_leaves_one_line_with_all_of_it_and_nothing_secret() {
    let run = run().await;
    let of_api: Vec<&Value> =
        run.printed.outcomes().filter(|line| line["fields"]["operation"] == "POST /payments").collect();
    assert_eq!(of_api.len(), run.requests);

    let mut lines: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for line in &of_api {
        lines.entry(line["fields"]["outcome"].as_str().expect("a text")).or_default().push(line);
    }
    let outcomes: Vec<&str> = lines.keys().copied().collect();
    assert_eq!(
        outcomes,
        ["executed", "in progress", "invalid-key", "mismatch", "missing-key", "not executed", "replayed", "unknown"]
    );
    let replay = &lines["replayed"][0];
    let first = of_api.iter().find(|line| line["span"]["requestId"] == replay["fields"]["original_request"]);
    let first = first.expect("the line of the request that is replayed");
    assert_eq!(first["fields"]["outcome"], "executed");
    assert_eq!(first["fields"]["trace"], replay["fields"]["original_trace"]);
    assert_ne!(first["fields"]["trace"], replay["fields"]["trace"]);
    // In X-Ray's notation it is the root of the header that the runtime received.
    let (root, _) = first["span"]["xrayTraceId"].as_str().expect("a header").split_once(';').expect("members");
    assert_eq!(root.replace("Root=1-", "").replace('-', ""), first["fields"]["trace"].as_str().expect("an id"));
    for member in ["record", "transaction", "attempt", "status"] {
        assert_eq!(first["fields"][member], replay["fields"][member], "{member}");
        assert!(!first["fields"][member].is_null(), "{member}");
    }
    let corrected = lines["executed"].iter().filter(|line| line["fields"]["attempt"] == 2).count();
    assert!(corrected >= 1, "the second attempt says so");
    assert!(of_api.iter().any(|line| line["fields"]["cold_start"] == true));
    assert!(of_api.iter().any(|line| line["fields"]["cold_start"] == false));

    // Without the parameter `Signals`, no line names anybody, not even by a pseudonym.
    for field in ["who", "about", "instrument", "record_id"] {
        assert!(of_api.iter().all(|line| line["fields"][field].is_null()), "{field}");
    }
    for secret in [KEY, REFERENCE, CALLER, "pm_card_visa", "Bearer", "sk_test"] {
        let found = run.log.lines().find(|line| line.contains(secret));
        assert_eq!(found, None, "{secret}");
    }
}

/// Lambda takes a line without both for INFO: a filter above that would drop errors and metrics.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_has_the_level_and_the_time_stamp_by_which_lambda_filters() {
    let lines = run().await.log.lines().filter_map(|line| line.split_once("] {"));
    let mut metrics = 0;
    for (function, rest) in lines.filter(|(function, _)| function.starts_with('[')) {
        let line: Value = serde_json::from_str(&format!("{{{rest}")).unwrap_or_else(|error| panic!("{error}: {rest}"));
        let timestamp = line["timestamp"].as_str().unwrap_or_else(|| panic!("{function}] {line}"));
        assert!(timestamp.len() >= 20 && timestamp.ends_with('Z'), "{function}] {line}");
        if line["_aws"].is_null() {
            assert!(line["level"].is_string(), "{function}] {line}");
        } else {
            metrics += 1;
            assert_eq!(line["level"], "FATAL", "{function}] {line}");
        }
    }
    assert!(metrics > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_leaves_one_line_for_each_delivery() {
    let run = run().await;
    let of_worker: Vec<&Value> =
        run.printed.lines.iter().filter(|(function, _)| function == "LedgerWorker").map(|(_, line)| line).collect();
    let outcome = |name: &str| of_worker.iter().filter(|line| line["fields"]["outcome"] == name).count();
    // One of the run's own, and those of the payments; the duplicate; poison, what came too early, another message
    // under a used key and another sale under a used number, twice tried.
    assert!(outcome("executed") >= 2, "{of_worker:?}");
    assert_eq!(outcome("replayed") + outcome("as another of its batch"), 2, "{of_worker:?}");
    let returned: Vec<_> = of_worker.iter().filter(|line| line["fields"]["returned"] == true).collect();
    assert_eq!(returned.len(), 8, "{returned:?}");
    assert_eq!((outcome("mismatch"), outcome("conflict")), (2, 2), "{returned:?}");
    assert!(returned.iter().all(|line| line["fields"]["message_id"].is_string()), "{returned:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_line_of_a_posting_names_the_trace_of_the_request_that_made_the_payment() {
    let printed = &run().await.printed;
    let traces = |operation: &str, field: &str| {
        let lines = printed.outcomes().filter(|line| line["fields"]["operation"] == operation);
        let executed = lines.filter(|line| line["fields"]["outcome"] == "executed");
        executed.filter_map(|line| line["fields"][field].as_str().map(str::to_owned)).collect::<BTreeSet<_>>()
    };
    let requests = traces("POST /payments", "trace");
    let postings = traces("post to the ledger", "producer_trace");
    let posted = requests.intersection(&postings).count();
    assert!(posted >= 3, "{postings:?} name {posted} of {requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_stream_leaves_one_line_that_says_where_it_stands() {
    let printed = &run().await.printed;
    let of_stream: Vec<&Value> = printed
        .outcomes()
        .map(|line| &line["fields"])
        .filter(|fields| fields["operation"] == "post from the stream")
        .collect();
    let of = |outcome: &str| of_stream.iter().filter(move |fields| fields["outcome"] == outcome).collect::<Vec<_>>();
    let [executed] = of("executed")[..] else { panic!("one sale was posted: {of_stream:?}") };
    assert_eq!(executed["position"], "0");
    assert_eq!((&executed["watermark"], &executed["returned"]), (&json!("0"), &json!(false)));
    assert_eq!(executed["producer_trace"], PARENT[3..35]);
    assert!(executed["partition"].as_str().is_some_and(|partition| partition.starts_with("terminal-sales-")));
    for member in ["commit_ms", "total_ms"] {
        assert!(executed[member].is_u64(), "{member}: {executed}");
    }
    let duplicates = of("duplicate");
    assert!(
        duplicates.iter().any(|fields| fields["watermark"] == "0" && fields["returned"] == false),
        "{duplicates:?}"
    );
    for outcome in ["not executed", "regression"] {
        let returned = of(outcome);
        assert!(!returned.is_empty(), "{outcome}");
        for fields in returned {
            assert_eq!((&fields["returned"], &fields["behind"]), (&json!(true), &json!(0)), "{fields}");
            assert_eq!(fields["partition"], executed["partition"]);
        }
    }
}

#[test]
fn every_alarm_names_its_runbook_section_and_treats_missing_data_as_declared() {
    let resources = resources();
    let runbook = std::fs::read_to_string(workspace().join("docs/operations.md")).expect("the runbook");
    let body = dashboards(&resources).map(|(_, body)| body.to_string()).collect::<String>();
    let mut alarms = 0;
    for (id, alarm) in of_type(&resources, "AWS::CloudWatch::Alarm") {
        alarms += 1;
        let description = alarm["AlarmDescription"].as_str().expect(id);
        let (_, anchor) = description.rsplit_once("docs/operations.md#").expect(id);
        assert!(runbook.contains(&format!("<a id=\"{anchor}\"></a>")), "{id}: no section {anchor}");
        let silence = alarm["TreatMissingData"].as_str().expect(id);
        assert!(["breaching", "notBreaching", "ignore"].contains(&silence), "{id}: {silence}");
        assert_eq!(silence == "breaching", ["HeartbeatAlarm", "SignalsHeartbeatAlarm"].contains(&id), "{id}");
        let is_shown = body.contains(&format!("local:{}:{}:{id}\"", "us-east-1", "000000000000"));
        if FOR_DEPLOYMENTS.contains(&id) {
            assert!(alarm["AlarmActions"].is_null() && !is_shown, "{id} is for deployments alone");
            assert!(rolls_back(&resources, id, alarm), "{id} rolls nothing back");
        } else {
            assert_eq!(alarm["AlarmActions"], json!(["AlarmTopic"]), "{id}");
            assert!(is_shown, "{id} is not on the dashboard");
        }
    }
    assert!(alarms >= 15, "{alarms}");
}

/// Alarms that notify nobody: what a deployment is rolled back for is otherwise no reason to wake somebody.
const FOR_DEPLOYMENTS: [&str; 4] =
    ["PaymentsApiErrorsAlarm", "LedgerWorkerErrorsAlarm", "NewVersionAnswers5xxAlarm", "ReturnedAlarm"];

/// Whether a deployment is rolled back when this alarm fires.
fn rolls_back(resources: &Resources, id: &str, alarm: &Value) -> bool {
    of_type(resources, "AWS::Serverless::Function").any(|(_, function)| {
        let names = function["DeploymentPreference"]["Alarms"].as_array().into_iter().flatten();
        names.into_iter().any(|name| name == id || *name == alarm["AlarmName"])
    })
}

/// A canary has five minutes.
#[test]
fn every_gradual_deployment_is_rolled_back_within_its_canary() {
    let resources = resources();
    let mut gradual = 0;
    for (id, function) in of_type(&resources, "AWS::Serverless::Function") {
        let preference = &function["DeploymentPreference"];
        if preference.is_null() {
            continue;
        }
        gradual += 1;
        assert_eq!(preference["Type"], "Canary10Percent5Minutes", "{id}");
        let of_errors = format!("{id}ErrorsAlarm");
        let alarms: Vec<&str> =
            preference["Alarms"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        assert!(alarms.contains(&of_errors.as_str()), "{id}: {alarms:?}");
        for name in alarms {
            let mut all = of_type(&resources, "AWS::CloudWatch::Alarm");
            let (_, alarm) = all.find(|(id, alarm)| name == *id || alarm["AlarmName"] == name).expect(name);
            let stats = alarm["Metrics"].as_array().into_iter().flatten().map(|query| &query["MetricStat"]["Period"]);
            let period = stats.chain([&alarm["Period"]]).filter_map(Value::as_u64).max().expect(name);
            let needed = period * alarm["DatapointsToAlarm"].as_u64().expect(name);
            assert!(needed <= 60, "{id}: {name} fires after {needed} s, and metrics come a minute late or two");
        }
    }
    assert_eq!(gradual, 2);
}

#[test]
fn resources_that_cost_when_idle_are_optional() {
    let text = std::fs::read_to_string(workspace().join("template.yaml")).expect("readable");
    let parameters = [("Stage", "development"), ("JwtIssuer", "https://issuer.example")];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let default = expand(&text, &Deployment { parameters, ..Deployment::default() }).expect("it expands");
    for kind in ["AWS::CloudWatch::Alarm", "AWS::CloudWatch::Dashboard", "AWS::SNS::Topic", "AWS::KMS::Key"] {
        assert_eq!(of_type(&default, kind).map(|(id, _)| id).collect::<Vec<_>>(), [""; 0], "{kind}");
    }
    let production = resources();
    assert!(of_type(&production, "AWS::CloudWatch::Dashboard").count() == 1 && production.len() > default.len());
}

#[test]
fn without_signals_there_is_no_trace_of_them() {
    let text = std::fs::read_to_string(workspace().join("template.yaml")).expect("readable");
    let with = |signals: &str| {
        let parameters = [
            ("Stage", "production"),
            ("JwtIssuer", "https://issuer.example"),
            ("ConsoleLogin", "Issuer"),
            ("Signals", signals),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        expand(&text, &Deployment { parameters, ..Deployment::default() }).expect("it expands")
    };
    let (without, with) = (with("false"), with("true"));
    let added: Vec<&str> = with.keys().filter(|id| !without.contains_key(*id)).map(String::as_str).collect();
    assert_eq!(
        added,
        [
            "PseudonymsKey",
            "RetrySignals",
            "RetrySignalsLogs",
            "RetrySignalsRole",
            "SignalAlarm",
            "SignalEvents",
            "SignalEventsRole",
            "SignalsHeartbeatAlarm",
            "SignalsTable",
            "SignalsThrottlesAlarm",
        ]
    );
    for (id, resource) in &without {
        let text = resource.to_string();
        for word in ["SignalsTable", "retry-signals", "pseudonyms", "SIGNALS_TABLE", "SignalRaised"] {
            assert!(!text.contains(word), "{id} has {word}");
        }
    }
}
