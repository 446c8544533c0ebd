//! The client examples of `docs/http.md`, against an API whose function is killed right after it has charged the card.

use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::local_stack::{Stack, payment};
use tests::workspace;
use tokio::process::Command;

use crate::stacks::SHARED;

async fn token(stack: &Stack) -> String {
    let answer =
        stack.local(reqwest::Method::GET, &format!("token?sub={}", stack.own("ann"))).send().await.expect("answers");
    answer.text().await.expect("a token")
}

/// Runs an example to its end.
async fn run(stack: &Stack, program: &str, file: &Path, account: &str, method: &str) -> Output {
    let body = payment(account, method).to_string();
    let url = format!("{}/payments", stack.base());
    let mut command = Command::new(program);
    command.arg(file).args([&url, &token(stack).await, &body]).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(tests::wait::TIMEOUT, command.output()).await;
    output.expect("ends in time").unwrap_or_else(|error| panic!("{program} runs: {error}"))
}

/// The example succeeds and pays once although the function is killed before it answers, and it reports a refusal.
async fn pays_once(program: &str, file: &Path) {
    let stack = SHARED.stack().await;
    let output = run(&stack, program, file, &stack.own("acct-1"), "pm_kill_after_charge").await;
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    let paid: Value = serde_json::from_str(shown.trim()).expect("the payment");
    assert_eq!((&paid["amount"], &paid["status"]), (&json!(1999), &json!("succeeded")));
    assert_eq!(stack.charges().await.len(), 1);

    let declined = run(&stack, program, file, &stack.own("acct-2"), "pm_card_chargeDeclined").await;
    assert_eq!(declined.status.code(), Some(1), "{declined:?}");
    let problem: Value = serde_json::from_slice(&declined.stdout).expect("the problem");
    assert_eq!(problem["status"], 402, "it does not repeat what is final");
    assert_eq!(stack.charges().await.len(), 1);
}

fn example(name: &str) -> std::path::PathBuf {
    workspace().join("docs/clients").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_example_pays_once() {
    pays_once("sh", &example("pay.sh")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_example_pays_once() {
    pays_once("python3", &example("pay.py")).await;
}

/// Under a file name that every version of Node treats as JavaScript, which the example also is.
#[tokio::test(flavor = "multi_thread")]
async fn the_typescript_example_pays_once() {
    let copy = std::env::temp_dir().join(format!("pay-{}.mjs", std::process::id()));
    std::fs::copy(example("pay.ts"), &copy).expect("can be copied");
    pays_once("node", &copy).await;
    std::fs::remove_file(copy).expect("was there");
}
