//! Building the functions' programs with cargo, as part of the start.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

use crate::template::Function;

/// The program of each package folder. Several stacks may build at once: cargo's own lock puts them in order.
pub(crate) async fn packages(functions: &BTreeMap<String, Function>) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut workspaces: Vec<Workspace> = Vec::new();
    // Several functions may be of one package.
    let mut manifests: BTreeMap<PathBuf, &String> = BTreeMap::new();
    for (id, function) in functions {
        let manifest = manifest(&function.code, &mut workspaces).await;
        let context = || format!("{} is not the folder of a cargo package", function.code.display());
        manifests.insert(in_code(id, manifest.with_context(context))?, id);
    }
    let mut programs = BTreeMap::new();
    for workspace in &workspaces {
        let is_member = |manifest: &Path| workspace.package(manifest).is_some();
        let own: Vec<&Path> = manifests.keys().map(PathBuf::as_path).filter(|manifest| is_member(manifest)).collect();
        let artifacts = build_packages(workspace, &own).await?;
        for manifest in own {
            let folder = manifest.parent().unwrap_or(manifest);
            programs.insert(folder.to_owned(), in_code(manifests[manifest], program(manifest, &artifacts))?);
        }
    }
    Ok(programs)
}

/// The manifest in a folder; its workspace is added to those that are known.
async fn manifest(folder: &Path, workspaces: &mut Vec<Workspace>) -> Result<PathBuf> {
    let manifest = folder.join("Cargo.toml").canonicalize()?;
    if !workspaces.iter().any(|workspace| workspace.package(&manifest).is_some()) {
        workspaces.push(describe(&manifest).await?);
    }
    Ok(manifest)
}

fn in_code<T>(id: &str, result: Result<T>) -> Result<T> {
    result.context("in CodeUri").with_context(|| format!("in resource {id}"))
}

/// The programs in the folder of `sam build`: `FUNCTION/bootstrap`, by the function's logical id.
pub(crate) fn built(folder: &Path, functions: &BTreeMap<String, Function>) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let programs = functions.iter().map(|(id, function)| {
        let program = folder.join(id).join(&function.handler);
        let program = program
            .canonicalize()
            .with_context(|| format!("{} is not there; run `sam build` for this processor first", program.display()))?;
        let code = function.code.canonicalize();
        let code = code.with_context(|| format!("{} is not there", function.code.display()));
        Ok((in_code(id, code)?, program))
    });
    programs.collect()
}

/// Of `cargo metadata`.
#[derive(Debug, Deserialize)]
struct Workspace {
    workspace_root: PathBuf,
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    manifest_path: PathBuf,
}

impl Workspace {
    fn package(&self, manifest: &Path) -> Option<&Package> {
        self.packages.iter().find(|package| package.manifest_path == manifest)
    }
}

/// Of `cargo build`.
#[derive(Debug, Deserialize)]
struct Artifact {
    manifest_path: PathBuf,
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

async fn describe(manifest: &Path) -> Result<Workspace> {
    let mut command = cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(manifest);
    let output = output(command).await?;
    ensure!(output.status.success(), "cargo cannot read {}", manifest.display());
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn build_packages(workspace: &Workspace, manifests: &[&Path]) -> Result<Vec<Artifact>> {
    let mut command = cargo();
    command
        .args(["build", "--message-format", "json-render-diagnostics", "--manifest-path"])
        .arg(workspace.workspace_root.join("Cargo.toml"));
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    for package in manifests.iter().filter_map(|manifest| workspace.package(manifest)) {
        // By id, not by name: names need not be unique over a dependency tree.
        command.args(["--package", &package.id]);
    }
    tracing::info!(
        "building {} functions: a second build, after that of the local stack; only what has changed is compiled",
        manifests.len()
    );
    let started = Instant::now();
    let output = output(command).await?;
    ensure!(output.status.success(), "the functions do not build");
    tracing::info!("built after {} s", started.elapsed().as_secs());
    let messages =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
    let artifacts = messages.filter(|message| message["reason"] == "compiler-artifact");
    Ok(artifacts.filter_map(|message| serde_json::from_value(message).ok()).collect())
}

fn program(manifest: &Path, artifacts: &[Artifact]) -> Result<PathBuf> {
    let own = artifacts
        .iter()
        .filter(|artifact| artifact.manifest_path == manifest && artifact.target.kind.iter().any(|kind| kind == "bin"));
    let programs: Vec<(&str, &PathBuf)> =
        own.filter_map(|artifact| Some((artifact.target.name.as_str(), artifact.executable.as_ref()?))).collect();
    match programs.as_slice() {
        [(_, program)] => Ok((*program).clone()),
        [] => bail!("the package {} has no program", manifest.display()),
        // With several, Lambda's name for the entry point decides.
        several => match several.iter().find(|(name, _)| *name == "bootstrap") {
            Some((_, program)) => Ok((*program).clone()),
            None => bail!("the package {} has several programs and none is named bootstrap", manifest.display()),
        },
    }
}

/// Runs cargo and returns its standard output; its progress and errors go to our standard error.
async fn output(mut command: Command) -> Result<Output> {
    let child = command.stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    Ok(child.wait_with_output().await?)
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // `cargo run` describes this package to us; handed on, that would look like a change to build scripts that watch
    // it.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
