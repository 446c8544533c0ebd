//! The operators' console in Firefox, by `tests/firefox/console.mjs`.

use serde_json::json;
use tests::console::{Tables, subject};
use tests::local_stack::Setup;
use tests::packages::{node, not_run, shown};
use tests::process::on_path;
use tests::sizes::number;
use tests::workspace;
use tokio::process::Command;

use crate::browser::pages;

const TEST: &str = "the test of the console in Firefox";

/// Debian's name of the program, and others'.
const FIREFOX: [&str; 2] = ["firefox-esr", "firefox"];

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(soak_all), ignore = "SOAK_ALL=1 runs it, as the gate does")]
async fn every_page_fits_and_is_accessible_in_firefox_and_an_operator_finds_asks_and_settles() {
    let Some(firefox) = FIREFOX.iter().find_map(|name| on_path(name)) else {
        not_run::<()>(TEST, "Firefox (Debian: firefox-esr)");
        return;
    };
    let Some(folder) = node(TEST, "tests/firefox") else { return };
    let stack = Setup::brief().reconciled_on_demand().start().await;
    let pages = pages(&stack).await;
    let record = Tables::of(&stack).await.unknown("firefox", "POST /payments", &subject("acct-1", 1999, "EUR")).await;
    let widths: Vec<u32> = [320, 1280, 390].into_iter().take(number("SOAK_LOOKS", 1)).collect();
    let task = json!({
        "base": stack.base(), "pages": pages, "widths": widths, "key": "ann key-paid", "record": record,
    });
    // Node finds packages from where the program is.
    std::fs::copy(workspace().join("tests/firefox/console.mjs"), folder.join("console.mjs")).expect("can be copied");
    let mut program = Command::new("node");
    program.arg("console.mjs").arg(firefox).arg(task.to_string()).current_dir(folder).kill_on_drop(true);
    let output = program.output().await.expect("node runs");
    assert!(output.status.success(), "{}", shown(&output));
}
