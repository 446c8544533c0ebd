//! The report of a run: measures the chosen parts, prints them and writes them to files.

use std::fmt::Write;
use std::fs;

use anyhow::Result;
use serde::Serialize;

use crate::cold::{self, Start};
use crate::kind::Kind;
use crate::machine::Machine;
use crate::measurement::{Row, measure};
use crate::memory::{self, Memory};
use crate::options::{Choice, Part};
use crate::plots;
use crate::sizes::{self, AtSize, CaseAtSize};
use crate::subject::{self, Subject};
use crate::unit_costs::{self, UnitCost};

/// The results of a run.
#[derive(Debug, Serialize)]
struct Results {
    machine: Machine,
    subjects: Vec<Deployed>,
    cases: Vec<Row>,
    starts: Vec<Start>,
    memory: Vec<Memory>,
    units: Vec<UnitCost>,
    sizes: Vec<AtSize>,
}

/// A subject as it would be deployed.
#[derive(Debug, Serialize)]
struct Deployed {
    name: String,
    version: String,
    bytes: u64,
}

/// Measures the chosen parts, prints the results and writes them to files.
///
/// # Errors
/// When a subject does not behave as expected, or a file cannot be written.
pub async fn run(choice: &Choice) -> Result<()> {
    let machine = Machine::this()?;
    subject::build()?;
    let subjects = installed(&choice.subjects)?;
    let all: Vec<Subject> = subjects.iter().map(|(_, subject)| subject.clone()).collect();
    let mut results = Results {
        machine,
        subjects: all.iter().map(Deployed::of).collect(),
        cases: Vec::new(),
        starts: Vec::new(),
        memory: Vec::new(),
        units: Vec::new(),
        sizes: Vec::new(),
    };
    let protected: Vec<Subject> =
        subjects.iter().filter(|(kind, _)| *kind != Kind::None).map(|(_, subject)| subject.clone()).collect();
    if choice.parts.contains(&Part::Cases) {
        results.cases = cases(&subjects, choice).await?;
    }
    if choice.parts.contains(&Part::Cold) {
        eprintln!("{} starts …", choice.starts);
        results.starts = cold::starts(&all, choice.starts).await?;
    }
    if choice.parts.contains(&Part::Memory) {
        for subject in &all {
            eprintln!("memory, {} …", subject.name);
            results.memory.push(memory::of(subject, choice.memory_invocations).await?);
        }
    }
    if choice.parts.contains(&Part::Units) {
        for subject in &protected {
            eprintln!("units, {} …", subject.name);
            results.units.extend(unit_costs::of(subject).await?);
        }
    }
    if choice.parts.contains(&Part::Sizes) {
        results.sizes = sizes::measure(&subjects, choice).await?;
    }
    let markdown = results.markdown(choice)?;
    fs::create_dir_all(&choice.output)?;
    fs::write(choice.output.join("results.md"), &markdown)?;
    plots::write(&results.cases, &results.sizes, choice.plots.as_ref().unwrap_or(&choice.output))?;
    fs::write(choice.output.join("results.json"), serde_json::to_string_pretty(&results)?)?;
    println!("{markdown}");
    Ok(())
}

fn installed(kinds: &[Kind]) -> Result<Vec<(Kind, Subject)>> {
    let mut subjects = Vec::new();
    for kind in kinds {
        match kind.subject()? {
            Some(subject) => subjects.push((*kind, subject)),
            None => eprintln!("{kind} is not installed and left out; `bench peers install` installs it"),
        }
    }
    Ok(subjects)
}

async fn cases(subjects: &[(Kind, Subject)], choice: &Choice) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let count = choice.delays_ms.len() * choice.cases.len();
    let pairs = choice.delays_ms.iter().flat_map(|delay| choice.cases.iter().map(move |case| (*delay, *case)));
    for (number, (delay_ms, case)) in pairs.enumerate() {
        eprintln!("{}/{count} {case}, {delay_ms} ms …", number + 1);
        let meant: Vec<&Subject> =
            subjects.iter().filter(|(kind, _)| case.is_for(*kind)).map(|(_, subject)| subject).collect();
        rows.extend(measure(case, delay_ms, &meant, choice).await?);
    }
    Ok(rows)
}

impl Deployed {
    fn of(subject: &Subject) -> Self {
        Self { name: subject.name.clone(), version: subject.version.clone(), bytes: subject.deployed_bytes }
    }
}

impl Results {
    fn markdown(&self, choice: &Choice) -> Result<String> {
        let mut text = String::new();
        writeln!(text, "{}\n", self.machine.shown())?;
        self.write_subjects(&mut text)?;
        for delay_ms in &choice.delays_ms {
            let rows: Vec<&Row> = self.cases.iter().filter(|row| row.delay_ms == *delay_ms).collect();
            if !rows.is_empty() {
                writeln!(text, "\n## {delay_ms} ms for each request to the store\n")?;
                write_cases(&mut text, &rows)?;
                writeln!(text, "\nOthers by ours: time on the processor, and median time\n")?;
                write_ratios(&mut text, &rows)?;
            }
        }
        self.write_starts(&mut text)?;
        self.write_memory(&mut text)?;
        self.write_units(&mut text)?;
        self.write_sizes(&mut text)?;
        Ok(text)
    }

    fn write_subjects(&self, text: &mut String) -> Result<()> {
        writeln!(text, "| subject | version | deployed |\n|---|---|---:|")?;
        for Deployed { name, version, bytes } in &self.subjects {
            writeln!(text, "| {name} | {version} | {} |", megabytes(*bytes))?;
        }
        Ok(())
    }

    fn write_starts(&self, text: &mut String) -> Result<()> {
        if self.starts.is_empty() {
            return Ok(());
        }
        writeln!(text, "\n## Starts\n\n| subject | spawn to first poll | spawn to first answer |\n|---|---:|---:|")?;
        for Start { subject, first_poll, first_answer } in &self.starts {
            let (poll, answer) = (first_poll.as_secs_f64() * 1e3, first_answer.as_secs_f64() * 1e3);
            writeln!(text, "| {subject} | {poll:.1} ms | {answer:.1} ms |")?;
        }
        Ok(())
    }

    fn write_memory(&self, text: &mut String) -> Result<()> {
        if self.memory.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n## Peak memory\n\n| subject | started | after a tenth | after all invocations |\n|---|---:|---:|---:|"
        )?;
        for Memory { subject, started_bytes, early_bytes, late_bytes } in &self.memory {
            let [started, early, late] = [*started_bytes, *early_bytes, *late_bytes].map(megabytes);
            writeln!(text, "| {subject} | {started} | {early} | {late} |")?;
        }
        Ok(())
    }

    fn write_units(&self, text: &mut String) -> Result<()> {
        if self.units.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n## Write and read units\n\n| subject | answer | outcome | requests | write units | read units |\n\
             |---|---:|---|---:|---:|---:|"
        )?;
        for UnitCost { subject, outcome, answer_bytes, traffic } in &self.units {
            write!(text, "| {subject} | {answer_bytes} | {outcome} | ")?;
            match traffic {
                Some(traffic) => {
                    writeln!(text, "{} | {} | {} |", traffic.requests, traffic.write_units, traffic.read_units)?
                }
                None => writeln!(text, "fails | | |")?,
            }
        }
        Ok(())
    }
}

impl Results {
    fn write_sizes(&self, text: &mut String) -> Result<()> {
        if self.sizes.is_empty() {
            return Ok(());
        }
        writeln!(
            text,
            "\n## At Lambda's sizes, with TLS and 5 ms for each request to the store\n\n| MB | subject | first answer, ms | case | p50 ms | \
             p99 ms | USD per million |\n|---:|---|---:|---|---:|---:|---:|"
        )?;
        for AtSize { subject, megabytes, first_answer_ms, cases } in &self.sizes {
            for CaseAtSize { case, p50_ms, p99_ms, usd_per_million } in cases {
                writeln!(
                    text,
                    "| {megabytes} | {subject} | {first_answer_ms:.0} | {case} | {p50_ms:.1} | {p99_ms:.1} | \
                     {usd_per_million:.3} |"
                )?;
            }
        }
        Ok(())
    }
}

fn write_cases(text: &mut String, rows: &[&Row]) -> Result<()> {
    writeln!(
        text,
        "| case | subject | p50 ms | p99 ms | CPU s per 1,000 operations | requests per operation | sent bytes | \
         received bytes |\n|---|---|---:|---:|---:|---:|---:|---:|"
    )?;
    for row in rows {
        let Row { case, subject, cpu_s_per_1000, requests, sent_bytes, received_bytes, .. } = row;
        let (p50, p99) = (row.p50_us / 1e3, row.p99_us / 1e3);
        writeln!(
            text,
            "| {case} | {subject} | {p50:.2} | {p99:.2} | {cpu_s_per_1000:.3} | {requests:.2} | {sent_bytes:.0} | \
             {received_bytes:.0} |"
        )?;
    }
    Ok(())
}

fn write_ratios(text: &mut String, rows: &[&Row]) -> Result<()> {
    let mut others: Vec<&str> = rows.iter().map(|row| row.subject.as_str()).filter(|name| *name != "ours").collect();
    others.sort_unstable();
    others.dedup();
    writeln!(text, "| case | {} |\n|---|{}", others.join(" | "), "---:|".repeat(others.len()))?;
    for ours in rows.iter().filter(|row| row.subject == "ours") {
        write!(text, "| {} |", ours.case)?;
        for other in &others {
            match rows.iter().find(|row| row.case == ours.case && row.subject == *other) {
                Some(row) => {
                    let (cpu, time) = (row.cpu_s_per_1000 / ours.cpu_s_per_1000, row.p50_us / ours.p50_us);
                    write!(text, " {cpu:.2} × CPU, {time:.2} × p50 |")?;
                }
                None => write!(text, " |")?,
            }
        }
        writeln!(text)?;
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
