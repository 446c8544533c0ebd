//! The program `local` and what it leaves behind: nothing.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use local::template::Document;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use reqwest::Client;
use serde_json::json;

struct Local {
    child: Child,
    url: String,
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

impl Local {
    fn start(options: &[&str]) -> Self {
        Self::spawn(&tests().join("template.yaml"), options, Stdio::inherit())
    }

    fn spawn(template: &Path, options: &[&str], errors: Stdio) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_local"))
            .args(["--port", "0", "--template"])
            .arg(template)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("local starts");
        let output = child.stdout.take().expect("standard output");
        let ready = BufReader::new(output).lines().map_while(Result::ok).find(|line| line.starts_with("ready "));
        Self { child, url: ready.expect("the banner").replace("ready ", "") }
    }

    async fn post(&self, body: &'static str) -> String {
        self.post_to("/patient", body).await
    }

    async fn post_to(&self, path: &str, body: &'static str) -> String {
        Client::new()
            .post(format!("{}{path}", self.url))
            .header("content-type", "text/plain")
            .body(body)
            .send()
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().expect("a process id")), signal).expect("a living process");
    }
}

/// A zombie is an end too: whoever inherited it will reap it.
fn is_running(process: &str) -> bool {
    let status = Command::new("ps").args(["-o", "stat=", "-p", process]).output().expect("ps");
    let status = String::from_utf8_lossy(&status.stdout).trim().to_owned();
    !status.is_empty() && !status.starts_with('Z')
}

fn assert_ends(process: &str) {
    let start = Instant::now();
    while is_running(process) {
        assert!(start.elapsed() < Duration::from_secs(5), "process {process} outlives the stack");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn a_terminated_stack_ends_its_processes_and_exits_with_success() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut local = Local::start(&[]);
        let process = local.post("process").await;
        local.signal(signal);
        assert!(local.child.wait().expect("an end").success());
        assert!(!is_running(&process), "{signal}");
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_stack_not_even_a_busy_function() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("process");
    let mut local = Local::start(&[]);
    let idle = local.post("process").await;
    let request = Client::new().post(format!("{}/patient", local.url)).header("content-type", "text/plain");
    tokio::spawn(request.body(format!("hold {}", file.display())).send());
    let busy = loop {
        match std::fs::read_to_string(&file) {
            Ok(process) if !process.is_empty() => break process,
            _ => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    local.signal(Signal::SIGKILL);
    local.child.wait().expect("an end");
    assert_ends(&idle);
    assert_ends(&busy);
}

#[tokio::test]
async fn messages_and_charges_survive_a_killed_stack() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = ["--data", folder.path().to_str().expect("a path")];
    let mut local = Local::start(&data);
    local.post_to("/_local/queues/Copies", "kept").await;
    let charge = local.post("charge k1 pm_card_visa").await;
    local.signal(Signal::SIGKILL);
    local.child.wait().expect("an end");

    let mut local = Local::start(&data);
    let queue = reqwest::get(format!("{}/_local/queues/Copies", local.url)).await.expect("an answer").text().await;
    assert!(queue.expect("a body").contains("kept"));
    assert_eq!(local.post("charge k1 pm_card_visa").await, charge);
    local.signal(Signal::SIGTERM);
    local.child.wait().expect("an end");
}

/// As on Lambda the messages are lost; unlike there, somebody says so.
#[tokio::test]
async fn a_mapping_that_ignores_reported_failures_says_so_at_the_start_and_whenever_it_loses_something() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut template = Document::load(&tests().join("template.yaml")).expect("the template");
    for event in ["Messages", "Records"] {
        let pointer = format!("/Resources/Batch/Properties/Events/{event}/Properties/FunctionResponseTypes");
        template.set(&pointer, json!([])).expect("the event");
    }
    let file = folder.path().join("template.json");
    template.write(&file).expect("a template");
    let log = folder.path().join("log");
    let errors = std::fs::File::create(&log).expect("a log");
    let mut local = Local::spawn(&file, &[], errors.into());
    let logged = || std::fs::read_to_string(&log).expect("the log");
    let start = logged();
    for (name, lost) in [("Batch.Messages", "deleted"), ("Batch.Records", "passed over")] {
        let warned = start.lines().any(|line| line.contains("WARN") && line.contains(name) && line.contains(lost));
        assert!(warned, "{name}: {start}");
    }
    assert!(start.contains("FunctionResponseTypes: [ReportBatchItemFailures]"), "it says what to write: {start}");

    local.post_to("/_local/queues/Queue", "fail").await;
    local.post_to("/_local/streams/records?partition=1", "fail").await;
    let begin = Instant::now();
    for lost in [
        "1 message of Queue that the function reported as failed is deleted",
        "records-1 is passed over from offset 0 on",
    ] {
        while !logged().contains(lost) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{lost}: {}", logged());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    for queue in ["Queue", "DeadLetters"] {
        let url = format!("{}/_local/queues/{queue}", local.url);
        let contents = reqwest::get(url).await.expect("an answer").text().await.expect("a body");
        assert!(contents.starts_with(r#"{"visible":0,"in_flight":0"#), "it is gone, as on Lambda: {queue} {contents}");
    }
    local.signal(Signal::SIGTERM);
    local.child.wait().expect("an end");
}

#[test]
fn a_value_that_the_template_does_not_allow_is_a_clear_error() {
    for (parameter, reason) in [
        ("ApiTimeoutSeconds=30", "MaxValue is 29"),
        ("OutboxState=PAUSED", "AllowedValues are RUNNING, STOPPED"),
        ("Timeout=4", "no parameter Timeout"),
        ("Timeout", "NAME=VALUE"),
    ] {
        let template = tests().join("../../template.yaml");
        // A folder of built functions that is not there: a stack that accepts the value fails for that reason.
        let options = ["--port", "0", "--built", "nowhere", "--parameter", parameter, "--template"];
        let output =
            Command::new(env!("CARGO_BIN_EXE_local")).args(options).arg(template).output().expect("local runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && errors.contains(reason), "{parameter}: {errors}");
    }
}

#[test]
fn a_port_in_use_is_a_clear_error() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let output = Command::new(env!("CARGO_BIN_EXE_local")).args(["--port", &port]).output().expect("local runs");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("127.0.0.1:{port}")));
}

#[test]
fn a_function_that_cannot_start_is_an_error_before_ready_with_its_line() {
    let template = tests().join("template.yaml");
    let output = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["--port", "0", "--parameter", "Start=fails", "--template"])
        .arg(&template)
        .output()
        .expect("local runs");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!output.status.success() && !printed.contains("ready"), "{printed}");
    let place = format!("error: in the template {}:{}: ", template.display(), line_of(&template, "  Single:"));
    let reason = "in resource Single: the function cannot start: it ended with error: exit status 4";
    assert!(errors.contains("told to fail") && errors.contains(&format!("{place}{reason}")), "{errors}");
}

#[test]
fn code_that_is_no_package_is_an_error_with_its_line_before_anything_is_built() {
    let folder = tempfile::tempdir().expect("a folder");
    let template = folder.path().join("template.yaml");
    let text = "Resources:\n  F:\n    Type: AWS::Serverless::Function\n    Properties:\n      Handler: bootstrap\n      \
                CodeUri: nowhere\n";
    std::fs::write(&template, text).expect("a file");
    let output = Command::new(env!("CARGO_BIN_EXE_local"))
        .args(["--port", "0", "--template"])
        .arg(&template)
        .output()
        .expect("local runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{errors}");
    let place = format!("error: in the template {}:6: in resource F: in CodeUri: ", template.display());
    assert!(errors.contains(&place) && errors.contains("nowhere is not the folder of a cargo package"), "{errors}");
}

fn line_of(file: &Path, line: &str) -> usize {
    let text = std::fs::read_to_string(file).expect("a file");
    1 + text.lines().position(|each| each == line).expect("the line is there")
}
