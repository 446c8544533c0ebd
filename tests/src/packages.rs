//! Packages of other languages, which tests install into `target/` in pinned versions.
//!
//! If that is not possible, a test fails on a build server (if `CI` is set); elsewhere it prints that it did not run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use crate::workspace;

/// A program and its Debian package.
type Tool = (&'static str, &'static str);

/// The Python of a virtual environment with the packages of `PROJECT/requirements.txt`; `None` if that is not possible.
pub fn python(test: &str, project: &str) -> Option<PathBuf> {
    let tools = [("python3", "python3 (with python3-venv)")];
    let lists = lists(project);
    let folder = installed(test, project, "python", "requirements.txt", &tools, |folder| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder);
        let mut pip = Command::new(folder.join("bin/pip"));
        pip.args(["install", "--quiet", "--requirement"]).arg(lists.join("requirements.txt"));
        vec![venv, pip]
    })?;
    Some(folder.join("bin/python"))
}

/// The folder with the `node_modules` of `PROJECT/package-lock.json`; `None` if that is not possible.
pub fn node(test: &str, project: &str) -> Option<PathBuf> {
    let tools = [("node", "nodejs"), ("npm", "npm")];
    let lists = lists(project);
    installed(test, project, "node", "package-lock.json", &tools, |folder| {
        for file in ["package.json", "package-lock.json"] {
            std::fs::copy(lists.join(file), folder.join(file)).expect("can be copied");
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
        vec![npm]
    })
}

/// The output of a program.
pub fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn lists(project: &str) -> PathBuf {
    workspace().join(project)
}

/// The folder into which packages are installed, once per version of their list.
fn installed(
    test: &str,
    project: &str,
    language: &str,
    list: &str,
    tools: &[Tool],
    install: impl FnOnce(&Path) -> Vec<Command>,
) -> Option<PathBuf> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = workspace().join("target/packages").join(project).join(language);
    let wanted = std::fs::read(lists(project).join(list)).expect("a list");
    let done = folder.join("installed");
    if std::fs::read(&done).is_ok_and(|installed| installed == wanted) {
        return Some(folder);
    }
    let missing: Vec<_> = tools.iter().filter(|(program, _)| !runs(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        return not_run(test, &missing.join(", "));
    }
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("a folder");
    for mut command in install(&folder) {
        let output = command.stdin(Stdio::null()).output().expect("runs");
        if !output.status.success() {
            return not_run(test, &format!("{command:?} to succeed: {}", shown(&output)));
        }
    }
    std::fs::write(done, wanted).expect("writable");
    Some(folder)
}

fn runs(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// Reports that a test did not run because something is missing; fails on a build server.
pub fn not_run<T>(test: &str, needs: &str) -> Option<T> {
    assert!(std::env::var_os("CI").is_none(), "{test} needs {needs}");
    eprintln!("\n!!! NOT RUN: {test} needs {needs}\n");
    None
}
