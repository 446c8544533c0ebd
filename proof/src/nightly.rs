//! More of the same, for a night: larger models, and more schedules.
//!
//! What is done is written into a summary, a line for each part, and is not done again when the run is resumed.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use crate::model::{Settings, check};
use crate::simulation::{Coverage, sweep};

const SCHEDULES: u64 = 10_000_000;
const PART: u64 = 100_000;

/// Does what the summary does not say is done.
///
/// # Errors
/// If the summary cannot be read or written, or a promise was broken.
pub fn run(summary: &Path) -> io::Result<()> {
    let done = match std::fs::read_to_string(summary) {
        Ok(done) => done,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let is_done = |part: &str| done.lines().any(|line| line.split(" | ").next() == Some(part));
    for settings in Settings::nightly() {
        let part = format!("model {}", settings.name);
        if !is_done(&part) {
            write_down(summary, &part, &model(settings)?)?;
        }
    }
    for first in (0..SCHEDULES).step_by(PART as usize) {
        let part = format!("schedules {first} to {}", first + PART - 1);
        if !is_done(&part) {
            write_down(summary, &part, &schedules(first)?)?;
        }
    }
    Ok(())
}

fn model(settings: Settings) -> io::Result<String> {
    let checked = check(settings);
    if checked.broken.is_empty() {
        return Ok(format!("{} states, {} steps, {:.0} s", checked.states, checked.steps, checked.took.as_secs_f64()));
    }
    Err(io::Error::other(format!("{}: {:#?}", checked.settings.name, checked.broken)))
}

fn schedules(first: u64) -> io::Result<String> {
    let started = Instant::now();
    match sweep(first..first + PART, &Arc::<Coverage>::default(), None) {
        None => Ok(format!("{:.0} per second", PART as f64 / started.elapsed().as_secs_f64())),
        Some((seed, broken)) => Err(io::Error::other(format!("seed {seed}: {broken}"))),
    }
}

fn write_down(summary: &Path, part: &str, result: &str) -> io::Result<()> {
    let line = format!("{part} | {result}\n");
    print!("{line}");
    OpenOptions::new().create(true).append(true).open(summary)?.write_all(line.as_bytes())
}
