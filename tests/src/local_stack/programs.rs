//! The programs that the tests start; each process builds them once.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::workspace;

/// The application's functions: logical id and program.
const FUNCTIONS: [(&str, &str); 6] = [
    ("PaymentsApi", "payments-api"),
    ("LedgerWorker", "ledger-worker"),
    ("TerminalStream", "terminal-stream"),
    ("Reconciler", "reconciler"),
    ("Console", "console"),
    ("RetrySignals", "retry-signals"),
];

/// The local stack. With the features of the whole workspace, it shares its libraries with `cargo test --workspace`.
pub(super) fn stack() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        build(&["--workspace", "--bin", "local"]);
        profile().join("local")
    })
}

/// The key with which all stacks sign tokens: to make one takes a quarter of the time in which a stack starts.
pub(super) fn signing_key() -> PathBuf {
    profile().join("signing-key")
}

/// Another program of the workspace.
pub fn program(name: &str) -> PathBuf {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if built.insert(name.to_owned()) {
        build(&["--workspace", "--bin", name]);
    }
    profile().join(name)
}

/// The application's functions in a folder like that of `sam build`, `FUNCTION/bootstrap`, so that no stack checks
/// whether they must be built. In the gate these are the programs of `sam build`, with exactly the features with which
/// they are deployed; otherwise they have the features of the whole workspace and share its libraries, like the stack.
pub(super) fn application() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("FUNCTIONS_FOLDER") {
        Some(folder) => workspace().join(folder),
        None => linked(&FUNCTIONS),
    })
}

/// The function of the fixture, in such a folder.
pub(super) fn fixture() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| linked(&[("Fixture", "fixture")]))
}

fn linked(functions: &[(&str, &str)]) -> PathBuf {
    let programs: Vec<&str> = functions.iter().flat_map(|(_, program)| ["--bin", program]).collect();
    build(&[&["--workspace"], programs.as_slice()].concat());
    let folder = profile().join("functions");
    for (function, program) in functions {
        link(&profile().join(program), &folder.join(function));
    }
    folder
}

fn build(arguments: &[&str]) {
    let mut command = Command::new(env!("CARGO"));
    command.arg("build").args(arguments).current_dir(workspace());
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    // `cargo test` puts the package under test into these variables; a build script that watches them would see a
    // change.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
}

fn link(program: &Path, folder: &Path) {
    fs::create_dir_all(folder).expect("writable");
    if let Err(error) = symlink(program, folder.join("bootstrap")) {
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{}: {error}", folder.display());
    }
}

/// The folder into which cargo puts programs. A test runs as `target/debug/deps/NAME-HASH`, a program as
/// `target/debug/NAME`.
fn profile() -> PathBuf {
    let this = std::env::current_exe().expect("known");
    let folder = this.parent().expect("in a folder");
    if folder.ends_with("deps") { folder.parent().expect("in the target directory") } else { folder }.to_owned()
}
