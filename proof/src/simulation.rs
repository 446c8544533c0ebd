//! The real engine in a simulated environment: a store that fails, delays and repeats, an external system that does the
//! same, clocks that differ by up to ten minutes, and processes that die or freeze wherever they wait.
//!
//! Everything follows from a seed: time is tokio's paused time, the random source is seeded, and everything runs on one
//! thread. The counts are independent of the records: how often an effect was applied, what was charged, and what each
//! caller received.

mod breakage;
mod dice;
mod oracle;
mod process;
mod provider;
mod scenario;
mod store;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use idempotency::telemetry::metrics::{Metric, Metrics};
use parking_lot::Mutex;

use crate::backend::{Schedules, backend};

pub use breakage::Breakage;
pub use scenario::Scenario;

/// How often each event of the engine occurred, over all schedules.
#[derive(Default)]
pub struct Coverage {
    events: [AtomicU64; EVENTS.len()],
}

/// The events that must occur; otherwise the simulation proves nothing about them.
pub const EVENTS: [Metric; 13] = [
    Metric::Executed,
    Metric::Replayed,
    Metric::InProgress,
    Metric::Mismatch,
    Metric::Takeover,
    Metric::WaitMs,
    Metric::Fenced,
    Metric::OwnWriteRecognised,
    Metric::UnknownEntered,
    Metric::UnknownHappened,
    Metric::UnknownRefused,
    Metric::UnknownPrevented,
    Metric::CommitFailed,
];

impl Coverage {
    /// How often an event occurred.
    pub fn count(&self, event: Metric) -> u64 {
        let index = EVENTS.iter().position(|other| *other == event);
        index.map_or(0, |index| self.events[index].load(Ordering::Relaxed))
    }
}

#[derive(Clone)]
struct Counting(Arc<Coverage>);

impl Metrics for Counting {
    fn count(&self, metric: Metric, _: &str) {
        if let Some(index) = EVENTS.iter().position(|event| *event == metric) {
            self.0.events[index].fetch_add(1, Ordering::Relaxed);
        }
    }

    fn duration(&self, metric: Metric, operation: &str, _: Duration) {
        self.count(metric, operation);
    }

    fn gauge(&self, _: Metric, _: f64) {}
    fn flush(&self) {}
}

/// Runs schedules, one for each seed, on one thread.
pub struct Simulation {
    runtime: tokio::runtime::Runtime,
    coverage: Arc<Coverage>,
    breakage: Option<Breakage>,
    on: Option<Schedules>,
}

impl Simulation {
    /// Creates a simulation of an intact environment or of one with a deliberate breakage.
    ///
    /// # Panics
    /// If no runtime can be created.
    pub fn new(coverage: Arc<Coverage>, breakage: Option<Breakage>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime"), coverage, breakage, on: None }
    }

    /// Keeps the records on a real server instead of in memory.
    #[must_use]
    pub fn on(self, server: &Schedules) -> Self {
        Self { on: Some(server.clone()), ..self }
    }

    /// Runs the schedule of a seed. Returns what every caller received.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(&self, seed: u64) -> Result<Vec<String>, String> {
        self.schedule(seed, false)
    }

    /// Runs the schedule of a seed. Returns what every caller received, and every write.
    ///
    /// # Errors
    /// The broken promise.
    pub fn replay(&self, seed: u64) -> Result<Vec<String>, String> {
        self.schedule(seed, true)
    }

    fn schedule(&self, seed: u64, is_verbose: bool) -> Result<Vec<String>, String> {
        let (metrics, kept) = (Counting(Arc::clone(&self.coverage)), backend(self.on.as_ref()));
        self.runtime.block_on(scenario::run(seed, kept, metrics, self.breakage, is_verbose))
    }
}

/// Runs the schedules of many seeds on all processors. Returns the first seed that breaks a promise, and the promise.
pub fn sweep(
    seeds: std::ops::Range<u64>,
    coverage: &Arc<Coverage>,
    breakage: Option<Breakage>,
) -> Option<(u64, String)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(seeds.start);
    let found = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let simulation = Simulation::new(Arc::clone(coverage), breakage);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    if let Err(broken) = simulation.run(seed) {
                        next.store(seeds.end, Ordering::Relaxed);
                        let mut found = found.lock();
                        found.get_or_insert((seed, broken));
                    }
                }
            });
        }
    });
    found.into_inner()
}
