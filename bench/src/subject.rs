//! The measured functions, which all do the same work.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// A function as a program.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The subject's name in the tables.
    pub name: String,
    /// The versions of the runtime and of the library.
    pub version: String,
    pub(crate) command: Vec<String>,
    pub(crate) folder: PathBuf,
    /// The size of the deployed files, in bytes.
    pub deployed_bytes: u64,
    /// Whether its status must be the library's; for other subjects only the presence of a response is checked.
    pub is_ours: bool,
}

/// The trigger of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// API Gateway; claim → run → commit.
    Http,
    /// API Gateway; in single-write mode if the subject has one.
    SingleWrite,
    /// SQS batches; in single-write mode if the subject has one.
    Batch,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SingleWrite => "single-write",
            Self::Batch => "batch",
        }
    }
}

/// Builds the subjects of this workspace in the profile of this program, and alone, so that no other package's features
/// are enabled.
///
/// # Errors
/// When the subjects do not build.
pub fn build() -> Result<()> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--package", "subjects", "--bins"]);
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    ensure!(cargo.status().context("cannot run cargo")?.success(), "the subjects do not build");
    Ok(())
}

/// A subject from a program of the package `subjects`, at this path.
///
/// # Errors
/// When the file does not exist.
pub fn at(program: &Path, is_ours: bool) -> Result<Subject> {
    let name = program.file_name().context("a program without a name")?.to_string_lossy().into_owned();
    let deployed_bytes = program.metadata().with_context(|| format!("no {}", program.display()))?.len();
    Ok(Subject {
        version: format!("{}, {}", env!("CARGO_PKG_VERSION"), first_line("rustc", &["--version"])?),
        command: vec![program.display().to_string()],
        folder: workspace().to_owned(),
        deployed_bytes,
        is_ours,
        name,
    })
}

pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The first line of a program's output.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}
