//! The peers: installed into `target/peers` on demand, never a part of the build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::subject::{Subject, first_line, workspace};

/// Installs the peers from PyPI and npm.
///
/// # Errors
/// When Python, Node.js or a package is not available.
pub fn install() -> Result<()> {
    eprintln!("Powertools for AWS Lambda (Python) …");
    install_python().context("Powertools for Python is not installed")?;
    eprintln!("Powertools for AWS Lambda (TypeScript) …");
    install_typescript().context("Powertools for TypeScript is not installed")
}

/// Powertools for Python on AWS's own runtime client, if it is installed.
pub(crate) fn python() -> Result<Option<Subject>> {
    let (installed, sources) = (folder("python"), sources("python"));
    let program = installed.join("bin/python");
    if !program.exists() {
        return Ok(None);
    }
    let packages = "import importlib.metadata as m; print('Powertools', m.version('aws-lambda-powertools') + ', boto3', \
                    m.version('boto3'))";
    let python = program.display().to_string();
    let version = format!("{}, {}", first_line(&python, &["--version"])?, first_line(&python, &["-c", packages])?);
    Ok(Some(Subject {
        name: "python".to_owned(),
        version,
        command: vec![python, "-m".to_owned(), "awslambdaric".to_owned(), "app.handler".to_owned()],
        folder: sources,
        deployed_bytes: bytes_below(&installed.join("lib"))?,
        is_ours: false,
    }))
}

/// Powertools for TypeScript in one bundle, if it is installed.
pub(crate) fn typescript() -> Result<Option<Subject>> {
    let installed = folder("typescript");
    let bundle = installed.join("bundle.js");
    if !bundle.exists() {
        return Ok(None);
    }
    let package = installed.join("node_modules/@aws-lambda-powertools/idempotency/package.json");
    let package: serde_json::Value = serde_json::from_slice(&fs::read(package)?)?;
    let powertools = package["version"].as_str().unwrap_or_default();
    Ok(Some(Subject {
        name: "typescript".to_owned(),
        version: format!("Node.js {}, Powertools {powertools}", first_line("node", &["--version"])?),
        command: vec!["node".to_owned(), bundle.display().to_string()],
        folder: installed,
        deployed_bytes: bundle.metadata()?.len(),
        is_ours: false,
    }))
}

fn install_python() -> Result<()> {
    let installed = folder("python");
    fs::create_dir_all(&installed)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(&installed))?;
    let requirements = sources("python").join("requirements.txt");
    run(Command::new(installed.join("bin/pip")).args(["install", "--quiet", "--requirement"]).arg(requirements))
}

fn install_typescript() -> Result<()> {
    let (installed, sources) = (folder("typescript"), sources("typescript"));
    fs::create_dir_all(&installed)?;
    fs::copy(sources.join("package.json"), installed.join("package.json"))?;
    run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund"]).current_dir(&installed))?;
    run(Command::new(installed.join("node_modules/.bin/esbuild"))
        .env("NODE_PATH", installed.join("node_modules"))
        .args(["--bundle", "--minify", "--platform=node", "--target=node20", "--log-level=warning"])
        .arg(format!("--outfile={}", installed.join("bundle.js").display()))
        .arg(sources.join("runtime.ts")))
}

fn run(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    ensure!(status.success(), "{program}: {status}");
    Ok(())
}

fn folder(name: &str) -> PathBuf {
    workspace().join("target/peers").join(name)
}

fn sources(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

fn bytes_below(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type()))?;
        bytes += if kind?.is_dir() { bytes_below(&path)? } else { path.symlink_metadata()?.len() };
    }
    Ok(bytes)
}
