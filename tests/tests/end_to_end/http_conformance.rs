//! The HTTP contract: every vector, against the fixture on the local stack.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::http_conformance::{Case, Client, Need, Options, Principals, Report, Tier, Verdict, load, run};
use tests::local_stack::{Setup, Stack};
use tests::workspace;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

fn vectors() -> Vec<Case> {
    load(&workspace().join("tests/vectors/http")).expect("the vectors can be read")
}

async fn conformance(base: &str, cases: Vec<Case>, lacks: &[Need]) -> Report {
    let principals = Principals::TokenUrl(format!("{base}/_local/token?sub={{principal}}"));
    let lacks: BTreeSet<_> = lacks.iter().copied().collect();
    let options = Options { tiers: vec![Tier::Draft, Tier::Profile], only: None, lacks, jobs: 4 };
    run(Client::new(base, principals).expect("a client"), cases, &options, |_, _, _| {}).await
}

/// The sweep for expired items is far away, as it may be on AWS: what has expired is still there.
async fn fixture() -> Stack {
    let template: PathBuf = workspace().join("tests/fixture/template.yaml");
    Setup::application(&template).option("time-to-live-sweep", 3600).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_passes_every_vector() {
    let stack = fixture().await;
    let report = conformance(stack.base(), vectors(), &[]).await;
    assert!(report.is_complete(), "{}\n{}", report.table(), report.summary());
    assert!(report.outcomes.len() >= 151, "vectors were lost: {}", report.summary());
}

/// An API that executes every request, whatever its key.
async fn heedless_api() -> String {
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
    let draft: Vec<_> = vectors().into_iter().filter(|case| case.tier == Tier::Draft).collect();
    let report = conformance(&heedless_api().await, draft, &[Need::Executions]).await;
    let harmless = ["two_keys_are_two_operations", "a_key_does_not_disturb"];
    for outcome in &report.outcomes {
        let passed = matches!(outcome.verdict, Verdict::Passed { .. });
        assert_eq!(passed, harmless.iter().any(|name| outcome.name.starts_with(name)), "{outcome:?}");
    }
    assert!(!report.conforms());
}

fn runner(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_http-conformance"));
    command.args(["--url", url]).args(arguments).kill_on_drop(true);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_tells_by_its_result_and_its_files_what_failed() {
    let (json, junit) = ("conformance.json", "conformance.xml");
    let folder = std::env::temp_dir().join(format!("http-conformance-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("can be created");
    let base = heedless_api().await;
    let arguments = ["--tier", "draft", "--principal-header", "x-user: {principal}", "--lacks", "executions"];
    let mut command = runner(&base, &arguments);
    let output = command.args(["--json", json, "--junit", junit]).current_dir(&folder).output().await.expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("8 cases: 2 passed, 6 failed, 0 skipped"), "{output:?}");
    let read = |name| std::fs::read_to_string(folder.join(name)).expect("was written");
    let report: serde_json::Value = serde_json::from_str(&read(json)).expect("JSON");
    let failed = |case: &&serde_json::Value| case["result"] == "failed";
    assert_eq!(report["cases"].as_array().expect("cases").iter().filter(failed).count(), 6);
    assert!(read(junit).contains("tests=\"8\" failures=\"6\" skipped=\"0\""));
    std::fs::remove_dir_all(folder).expect("was there");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runner_says_that_it_could_not_run() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a free port").local_addr().expect("bound");
    let output = runner(&format!("http://{closed}"), &[]).output().await.expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing answers at"), "{output:?}");
}
