//! Stripe's own SDKs work with the local stack's payment provider as with Stripe.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::json;
use tests::local_stack::Stack;
use tests::packages::{self, shown};
use tests::wait::TIMEOUT;
use tests::workspace;

fn scripts() -> PathBuf {
    workspace().join("tests/stripe")
}

/// Runs a script, which checks every answer; then checks the charge and the refund.
async fn passes(program: &Path, script: &str, folder: &Path) {
    let stack = Stack::start().await;
    let provider = stack.local(reqwest::Method::GET, "provider").send().await.expect("answers");
    let mut command = tokio::process::Command::new(program);
    command.arg(scripts().join(script)).arg(provider.text().await.expect("an address"));
    command.current_dir(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(TIMEOUT, command.output()).await.expect("ends in time").expect("runs");
    assert!(output.status.success(), "{}", shown(&output));
    let [charge] = &stack.charges().await[..] else { panic!("one charge") };
    assert_eq!((&charge["amount"], &charge["amount_refunded"]), (&json!(1999), &json!(1999)));
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_program_with_the_python_sdk_is_understood_and_understands() {
    let Some(python) = packages::python("the test of Stripe's SDK for Python", "tests/stripe") else { return };
    passes(&python, "sdk.py", &scripts()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn a_program_with_the_node_sdk_is_understood_and_understands() {
    let Some(folder) = packages::node("the test of Stripe's SDK for Node", "tests/stripe") else { return };
    passes(Path::new("node"), "sdk.mjs", &folder).await;
}
