//! The oracle: records the applied effects and checks them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use idempotency::sequence::Gap;
use idempotency::telemetry::metrics::{Metric, Metrics};
use parking_lot::{Mutex, MutexGuard};

/// Records what happens in a schedule. A clone is another handle.
#[derive(Clone, Default)]
pub(super) struct Oracle(Arc<Mutex<Log>>);

#[derive(Default)]
struct Log {
    /// The names of the effects, in the order in which they were applied.
    applied: Vec<String>,
    broken: Vec<String>,
    noted: BTreeMap<&'static str, u64>,
    told: Vec<String>,
    /// Whether writes are logged as well.
    is_verbose: bool,
}

/// How often each event occurred.
pub type Occurred = BTreeMap<&'static str, u64>;

impl Oracle {
    /// An effect was applied.
    pub(super) fn applied(&self, name: &str) {
        self.tell(format!("applied {name}"));
        self.log().applied.push(name.to_owned());
    }

    /// The number of applied effects.
    pub(super) fn count_applied(&self) -> usize {
        self.log().applied.len()
    }

    /// The numbers of the effects of a group, a device or a topic's life, in the order in which they were applied.
    pub(super) fn numbers(&self, of: &str) -> Vec<u64> {
        let log = self.log();
        let own = log.applied.iter().filter_map(|name| name.strip_prefix(of)?.strip_prefix(' ')?.parse().ok());
        own.collect()
    }

    /// Expects that a device's messages passed the gate once and in order, and that no message that is done was lost.
    pub(super) fn expect_in_sequence(&self, gap: Gap, of: &str, mut done: impl Iterator<Item = u64>) {
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
    pub(super) fn expect(&self, holds: bool, promise: &str) {
        if !holds {
            self.log().broken.push(promise.to_owned());
        }
    }

    /// Counts an event that must occur in some schedules; otherwise nothing is proved about it.
    pub(super) fn note(&self, what: &'static str) {
        *self.log().noted.entry(what).or_default() += 1;
    }

    /// How often this event occurred.
    pub(super) fn count_of(&self, what: &str) -> u64 {
        self.log().noted.get(what).copied().unwrap_or(0)
    }

    /// Logs writes as well from now on.
    pub(super) fn be_verbose(&self) {
        self.log().is_verbose = true;
    }

    /// Logs a write, if that is enabled.
    pub(super) fn wrote(&self, what: impl FnOnce() -> String) {
        if self.log().is_verbose {
            self.tell(what());
        }
    }

    /// Adds a line to the log of the schedule.
    pub(super) fn tell(&self, what: String) {
        self.log().told.push(what);
    }

    /// How often each event occurred.
    pub(super) fn occurred(&self) -> Occurred {
        self.log().noted.clone()
    }

    /// The log, or the broken promise with the log until then.
    pub(super) fn verdict(&self) -> Result<Vec<String>, String> {
        let mut log = self.log();
        let told = std::mem::take(&mut log.told);
        match log.broken.is_empty() {
            true => Ok(told),
            false => Err(format!("{}\n{}", log.broken.join("\n"), told.join("\n"))),
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
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
