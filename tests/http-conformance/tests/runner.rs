//! Tests of the runner, against an API without idempotency.

use std::collections::BTreeSet;

use http_conformance::{Client, Need, Options, Principals, Tier, Verdict, cases, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

/// An API that executes every request, whatever its key.
async fn api_without_idempotency() -> String {
    api(|number| ("HTTP/1.1 201 Created", format!("{{\"execution\":{number}}}"))).await
}

async fn api_that_answers(status: &'static str, body: &'static str) -> String {
    api(move |_| (status, body.to_owned())).await
}

/// An API whose answer depends only on the number of the request.
async fn api(answer: impl Fn(u64) -> (&'static str, String) + Copy + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        for number in 0_u64.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let (status, body) = answer(number);
                let length = body.len();
                let answer = format!("{status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    base
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_idempotency_fails() {
    let principals = Principals::Header("x-user".parse().expect("a name"), "{principal}".to_owned());
    let client = Client::new(&api_without_idempotency().await, principals).expect("a client");
    let lacks = BTreeSet::from([Need::Executions]);
    let options = Options { tiers: vec![Tier::Draft], only: None, lacks, jobs: 4 };
    let report = run(client, cases().expect("valid"), &options, |_, _, _| {}).await;
    let harmless = ["two_keys_are_two_operations", "a_key_does_not_disturb"];
    for outcome in &report.outcomes {
        let passed = matches!(outcome.verdict, Verdict::Passed { .. });
        assert_eq!(passed, harmless.iter().any(|name| outcome.name.starts_with(name)), "{outcome:?}");
    }
    assert!(!report.conforms());
}

fn program(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-conformance"));
    command.args(["--url", url]).args(arguments).kill_on_drop(true);
    command
}

fn runner(url: &str, arguments: &[&str]) -> Command {
    let mut command = program(url, &["--principal-header", "x-user: {principal}"]);
    command.args(arguments);
    command
}

const OPERATION: [&str; 4] = ["--operation", "POST /orders", "--body", r#"{"item":1}"#];

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_without_idempotency_fails_every_case_but_one_and_needs_no_other_route() {
    let output = program(&api_without_idempotency().await, &OPERATION).output().await.expect("runs");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(table.contains("5 cases: 1 passed, 4 failed, 0 skipped"), "{table}");
    let harmless = table.lines().find(|line| line.contains("| passed |")).expect("a line");
    assert!(harmless.contains("two_keys_are_two_operations"), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_in_the_arguments_is_told_before_any_case_runs() {
    let base = api_without_idempotency().await;
    let [_, operation, _, body] = OPERATION;
    for (arguments, told) in [
        (vec!["--operation", operation], "--body <TEXT>"),
        (vec!["--operation", "orders", "--body", body], "an operation is METHOD PATH"),
        (vec!["--operation", operation, "--body", "@no-such-file"], "cannot read no-such-file"),
        (vec!["--operation", operation, "--body", body, "--header", "secret"], "a header is NAME: VALUE"),
        (vec!["--operation", operation, "--body", body, "--tier", "draft"], "leave --operation out"),
        (vec!["--tier", "operation", "--principal-header", "x-user: a"], "needs --operation and --body"),
        (vec![], "--token-url <URL>"),
    ] {
        let output = program(&base, &arguments).output().await.expect("runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(errors.contains(told), "{arguments:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_the_operation_refuses_is_no_finding_about_keys() {
    let base = api_that_answers("HTTP/1.1 422 Unprocessable Content", "no such item").await;
    let output = program(&base, &OPERATION).output().await.expect("runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(errors.contains("POST /orders answers 422 no such item"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_and_the_files_say_what_failed() {
    let folder = tempfile::tempdir().expect("a folder");
    let base = api_without_idempotency().await;
    let mut command = runner(&base, &["--tier", "draft", "--lacks", "executions"]);
    command.args(["--json", "conformance.json", "--junit", "conformance.xml"]).current_dir(&folder);
    let output = command.output().await.expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("8 cases: 2 passed, 6 failed, 0 skipped"), "{output:?}");
    let read = |name| std::fs::read_to_string(folder.path().join(name)).expect("was written");
    let report: serde_json::Value = serde_json::from_str(&read("conformance.json")).expect("JSON");
    let failed = |case: &&serde_json::Value| case["result"] == "failed";
    assert_eq!(report["cases"].as_array().expect("cases").iter().filter(failed).count(), 6);
    assert!(read("conformance.xml").contains("tests=\"8\" failures=\"6\" skipped=\"0\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_that_the_run_could_not_start() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let output = runner(&format!("http://{closed}"), &[]).output().await.expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing answers at"), "{output:?}");
}
