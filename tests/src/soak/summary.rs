//! The results of a soak test, in a file for people and for later runs.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::{Context, Result};
use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};

use crate::workspace;

const DONE: &str = "ok";
const BROKEN: &str = "BROKEN";

/// The figures that have a total.
const TOTALS: [&str; 6] = ["states", "schedules", "kills", "in the middle of an event", "freezes", "payments"];

/// One line for each start, each finished part, and each end.
pub struct Summary {
    file: PathBuf,
    lines: Vec<String>,
}

impl Summary {
    /// Reads the file of an earlier run.
    ///
    /// # Errors
    /// If the file is not a summary, or cannot be read.
    pub fn open(file: &Path) -> Result<Self> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
        };
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let is_ours = lines.first().is_none_or(|line| line.starts_with("begun "));
        anyhow::ensure!(is_ours, "{} is not a summary of this program", file.display());
        Ok(Self { file: file.to_owned(), lines })
    }

    /// Whether a part is finished and broke no promise.
    pub fn is_done(&self, part: &str) -> bool {
        self.done().any(|(name, _)| name == part)
    }

    /// Adds the time, the commit and the machine.
    pub(super) fn begin(&mut self) -> Result<()> {
        let line = format!("begun {}, commit {}, {} build, {}", now(), commit(), build(), machine());
        self.add(line)
    }

    /// Adds the result of a part.
    pub(super) fn write(&mut self, part: &str, result: &Result<String, String>) -> Result<()> {
        self.add(match result {
            Ok(figures) => format!("{part} | {DONE} | {figures}"),
            Err(broken) => format!("{part} | {BROKEN} | {}", broken.split_whitespace().collect::<Vec<_>>().join(" ")),
        })
    }

    /// Adds the totals. Returns whether every promise held.
    pub(super) fn end(&mut self) -> Result<bool> {
        let broken: Vec<&str> = self.lines.iter().filter_map(|line| self.broken(line)).collect();
        let verdict = if broken.is_empty() { "nothing was broken".to_owned() } else { format!("BROKEN: {broken:?}") };
        let totals = TOTALS.map(|figure| format!("{} {figure}", self.total(figure))).join(", ");
        let kept = broken.is_empty();
        self.add(format!("ended {}: {} parts, {totals}; {verdict}", now(), self.done().count()))?;
        Ok(kept)
    }

    /// The part that broke a promise according to a line, unless a later run of it broke none.
    fn broken<'l>(&self, line: &'l str) -> Option<&'l str> {
        let part = line.split_once(" | ").filter(|(_, result)| result.starts_with(BROKEN))?.0;
        (!self.is_done(part)).then_some(part)
    }

    fn done(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .filter_map(|line| line.split_once(" | ")?.1.strip_prefix(DONE).map(|figures| (part(line), figures)))
    }

    fn total(&self, figure: &str) -> u64 {
        let figures = self.done().flat_map(|(_, figures)| figures.trim_start_matches(" | ").split(", "));
        figures.filter_map(|text| text.strip_suffix(figure)?.trim().parse::<u64>().ok()).sum()
    }

    fn add(&mut self, line: String) -> Result<()> {
        let file = OpenOptions::new().create(true).append(true).open(&self.file);
        file.and_then(|mut file| writeln!(file, "{line}"))
            .with_context(|| format!("cannot write {}", self.file.display()))?;
        println!("{line}");
        self.lines.push(line);
        Ok(())
    }
}

fn part(line: &str) -> &str {
    line.split(" | ").next().unwrap_or_default()
}

fn now() -> String {
    let now = DateTime::from_secs(DateTime::from(SystemTime::now()).secs());
    now.fmt(DateTimeFormat::DateTime).unwrap_or_default()
}

/// The commit, and whether there are uncommitted changes.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(workspace()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|changes| changes.is_empty());
    if is_clean { commit } else { format!("{commit} with changes") }
}

const fn build() -> &'static str {
    if cfg!(debug_assertions) { "development" } else { "release" }
}

fn machine() -> String {
    let first = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':'));
        line.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (model, memory) = (first("/proc/cpuinfo", "model name"), first("/proc/meminfo", "MemTotal"));
    format!("{processors} processors {model}, {memory} of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_part_does_not_run_again_and_a_broken_one_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("summary.txt");
        let mut summary = Summary::open(&file).expect("new");
        summary.begin().expect("written");
        summary.write("model: a", &Ok("12 states, 30 steps, 1 s".to_owned())).expect("written");
        summary.write("kills: b", &Err("seed 7:\nleft: 1".to_owned())).expect("written");
        assert!(!summary.end().expect("written"));

        let mut summary = Summary::open(&file).expect("ours");
        assert!(summary.is_done("model: a") && !summary.is_done("kills: b") && !summary.is_done("model"));
        summary.write("kills: b", &Ok("5 kills, 2 in the middle of an event, 1 freezes".to_owned())).expect("written");
        assert!(summary.end().expect("written"), "it was kept the second time");
        let text = std::fs::read_to_string(&file).expect("written");
        assert!(text.contains("kills: b | BROKEN | seed 7: left: 1\n"), "{text}");
        let last = text.lines().last().expect("a line");
        assert!(
            last.contains(": 2 parts, 12 states, 0 schedules, 5 kills, 2 in the middle of an event, 1 freezes"),
            "{last}"
        );
    }

    #[test]
    fn another_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("Cargo.toml");
        std::fs::write(&file, "[package]\n").expect("written");
        assert!(Summary::open(&file).is_err());
    }
}
