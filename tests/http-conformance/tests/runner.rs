//! The runner, against an API that has no idempotency.

use std::collections::BTreeSet;

use http_conformance::{Client, Need, Options, Principals, Tier, Verdict, cases, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

/// An API that executes every request, whatever its key.
async fn api_without_idempotency() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        for number in 0_u64.. {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            tokio::spawn(async move {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let body = format!("{{\"execution\":{number}}}");
                let length = body.len();
                let answer =
                    format!("HTTP/1.1 201 Created\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
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

fn runner(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-conformance"));
    command.args(["--url", url, "--principal-header", "x-user: {principal}"]).args(arguments).kill_on_drop(true);
    command
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
