//! The plots of a run, for `docs/performance.md`.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::Deserialize;

use crate::kind::Kind;
use crate::measurement::Row;
use crate::scale::plot::{Line, Plot};
use crate::sizes::AtSize;

/// The results that a run has written.
#[derive(Deserialize)]
struct Results {
    cases: Vec<Row>,
    sizes: Vec<AtSize>,
}

/// Redraws the plots of an earlier run.
///
/// # Errors
/// When its results cannot be read, or the folder cannot be written.
pub fn draw_again(results: &Path, folder: &Path) -> Result<()> {
    let file = File::open(results).with_context(|| format!("cannot open {}", results.display()))?;
    let results: Results =
        serde_json::from_reader(file).with_context(|| format!("not the results of a run: {}", results.display()))?;
    write(&results.cases, &results.sizes, folder)
}

/// Writes all plots of the measurements into a folder.
///
/// # Errors
/// When it cannot be written.
pub fn write(cases: &[Row], sizes: &[AtSize], folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, svg) in all(cases, sizes) {
        let file = folder.join(name);
        fs::write(&file, svg).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// All plots, by file name.
fn all(cases: &[Row], sizes: &[AtSize]) -> Vec<(String, String)> {
    let mut plots = Vec::new();
    if !sizes.is_empty() {
        plots.push(("first-answer.svg".to_owned(), starts(sizes)));
        for case in ["first-run", "batch-10"] {
            plots.push((format!("{case}-by-size.svg"), by_size(case, sizes)));
        }
    }
    if cases.iter().any(|row| row.delay_ms == 0) {
        plots.push(("processor.svg".to_owned(), processor(cases)));
    }
    plots
}

fn starts(sizes: &[AtSize]) -> String {
    let points = |subject: &str| {
        let own = sizes.iter().filter(|row| row.subject == subject);
        own.map(|row| (f64::from(row.megabytes), row.first_answer_ms)).collect()
    };
    let lines = subjects(sizes.iter().map(|row| row.subject.as_str()), points);
    plot("From spawning the process to its first answer", "memory size, MB", "ms, median", lines)
}

fn by_size(case: &str, sizes: &[AtSize]) -> String {
    let points = |subject: &str| {
        let own = sizes.iter().filter(|row| row.subject == subject);
        let of_case = own.flat_map(|row| row.cases.iter().map(|of| (row.megabytes, of)));
        of_case.filter(|(_, of)| of.case == case).map(|(size, of)| (f64::from(size), of.p99_ms)).collect()
    };
    let lines = subjects(sizes.iter().map(|row| row.subject.as_str()), points);
    plot(&format!("{case}: 99th percentile"), "memory size, MB", "ms", lines)
}

/// The CPU time of first runs by the number of messages in a batch.
fn processor(cases: &[Row]) -> String {
    let points = |subject: &str| {
        let own = cases.iter().filter(|row| row.subject == subject && row.delay_ms == 0);
        own.filter(|row| ["single-write", "batch-10", "batch-100"].contains(&row.case.as_str()))
            .map(|row| (f64::from(u32::try_from(row.operations).unwrap_or(u32::MAX)), row.cpu_s_per_1000))
            .collect()
    };
    let lines = subjects(cases.iter().map(|row| row.subject.as_str()), points);
    plot("Time on the processor for 1,000 operations", "operations in an invocation", "s", lines)
}

/// A line for each subject that has points.
fn subjects<'a>(names: impl Iterator<Item = &'a str>, points: impl Fn(&str) -> Vec<(f64, f64)>) -> Vec<Line> {
    let names: BTreeSet<&str> = names.collect();
    let line = |(stroke, kind): (usize, &Kind)| {
        let name = kind.to_string();
        names.contains(name.as_str()).then(|| Line { points: points(&name), name, stroke })
    };
    let lines = Kind::value_variants().iter().enumerate().filter_map(line);
    lines.filter(|line| !line.points.is_empty()).collect()
}

fn plot(title: &str, x: &str, y: &str, lines: Vec<Line>) -> String {
    Plot { title: title.to_owned(), x: x.to_owned(), y: y.to_owned(), lines }.svg()
}
