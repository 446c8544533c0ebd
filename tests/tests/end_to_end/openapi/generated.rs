//! Public tools and the descriptions of the APIs: a linter, and generators of clients in TypeScript and Python.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use tests::local_stack::Stack;
use tests::packages::{self, shown};
use tests::wait::TIMEOUT;
use tests::workspace;
use tokio::process::Command;

use super::{CONSOLE, PAYMENTS};
use crate::stacks::SHARED;

/// The folder with the programs and the lists of what they need.
const PROJECT: &str = "tests/openapi";

fn source(name: &str) -> PathBuf {
    workspace().join(PROJECT).join(name)
}

fn description(name: &str) -> PathBuf {
    workspace().join(name)
}

/// Runs a program to its end.
async fn ran(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(TIMEOUT, command.output()).await.expect("ends in time").expect("runs")
}

/// Runs a program that must succeed.
async fn succeeds(command: &mut Command) -> Output {
    let output = ran(command).await;
    assert!(output.status.success(), "{command:?}: {}", shown(&output));
    output
}

/// A program of an npm package.
fn node(folder: &Path, program: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(folder.join("node_modules").join(program)).current_dir(folder);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_linter_has_no_error_and_no_warning() {
    let Some(folder) = packages::node("the test of docs/openapi.yaml", PROJECT) else { return };
    for name in [PAYMENTS, CONSOLE] {
        let mut lint = node(&folder, "@redocly/cli/bin/cli.js");
        lint.args(["lint", "--extends=recommended", "--format=json"]).arg(description(name));
        lint.env("REDOCLY_TELEMETRY", "off").env("REDOCLY_SUPPRESS_UPDATE_NOTICE", "true");
        let output = succeeds(&mut lint).await;
        let report: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {}", shown(&output)));
        assert_eq!(report["totals"], json!({ "errors": 0, "warnings": 0, "ignored": 0 }), "{name}: {report:#}");
    }
}

/// What a program with a generated client prints after each request: status, replayed or not, and what it was told.
async fn told(program: &Command, stack: &Stack, requests: &[(&str, &str, &str)]) -> Vec<(Value, Value, String)> {
    let mut all = Vec::new();
    let token = stack.user("ann").await.token().to_owned();
    for (key, method, token_of) in requests {
        let mut command = Command::new(program.as_std().get_program());
        command.args(program.as_std().get_args());
        if let Some(folder) = program.as_std().get_current_dir() {
            command.current_dir(folder);
        }
        let token = if *token_of == "ann" { token.as_str() } else { "not-a-token" };
        command.args([stack.base(), token, &stack.own("acct-1"), method, key]);
        let output = succeeds(&mut command).await;
        let line: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("JSON: {}", shown(&output)));
        all.push((
            line["status"].clone(),
            line["replayed"].clone(),
            line["told"].as_str().unwrap_or_default().to_owned(),
        ));
    }
    all
}

/// A first answer, its replay, a final refusal, the gateway's own answers, and both problems that are to be repeated.
const REQUESTS: [(&str, &str, &str); 7] = [
    ("paid", "pm_card_visa", "ann"),
    ("paid", "pm_card_visa", "ann"),
    ("declined", "pm_card_chargeDeclined", "ann"),
    ("killed", "pm_kill_before_charge", "ann"),
    ("killed", "pm_kill_before_charge", "ann"),
    ("unanswered", "pm_timeout_before_charge", "ann"),
    ("refused", "pm_card_visa", "nobody"),
];

/// Checks what a client was told; `words` are its own for a payment and the refusals.
async fn pays_once_and_tells_refusals_apart(program: &Command, words: [&str; 6]) {
    let stack = SHARED.stack().await;
    let told = told(program, &stack, &REQUESTS).await;
    let [first, replay, rest @ ..] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&first.0, &first.1), (&json!(201), &json!(false)), "{first:?}");
    assert!(first.2.starts_with(words[0]), "{first:?}");
    assert_eq!((&replay.0, &replay.1, &replay.2), (&json!(201), &json!(true), &first.2));
    let rest: Vec<(u64, &str)> =
        rest.iter().map(|(status, _, told)| (status.as_u64().unwrap_or(0), told.as_str())).collect();
    let [_, declined, crashed, running, unknown, unauthorized] = words;
    let expected = [(402, declined), (500, crashed), (409, running), (503, unknown), (401, unauthorized)];
    assert_eq!(rest, expected);
    assert_eq!(stack.charges().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_client_in_typescript_that_was_generated_from_it_pays_once_and_tells_refusals_apart() {
    let Some(folder) = packages::node("the test of docs/openapi.yaml", PROJECT) else { return };
    let mut generator = node(&folder, "openapi-typescript/bin/cli.js");
    succeeds(generator.arg(description(PAYMENTS)).arg("--output=schema.d.ts")).await;
    std::fs::copy(source("pay.ts"), folder.join("pay.ts")).expect("can be copied");
    let mut compiler = node(&folder, "typescript/bin/tsc");
    compiler.args(["--strict", "--skipLibCheck", "--target", "es2022", "--module", "nodenext", "pay.ts"]);
    succeeds(&mut compiler).await;
    let mut program = Command::new("node");
    program.arg(folder.join("pay.js"));
    let words = [
        "pay_",
        "provider: generic_decline",
        "gateway: Internal Server Error",
        "repeat: in-progress",
        "repeat: outcome-unknown",
        "gateway: Unauthorized",
    ];
    pays_once_and_tells_refusals_apart(&program, words).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_client_in_python_that_was_generated_from_it_pays_once_and_tells_refusals_apart() {
    let Some(python) = packages::python("the test of docs/openapi.yaml", PROJECT) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    generated_in_python(&python, folder.path(), PAYMENTS).await;
    std::fs::copy(source("pay.py"), folder.path().join("pay.py")).expect("can be copied");
    let mut program = Command::new(&python);
    program.arg("pay.py").current_dir(folder.path());
    let words = [
        "Payment: pay_",
        "ProviderProblem: generic_decline",
        "Message: Internal Server Error",
        "RetryableProblem: in-progress",
        "RetryableProblem: outcome-unknown",
        "Message: Unauthorized",
    ];
    pays_once_and_tells_refusals_apart(&program, words).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_generator_of_python_clients_leaves_nothing_of_the_consoles_api_out() {
    let Some(python) = packages::python("the test of docs/openapi-console.yaml", PROJECT) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    generated_in_python(&python, folder.path(), CONSOLE).await;
    for module in ["records/ask_provider", "settling/confirm_preview", "approvals/approve", "audit/list_audit"] {
        assert!(folder.path().join(format!("generated/api/{module}.py")).is_file(), "{module}");
    }
}

/// Generates a client in Python. A warning, which says that something was left out, is an error.
async fn generated_in_python(python: &Path, folder: &Path, of: &str) {
    let programs = python.parent().expect("in a folder");
    let mut generator = Command::new(programs.join("openapi-python-client"));
    generator.args([
        "generate",
        "--meta=none",
        "--fail-on-warning",
        "--overwrite",
        "--output-path=generated",
        "--path",
    ]);
    generator.arg(description(of)).current_dir(folder);
    // It formats its output with a program that is installed next to it.
    let path = std::env::var("PATH").unwrap_or_default();
    generator.env("PATH", format!("{}:{path}", programs.display()));
    succeeds(&mut generator).await;
}
