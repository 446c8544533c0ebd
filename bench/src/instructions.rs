//! Instruction counts of the hot paths, and their committed baseline.
//!
//! A path runs under valgrind a few times, and in a second process many more times; the difference gives the cost of
//! one run, without the start of the process. Unlike times, the counts do not depend on the load of the machine. They
//! do depend on the compiler, so the baseline names its compiler.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::subject::{first_line, workspace};

/// The difference between the two processes' numbers of runs.
const RUNS: u64 = 200;

/// The runs that come first in both processes, to fill caches and connections.
const WARM_UP: u64 = 20;

/// The increase over the baseline at which the check fails.
const TOLERANCE_PERCENT: u64 = 3;

/// The increase in instructions that is always allowed: the shortest path has less than a hundred, and a few depend on
/// the linker's inlining.
const TOLERANCE: u64 = 10;

/// The maximum cost of a path with its own keys, comparison and trace, in per cent of the same path under a plain key.
const OWN_KEYS_PERCENT: u64 = 110;

/// The suffix of the name of a path that is measured a second time under a plain key: one pointer, the whole body
/// compared, no trace.
const PLAIN_KEY: &str = " under a plain key";

#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    rustc: String,
    /// The instructions of one run, by path.
    instructions: BTreeMap<String, u64>,
}

/// Counts all paths and compares them with the baseline, or makes them the baseline.
///
/// # Errors
/// When a path costs more than 3 % more than in the baseline, or with its own keys more than 1.10 of the same path
/// under a plain key, or cannot be counted.
pub fn check(update: bool) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json");
    let program = build()?;
    let mut counted = Baseline { rustc: first_line("rustc", &["--version"])?, instructions: BTreeMap::new() };
    for path in paths(&program)? {
        eprintln!("{path} …");
        counted.instructions.insert(path.clone(), count(&program, &path)?);
    }
    if update {
        fs::write(&file, serde_json::to_string_pretty(&counted)? + "\n")?;
    }
    let file = fs::read(&file).context("there is no baseline yet; `--update` creates one")?;
    let baseline: Baseline = serde_json::from_slice(&file)?;
    if baseline.rustc != counted.rustc {
        eprintln!("the baseline was made with another compiler, {}, which may explain differences", baseline.rustc);
    }
    let worse = compare(&baseline, &counted);
    ensure!(worse.is_empty(), "more than {TOLERANCE_PERCENT} % above the baseline: {}", worse.join(", "));
    let expensive = with_expensive_keys(&counted.instructions);
    ensure!(expensive.is_empty(), "above {OWN_KEYS_PERCENT} % of a plain key: {}", expensive.join(", "));
    Ok(())
}

/// The paths whose own keys cost too much.
fn with_expensive_keys(counted: &BTreeMap<String, u64>) -> Vec<String> {
    let pairs = counted.iter().filter_map(|(path, plain)| {
        let path = path.strip_suffix(PLAIN_KEY)?;
        Some((path, *counted.get(path)?, *plain))
    });
    pairs.filter(|(_, own, plain)| own * 100 > plain * OWN_KEYS_PERCENT).map(|(path, ..)| path.to_owned()).collect()
}

/// Prints all paths next to the baseline, and returns those that cost too much.
fn compare(baseline: &Baseline, counted: &Baseline) -> Vec<String> {
    println!("| path | instructions | baseline |\n|---|---:|---:|");
    let mut worse = Vec::new();
    for (path, count) in &counted.instructions {
        let before = baseline.instructions.get(path);
        println!("| {path} | {count} | {} |", before.map_or("new".to_owned(), u64::to_string));
        if before.is_some_and(|before| is_worse(*before, *count)) {
            worse.push(path.clone());
        }
    }
    worse
}

const fn is_worse(before: u64, now: u64) -> bool {
    now > before + TOLERANCE && now * 100 > before * (100 + TOLERANCE_PERCENT)
}

/// The program that runs one path a number of times.
fn build() -> Result<PathBuf> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(workspace()).args(["build", "--release", "--package", "subjects", "--example", "hot_paths"]);
    ensure!(cargo.status().context("cannot run cargo")?.success(), "the hot paths do not build");
    Ok(workspace().join("target/release/examples/hot_paths"))
}

fn paths(program: &Path) -> Result<Vec<String>> {
    let output = Command::new(program).output()?;
    ensure!(output.status.success(), "{} does not list its paths", program.display());
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

fn count(program: &Path, path: &str) -> Result<u64> {
    let few = instructions(program, path, WARM_UP)?;
    let many = instructions(program, path, WARM_UP + RUNS)?;
    Ok(many.saturating_sub(few) / RUNS)
}

fn instructions(program: &Path, path: &str, runs: u64) -> Result<u64> {
    let file = std::env::temp_dir().join(format!("instructions-{}", std::process::id()));
    let status = Command::new("valgrind")
        .args(["--tool=cachegrind", "--cache-sim=no", "--quiet"])
        .arg(format!("--cachegrind-out-file={}", file.display()))
        .arg(program)
        .args([path, &runs.to_string()])
        .stdout(Stdio::null())
        .status()
        .context("cannot run valgrind; install it with the system's package manager")?;
    ensure!(status.success(), "{path} failed under valgrind: {status}");
    let summary = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    match summary.lines().find_map(|line| line.strip_prefix("summary:")) {
        Some(total) => Ok(total.trim().parse()?),
        None => bail!("valgrind wrote no summary for {path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_percent_more_is_still_allowed_and_one_instruction_beyond_is_not() {
        assert!(!is_worse(1000, 1030));
        assert!(is_worse(1000, 1031));
        assert!(!is_worse(77, 87) && is_worse(77, 88), "of a short path ten more");
    }

    #[test]
    fn own_keys_may_cost_a_tenth_more_than_a_plain_key() {
        let expensive = |own| {
            let counted = [("a", own), ("a under a plain key", 1000), ("b", 9999), ("c under a plain key", 1)];
            with_expensive_keys(&counted.map(|(path, count)| (path.to_owned(), count)).into())
        };
        assert_eq!(expensive(1100), [""; 0]);
        assert_eq!(expensive(1101), ["a"]);
    }
}
