//! Stripe's own SDKs work with the local stack's payment provider as with Stripe.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use tests::local_stack::Stack;
use tests::wait::TIMEOUT;
use tests::workspace;

/// A program and its Debian package.
type Tool = (&'static str, &'static str);

fn scripts() -> PathBuf {
    workspace().join("tests/stripe")
}

/// The folder into which an SDK is installed, once for each list of its dependencies. `None` if that is not possible:
/// on a build server (if `CI` is set) the test then fails, elsewhere it prints that it did not run.
fn installed(name: &str, list: &str, tools: &[Tool], install: impl FnOnce(&Path) -> Vec<Command>) -> Option<PathBuf> {
    let folder = workspace().join("target/stripe").join(name);
    let wanted = std::fs::read(scripts().join(list)).expect("a list");
    let done = folder.join("installed");
    if std::fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Some(folder);
    }
    let missing: Vec<_> = tools.iter().filter(|(program, _)| !runs(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        return not_run(name, &missing.join(", "));
    }
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder");
    for mut command in install(&folder) {
        let output = command.stdin(Stdio::null()).output().expect("runs");
        if !output.status.success() {
            return not_run(name, &format!("{command:?} to succeed: {}", shown(&output)));
        }
    }
    std::fs::write(done, wanted).expect("writable");
    Some(folder)
}

fn runs(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

fn not_run(name: &str, needs: &str) -> Option<PathBuf> {
    assert!(std::env::var_os("CI").is_none(), "the test of Stripe's SDK for {name} needs {needs}");
    eprintln!("\n!!! NOT RUN: the test of Stripe's SDK for {name} needs {needs}\n");
    None
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
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
async fn a_program_with_the_python_sdk_is_understood_and_understands() {
    let tools = [("python3", "python3 (with python3-venv)")];
    let installed = installed("python", "requirements.txt", &tools, |folder| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder);
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--requirement"]).arg(scripts().join("requirements.txt"));
        vec![venv, pip]
    });
    let Some(folder) = installed else { return };
    passes(&folder.join("bin/python"), "sdk.py", &folder).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_with_the_node_sdk_is_understood_and_understands() {
    let tools = [("node", "nodejs"), ("npm", "npm")];
    let installed = installed("node", "package-lock.json", &tools, |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(scripts().join(file), folder.join(file)).expect("can be copied");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
        vec![npm]
    });
    let Some(folder) = installed else { return };
    passes(Path::new("node"), "sdk.mjs", &folder).await;
}
