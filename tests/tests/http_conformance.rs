//! The HTTP contract: every vector, against the fixture on the local stack.

use std::collections::BTreeSet;
use std::path::PathBuf;

use tests::http_conformance::{Case, Client, Options, Principals, Report, Tier, Verdict, load, run};
use tests::stack::{Stack, workspace};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn vectors() -> Vec<Case> {
    load(&workspace().join("tests/vectors/http")).expect("the vectors can be read")
}

async fn conformance(base: &str, cases: Vec<Case>, lacks: &[tests::http_conformance::Need]) -> Report {
    let principals = Principals::TokenUrl(format!("{base}/_local/token?sub={{principal}}"));
    let lacks: BTreeSet<_> = lacks.iter().copied().collect();
    let options = Options { tiers: vec![Tier::Draft, Tier::Profile], only: None, lacks, jobs: 4 };
    run(Client::new(base, principals).expect("a client"), cases, &options, |_, _, _| {}).await
}

/// The sweep for expired items is far away, as it may be on AWS: what has expired is still there.
async fn fixture() -> Stack {
    let template: PathBuf = workspace().join("tests/fixture/template.yaml");
    Stack::start_with(&["--template", template.to_str().expect("UTF-8"), "--time-to-live-sweep", "3600"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fixture_passes_every_vector() {
    let stack = fixture().await;
    let report = conformance(stack.base(), vectors(), &[]).await;
    assert!(report.is_complete(), "{}\n{}", report.table(), report.summary());
    assert!(report.outcomes.len() >= 137, "vectors were lost: {}", report.summary());
}

/// An API that executes every request, whatever its key: no vector that is about a key may pass.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_without_idempotency_fails() {
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
    let draft: Vec<_> = vectors().into_iter().filter(|case| case.tier == Tier::Draft).collect();
    let report = conformance(&base, draft, &[tests::http_conformance::Need::Executions]).await;
    let harmless = ["two_keys_are_two_operations", "a_key_does_not_disturb"];
    for outcome in &report.outcomes {
        let passed = matches!(outcome.verdict, Verdict::Passed { .. });
        assert_eq!(passed, harmless.iter().any(|name| outcome.name.starts_with(name)), "{outcome:?}");
    }
    assert!(!report.conforms());
}
