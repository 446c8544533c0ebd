//! The plots of a run, for `docs/performance.md`.

use crate::measurement::Row;
use crate::scale::plot::{Line, Plot};
use crate::sizes::AtSize;

/// All plots of what was measured, by file name.
#[must_use]
pub fn all(cases: &[Row], sizes: &[AtSize]) -> Vec<(String, String)> {
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

/// Time on the processor by the number of messages in a batch: the first runs.
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
    let mut lines: Vec<Line> = Vec::new();
    for name in names {
        if lines.iter().any(|line| line.name == name) {
            continue;
        }
        lines.push(Line { name: name.to_owned(), points: points(name) });
    }
    lines.retain(|line| !line.points.is_empty());
    lines
}

fn plot(title: &str, x: &str, y: &str, lines: Vec<Line>) -> String {
    Plot { title: title.to_owned(), x: x.to_owned(), y: y.to_owned(), lines }.svg()
}
