//! The sample events: each has the outcome that its name says.

use std::collections::BTreeSet;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use idempotency::engine::{Clock, SystemClock};
use reqwest::Method;
use serde_json::{Value, json};
use tests::local_stack::{Setup, Stack};
use tests::workspace;

fn events() -> PathBuf {
    workspace().join("events")
}

struct Samples {
    stack: Stack,
    sent: BTreeSet<String>,
}

impl Samples {
    /// Invokes a function with a sample, as `sam local invoke --event` does.
    async fn send(&mut self, function: &str, sample: &str) -> Value {
        self.sent.insert(sample.to_owned());
        let event = std::fs::read(events().join(format!("{sample}.json"))).expect(sample);
        let request = self.stack.local(Method::POST, &format!("functions/{function}/invoke")).body(event);
        let response = request.send().await.expect("answers");
        assert!(response.status().is_success(), "{sample}: {response:?}");
        response.json().await.expect("JSON")
    }

    /// Status and code of the API's answer.
    async fn ask(&mut self, sample: &str) -> String {
        let answer = self.send("PaymentsApi", &format!("payments-api/{sample}")).await;
        let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
        let replayed = answer["headers"]["idempotency-replayed"] == "true";
        let code = body["code"].as_str().unwrap_or(if replayed { "replayed" } else { "-" });
        format!("{} {code}", answer["statusCode"])
    }

    /// Where the stream's partitions must be delivered again from.
    async fn stream(&mut self, sample: &str) -> Vec<String> {
        let answer = self.send("TerminalStream", &format!("terminal-stream/{sample}")).await;
        let failures = answer["batchItemFailures"].as_array().expect("a partial batch response");
        let places = failures.iter().map(|failure| &failure["itemIdentifier"]);
        places.map(|place| format!("{} from {}", place["partition"], place["offset"])).collect()
    }

    /// The ids of the messages that the worker returns.
    async fn work(&mut self, sample: &str) -> Vec<String> {
        let answer = self.send("LedgerWorker", &format!("ledger-worker/{sample}")).await;
        let failures = answer["batchItemFailures"].as_array().expect("a partial batch response");
        failures.iter().map(|failure| failure["itemIdentifier"].as_str().expect("an id").to_owned()).collect()
    }
}

/// The samples, of retry signals or of all others.
fn all_samples(of_retry_signals: bool) -> BTreeSet<String> {
    let folders = std::fs::read_dir(events()).expect("readable").map(|folder| folder.expect("readable").path());
    folders
        .flat_map(|folder| std::fs::read_dir(folder).expect("readable").map(|file| file.expect("readable").path()))
        .map(|file| {
            let sample = file.strip_prefix(events()).expect("below").with_extension("");
            sample.to_str().expect("UTF-8").to_owned()
        })
        .filter(|sample: &String| sample.starts_with("retry-signals/") == of_retry_signals)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_event_ends_as_its_name_says() {
    let mut samples = Samples { stack: Stack::start().await, sent: BTreeSet::new() };
    assert_eq!(samples.ask("first").await, "201 -");
    samples.stack.user("ann").await.balance("acct-1", "EUR", 1).await;
    assert_eq!(samples.ask("replay").await, "201 replayed", "another spelling of key and body is the same request");
    assert_eq!(samples.ask("mismatch").await, "422 fingerprint-mismatch");
    assert_eq!(samples.ask("missing-key").await, "400 missing-key");
    assert_eq!(samples.ask("invalid-key").await, "400 invalid-key");
    assert_eq!(samples.ask("missing-principal").await, "403 missing-principal");
    assert_eq!(samples.ask("invalid-request").await, "400 invalid-request");
    assert_eq!(samples.ask("declined").await, "402 generic_decline");
    assert_eq!(samples.ask("outcome-unknown").await, "503 outcome-unknown");
    assert_eq!(samples.ask("account").await, "200 -");
    assert_eq!(samples.ask("account-of-another").await, "404 not-found");
    assert_eq!(samples.stack.charges().await.len(), 2, "the first, and the one whose answer was lost");

    assert_eq!(samples.work("batch").await, [""; 0]);
    assert_eq!(samples.work("batch-with-duplicate").await, [""; 0]);
    assert_eq!(samples.work("batch-with-poison").await, ["5f0f2f3e-7d4b-4f0a-8f43-0b1f6b0f9d11"]);
    let ann = samples.stack.user("ann").await;
    assert_eq!(ann.balance("acct-2", "EUR", 4).await, 4 * 1999, "seven messages, four events");

    assert_eq!(samples.stream("batch").await, [""; 0]);
    assert_eq!(samples.stream("batch-with-duplicate").await, [""; 0]);
    assert_eq!(samples.stream("batch-with-poison").await, ["\"terminal-sales-0\" from 4"]);
    // The poison was given up, and a used number arrives with another amount; in the queue's batch it is next to a
    // duplicate.
    assert_eq!(samples.stream("batch-with-conflict").await, ["\"terminal-sales-0\" from 5"]);
    assert_eq!(samples.work("batch-with-conflict").await, ["d2c7b8f4-62d5-4c39-9f0e-7b6a5c4d3e2f"]);
    let ann = samples.stack.user("ann").await;
    assert_eq!(ann.balance("acct-4", "EUR", 4).await, 4 * 500, "six sales, one twice, one behind the poison");

    let report = samples.send("Reconciler", "reconciler/schedule").await;
    assert_eq!((&report["held_elsewhere"], &report["errors"]), (&json!(false), &json!(0)), "{report}");
    assert_eq!(samples.sent, all_samples(false), "each sample is sent");
}

/// The sample's lines, as if they had been written at this time. Lines older than two days are not counted.
fn written_at(sample: &str, epoch_ms: u64) -> Value {
    let event: Value = serde_json::from_slice(&std::fs::read(events().join(sample)).expect(sample)).expect("JSON");
    let packed = STANDARD.decode(event["awslogs"]["data"].as_str().expect("data")).expect("base64");
    let mut delivery: Value = serde_json::from_reader(GzDecoder::new(packed.as_slice())).expect("a delivery");
    for line in delivery["logEvents"].as_array_mut().expect("lines") {
        line["timestamp"] = epoch_ms.into();
    }
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut gzip, &delivery).expect("packed");
    json!({ "awslogs": { "data": STANDARD.encode(gzip.finish().expect("packed")) } })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sample_event_of_retry_signals_ends_as_its_name_says() {
    let stack = Setup::deployed().reconciled_on_demand().parameter("Signals", "true").start().await;
    let mut samples = Samples { stack, sent: BTreeSet::new() };
    let counted = |report: &Value| [&report["lines"], &report["skipped"], &report["written"]].map(Value::as_u64);
    let report = samples.send("RetrySignals", "retry-signals/lines").await;
    assert_eq!(counted(&report), [0, 3, 0].map(Some), "they are too old: {report}");
    let event = written_at("retry-signals/lines.json", SystemClock.now().0);
    let request = samples.stack.local(Method::POST, "functions/RetrySignals/invoke").json(&event);
    let report: Value = request.send().await.expect("answers").json().await.expect("a report");
    assert_eq!(counted(&report), [3, 0, 3].map(Some), "two callers and an account: {report}");
    let report = samples.send("RetrySignals", "retry-signals/lines-with-foreign-ones").await;
    assert_eq!(counted(&report), [0, 6, 0].map(Some), "{report}");
    let event = written_at("retry-signals/lines-with-foreign-ones.json", SystemClock.now().0);
    let request = samples.stack.local(Method::POST, "functions/RetrySignals/invoke").json(&event);
    let report: Value = request.send().await.expect("answers").json().await.expect("a report");
    assert_eq!(counted(&report), [3, 3, 3].map(Some), "{report}");
    let report = samples.send("RetrySignals", "retry-signals/lines-of-another-log-group").await;
    assert_eq!(report["refused"], true, "{report}");
    let report = samples.send("RetrySignals", "retry-signals/damaged-lines").await;
    assert_eq!(report["refused"], "unreadable", "{report}");
    let report = samples.send("RetrySignals", "retry-signals/control-message").await;
    assert_eq!((&report["refused"], counted(&report)), (&json!(false), [0; 3].map(Some)), "{report}");
    let report = samples.send("RetrySignals", "retry-signals/schedule").await;
    assert_eq!((&report["held_elsewhere"], &report["raised"]), (&json!(false), &json!(0)), "{report}");
    assert_eq!(samples.sent, all_samples(true), "each sample is sent");
}
