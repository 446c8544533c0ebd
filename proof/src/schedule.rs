//! Runs schedules, and adds up their results.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use crate::backend::{Backend, Server};
use crate::oracle::{Occurred, Oracle};

/// Runs schedules one after another, in simulated time.
pub struct Runner {
    runtime: Runtime,
    server: Option<Server>,
}

impl Runner {
    /// With the records of each schedule in a memory store.
    ///
    /// # Panics
    /// If no runtime can be made.
    pub fn in_memory() -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        Self { runtime: runtime.expect("a runtime"), server: None }
    }

    /// With them on a real server.
    pub fn on(server: &Server) -> Self {
        Self { server: Some(server.clone()), ..Self::in_memory() }
    }

    /// An empty store.
    pub(crate) fn backend(&self) -> Backend {
        self.server.as_ref().map_or_else(Backend::in_memory, Server::backend)
    }

    pub(crate) fn run<F: Future>(&self, schedule: F) -> F::Output {
        self.runtime.block_on(schedule)
    }
}

/// The result of running schedules.
#[derive(Debug, Default)]
pub struct Summary {
    /// The number of schedules.
    pub schedules: u64,
    /// How often each event occurred.
    pub occurred: Occurred,
    /// The first schedule that broke a promise: the variables that replay it, and what was broken.
    pub broken: Option<(String, String)>,
}

impl Summary {
    /// The result of a schedule.
    pub(crate) fn of(oracle: &Oracle, replay: impl FnOnce() -> String) -> Self {
        let broken = oracle.verdict().err().map(|broken| (replay(), broken));
        Self { schedules: 1, occurred: oracle.occurred(), broken }
    }

    /// Adds the result of other schedules.
    pub fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        other.occurred.into_iter().for_each(|(what, count)| *self.occurred.entry(what).or_default() += count);
        self.broken = self.broken.take().or(other.broken);
    }

    /// The result, unless a promise was broken.
    ///
    /// # Errors
    /// The command that replays the first schedule that broke a promise, by this test, and what was broken.
    pub fn unbroken(self, test: &str) -> Result<Self, String> {
        match &self.broken {
            None => Ok(self),
            Some((replay, broken)) => {
                Err(format!("replay with: {replay} cargo test -p proof --test {test} replay -- --nocapture\n{broken}"))
            }
        }
    }

    /// Expects that each of these events occurred.
    ///
    /// # Panics
    /// If one did not: then nothing is proved about it.
    pub fn expect(&self, events: &[&str]) {
        for event in events {
            let count = self.occurred.get(event).copied().unwrap_or(0);
            println!("{event} occurred {count} times");
            assert!(count > 0, "{event} never occurred, so nothing is proved about it");
        }
    }
}

/// Runs the schedules of many seeds on all processors, up to the first that breaks a promise.
pub(crate) fn sweep(seeds: Range<u64>, run: impl Fn(&Runner, u64) -> Summary + Sync) -> Summary {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (next, total) = (AtomicU64::new(seeds.start), Mutex::new(Summary::default()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let (runner, mut own) = (Runner::in_memory(), Summary::default());
                while own.broken.is_none() {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    own.add(run(&runner, seed));
                }
                if own.broken.is_some() {
                    next.store(seeds.end, Ordering::Relaxed);
                }
                total.lock().add(own);
            });
        }
    });
    total.into_inner()
}
