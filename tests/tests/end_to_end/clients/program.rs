//! A client as a program that sends requests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tests::workspace;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::client::{Client, Language};
use super::installed::Installed;
use super::page::Page;
use super::request::{Ending, Request};
use super::rules::Rules;

/// A client with its rules, ready to send requests.
pub(crate) struct Program {
    pub(crate) client: Client,
    pub(crate) rules: Rules,
    _process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Program {
    pub(crate) async fn start(client: Client, rules: Rules, installed: &Installed) -> Self {
        let mut command = command(client, rules, installed);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().expect("starts");
        let input = process.stdin.take().expect("piped");
        let mut output = BufReader::new(process.stdout.take().expect("piped")).lines();
        let ready = output.next_line().await.expect("readable");
        if ready.as_deref() != Some("ready") {
            panic!("{} with its {rules:?} rules: {ready:?}, {:?}", client.name, process.wait().await);
        }
        Self { client, rules, _process: process, input, output }
    }

    /// Sends requests at the same time, and returns their endings.
    pub(crate) async fn send(&mut self, requests: &[Request]) -> Vec<Ending> {
        let line = format!("{}\n", serde_json::to_string(requests).expect("serializable"));
        self.input.write_all(line.as_bytes()).await.expect("reads");
        let mut endings = Vec::new();
        while endings.len() < requests.len() {
            let line = self.output.next_line().await.expect("readable").expect("an ending");
            endings.push(
                serde_json::from_str(&line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.client.name)),
            );
        }
        endings
    }
}

fn command(client: Client, rules: Rules, installed: &Installed) -> Command {
    let scripts = workspace().join("tests/clients");
    match client.language {
        Language::Python => {
            let mut command = Command::new(&installed.python);
            command.arg(scripts.join("run.py")).arg(module(client, rules, "py", &scripts));
            command
        }
        // Node looks for packages in the folders above a module.
        Language::JavaScript => {
            let mut command = Command::new(installed.node_program());
            let copy = installed.node.join("modules");
            command.arg(copied(&scripts.join("run.mjs"), &copy));
            command.arg(copied(&module(client, rules, "mjs", &scripts), &copy.join(rules.name())));
            command
        }
        Language::Shell => {
            let mut command = Command::new("python3");
            command.arg(scripts.join("run_shell.py")).arg(module(client, rules, "sh", &scripts));
            command
        }
    }
}

/// The client's code: its usual rules are a file, the page's lines are on the page.
fn module(client: Client, rules: Rules, extension: &str, scripts: &Path) -> PathBuf {
    let name = format!("{}.{extension}", client.name);
    match rules {
        Rules::Usual => scripts.join("usual").join(name),
        Rules::Page => {
            let folder = workspace().join("target/clients/page");
            fs::create_dir_all(&folder).expect("a folder");
            fs::write(folder.join(&name), Page::read().code(client.heading)).expect("writable");
            folder.join(name)
        }
    }
}

fn copied(file: &Path, folder: &Path) -> PathBuf {
    fs::create_dir_all(folder).expect("a folder");
    let copy = folder.join(file.file_name().expect("a file"));
    fs::copy(file, &copy).expect("can be copied");
    copy
}
