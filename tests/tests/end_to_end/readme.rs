//! What README.md shows is true: its commands, pasted into bash and zsh, print what is printed beside them, and all
//! diagrams of the Markdown pages can be drawn.

mod block;

use std::process::Stdio;

use serde_json::{Value, json};
use tests::browser::{self, Browser, DESK};
use tests::local_stack::{Setup, program};
use tests::packages::not_run;
use tests::wait::TIMEOUT;
use tests::workspace;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use block::{Block, blocks, matches};

/// What the blocks of the README expect to be there: a stack on the default port, and a program that cargo runs.
const STACK: &str = "http://127.0.0.1:3000";
const START: &str = "cargo run -p local\n";
const CONFORMANCE: &str = "cargo run -q -p http-conformance --";

fn readme() -> Vec<Block> {
    blocks(&std::fs::read_to_string(workspace().join("README.md")).expect("readable"))
}

/// Each command line with what is printed beside it. The first one starts the stack, which the test does itself.
fn commands() -> Vec<(String, Option<String>)> {
    let blocks = readme();
    let mut commands: Vec<_> = blocks
        .iter()
        .enumerate()
        .filter(|(_, block)| block.language == "sh")
        .map(|(index, block)| {
            let beside = blocks.get(index + 1).filter(|next| next.language == "text" && next.line == block.end + 1);
            (block.text.clone(), beside.map(|beside| beside.text.clone()))
        })
        .collect();
    assert_eq!(commands.remove(0).0, START);
    commands
}

#[tokio::test(flavor = "multi_thread")]
async fn its_commands_print_in_bash_what_is_printed_beside_them() {
    printed_beside("bash", &["--norc", "--noprofile", "-i"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_commands_print_in_zsh_what_is_printed_beside_them() {
    printed_beside("zsh", &["-f", "-i", "-s"]).await;
}

/// Pastes all blocks into one interactive shell: there, zsh knows no comments, and bash expands `!`.
async fn printed_beside(shell: &str, options: &[&str]) {
    if std::process::Command::new(shell).arg("--version").output().is_err() {
        not_run::<()>("the test of README.md", &format!("{shell} (Debian: {shell})"));
        return;
    }
    let stack = Setup::deployed().start().await;
    let commands = commands();
    let mark = "--- the next block ---";
    let text: String = commands
        .iter()
        .map(|(block, _)| {
            let block = block.replace(STACK, stack.base());
            let block = block.replace(CONFORMANCE, &program("http-conformance").display().to_string());
            format!("{block}printf '\\n{mark}\\n'\n")
        })
        .collect();
    let mut child = Command::new(shell)
        .args(options)
        .env("PS1", "")
        .env("PS2", "")
        .current_dir(workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the shell runs");
    child.stdin.take().expect("piped").write_all(text.as_bytes()).await.expect("pasted");
    let output =
        tokio::time::timeout(2 * TIMEOUT, child.wait_with_output()).await.expect("ends in time").expect("ends");
    let (printed, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let printed: Vec<&str> = printed.split(mark).collect();
    assert_eq!(printed.len(), commands.len() + 1, "{shell} ended early: {printed:#?}\n{errors}");
    for ((block, beside), printed) in commands.iter().zip(printed) {
        if let Some(beside) = beside {
            let printed = printed.trim();
            assert!(
                matches(beside.trim(), printed),
                "{block}\nprints in {shell}\n{printed}\nand not\n{beside}\n{errors}"
            );
        }
    }
    assert_eq!(stack.charges().await.iter().filter(|charge| charge["metadata"]["account"] == "acct-1").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_diagram_can_be_drawn() {
    if !browser::is_available() {
        return;
    }
    let renderer = workspace().join("tests/browser/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js");
    let Ok(renderer) = std::fs::read_to_string(renderer) else {
        not_run::<()>("the test of the diagrams", "@mermaid-js/tiny (npm ci --prefix tests/browser)");
        return;
    };
    let browser = Browser::start(DESK).await;
    browser.open("data:text/html,<title>Diagrams</title>").await;
    let load = "const script = document.createElement('script'); script.textContent = arguments[0]; document.head.append(script)";
    browser.driver.execute(load, vec![json!(renderer)]).await.expect("Mermaid loads");
    let mut drawn = 0;
    for (page, block) in diagrams() {
        let script = "const [text, done] = arguments;
            mermaid.render('diagram', text).then(made => done(made.svg), error => done('error: ' + error))";
        let result = browser.driver.execute_async(script, vec![json!(block.text)]).await.expect("a result");
        let svg = result.json().as_str().unwrap_or_default().to_owned();
        assert!(svg.starts_with("<svg"), "{page}, line {}: {svg}", block.line);
        drawn += 1;
    }
    assert!(drawn >= 2, "README.md alone has two");
    let wrong = "mermaid.parse('flowchart LR\\n a --').then(() => arguments[0](true), () => arguments[0](false))";
    assert_eq!(*browser.driver.execute_async(wrong, vec![]).await.expect("a result").json(), Value::Bool(false));
    browser.quit().await;
}

/// The diagrams of all pages that git knows.
fn diagrams() -> Vec<(String, Block)> {
    let mut list = std::process::Command::new("git");
    list.args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]).current_dir(workspace());
    let listed = String::from_utf8(list.output().expect("git runs").stdout).expect("UTF-8");
    let pages = listed.lines().map(|page| {
        let text = std::fs::read_to_string(workspace().join(page)).expect("readable");
        blocks(&text)
            .into_iter()
            .filter(|block| block.language == "mermaid")
            .map(|block| (page.to_owned(), block))
            .collect()
    });
    pages.collect::<Vec<Vec<_>>>().concat()
}
