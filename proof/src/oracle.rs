//! The oracle: records the applied effects and checks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use idempotency::sequence::Gap;
use idempotency::telemetry::metrics::{Metric, Metrics};
use parking_lot::{Mutex, MutexGuard};

/// How often each event occurred.
pub(crate) type Occurred = BTreeMap<&'static str, u64>;

/// Records what happens in a schedule. A clone is another handle.
#[derive(Clone, Default)]
pub(crate) struct Oracle(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// The names of the effects, in the order in which they were applied.
    applied: Vec<String>,
    broken: Vec<String>,
    occurred: Occurred,
    lines: Vec<String>,
    /// Whether writes are logged as well.
    is_verbose: bool,
}

impl Oracle {
    /// An effect was applied.
    pub(crate) fn applied(&self, name: &str) {
        self.log(format!("applied {name}"));
        self.entries().applied.push(name.to_owned());
    }

    /// The number of applied effects.
    pub(crate) fn count_applied(&self) -> usize {
        self.entries().applied.len()
    }

    /// The numbers of the effects of a group, a device or a topic's life, in the order in which they were applied.
    pub(crate) fn numbers(&self, of: &str) -> Vec<u64> {
        let log = self.entries();
        let own = log.applied.iter().filter_map(|name| name.strip_prefix(of)?.strip_prefix(' ')?.parse().ok());
        own.collect()
    }

    /// Expects that a device's messages passed the gate once and in order, and that no message that is done was lost.
    pub(crate) fn expect_in_sequence(&self, gap: Gap, of: &str, mut done: impl Iterator<Item = u64>) {
        let numbers = self.numbers(of);
        let last = numbers.last().copied().unwrap_or(0);
        match gap {
            Gap::Hold => {
                let expected = (1..=last).eq(numbers.iter().copied());
                self.expect(expected, "a device's effects once, in order and without a gap");
                self.expect(done.all(|number| numbers.contains(&number)), "G9: a device's message was lost");
            }
            Gap::Accept => {
                let grows = numbers.is_sorted_by(|one, other| one < other);
                self.expect(grows, "a device's effects once and in order");
                self.expect(done.all(|number| number <= last), "G9: a device's latest message was lost");
            }
        }
    }

    /// Checks a promise.
    pub(crate) fn expect(&self, holds: bool, promise: &str) {
        if !holds {
            self.entries().broken.push(promise.to_owned());
        }
    }

    /// Counts an event that must occur in some schedules; otherwise nothing is proved about it.
    pub(crate) fn note(&self, what: &'static str) {
        *self.entries().occurred.entry(what).or_default() += 1;
    }

    /// How often this event occurred.
    pub(crate) fn count_of(&self, what: &str) -> u64 {
        self.entries().occurred.get(what).copied().unwrap_or(0)
    }

    /// Logs writes as well from now on.
    pub(crate) fn be_verbose(&self) {
        self.entries().is_verbose = true;
    }

    /// Logs a write, if that is enabled.
    pub(crate) fn wrote(&self, what: impl FnOnce() -> String) {
        if self.entries().is_verbose {
            self.log(what());
        }
    }

    /// Adds a line to the log of the schedule.
    pub(crate) fn log(&self, line: String) {
        self.entries().lines.push(line);
    }

    /// How often each event occurred.
    pub(crate) fn occurred(&self) -> Occurred {
        self.entries().occurred.clone()
    }

    /// The log, or the broken promise with the log until then.
    pub(crate) fn verdict(&self) -> Result<Vec<String>, String> {
        let mut log = self.entries();
        let lines = std::mem::take(&mut log.lines);
        match log.broken.is_empty() {
            true => Ok(lines),
            false => Err(format!("{}\n{}", log.broken.join("\n"), lines.join("\n"))),
        }
    }

    fn entries(&self) -> MutexGuard<'_, Log> {
        self.0.lock()
    }
}

impl Metrics for Oracle {
    fn count(&self, metric: Metric, _: &str) {
        self.note(metric.name());
    }

    fn duration(&self, metric: Metric, _: &str, _: Duration) {
        self.note(metric.name());
    }

    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}
