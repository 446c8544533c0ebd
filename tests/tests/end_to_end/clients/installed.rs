//! Where the clients are installed.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use tests::{packages, workspace};

/// The clients with their versions, as `got 16.1.0`; not what they need.
pub(crate) fn versions() -> Vec<String> {
    let lists = workspace().join("tests/clients");
    let python = fs::read_to_string(lists.join("requirements.txt")).expect("readable");
    let (python, _) = python.split_once("# What they need").expect("two lists");
    let node = fs::read(lists.join("package.json")).expect("readable");
    let node: Value = serde_json::from_slice(&node).expect("JSON");
    let node = node["devDependencies"].as_object().expect("a list").iter();
    let node = node.map(|(name, version)| format!("{name} {}", version.as_str().expect("a version")));
    python.lines().filter(|line| !line.starts_with('#')).map(|line| line.replace("==", " ")).chain(node).collect()
}

/// Where the clients are installed.
pub(crate) struct Installed {
    pub(super) python: PathBuf,
    /// The folder above `node_modules`.
    pub(super) node: PathBuf,
}

impl Installed {
    /// `None`: not possible.
    pub(crate) fn new() -> Option<Self> {
        let python = packages::python("the test of HTTP clients for Python", "tests/clients")?;
        let node = packages::node("the test of HTTP clients for JavaScript", "tests/clients")?;
        Some(Self { python, node })
    }

    /// npm installs the Node that the clients need where it has one; elsewhere that of the machine must do.
    pub(super) fn node_program(&self) -> PathBuf {
        let packages = fs::read_dir(self.node.join("node_modules")).expect("installed").flatten();
        let mut programs = packages
            .filter(|package| package.file_name().to_string_lossy().starts_with("node-linux-"))
            .map(|package| package.path().join("bin/node"));
        programs.next().unwrap_or_else(|| "node".into())
    }
}
