//! One stack for several tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Mutex;

use super::{Running, Setup, Stack};

/// A stack that tests use at the same time. The first starts it and the last stops it, so that it does not outlive the
/// process; a test that comes later starts another one.
///
/// The tests must not disturb each other: each has its own names ([`Stack::own`]; callers' names are always the test's
/// own), and none stops the provider, kills all sandboxes of a function, or counts events that other tests also cause.
pub struct Shared {
    setup: fn() -> Setup,
    running: Mutex<Weak<Running>>,
}

impl Shared {
    /// A stack that is started when it is first used.
    pub const fn new(setup: fn() -> Setup) -> Self {
        Self { setup, running: Mutex::const_new(Weak::new()) }
    }

    /// The running stack, for one test.
    pub async fn stack(&self) -> Stack {
        static TESTS: AtomicU64 = AtomicU64::new(0);
        let mut last = self.running.lock().await;
        let running = match last.upgrade() {
            Some(running) => running,
            None => Arc::new((self.setup)().launch().await),
        };
        *last = Arc::downgrade(&running);
        Stack::new(running, format!("-{}", TESTS.fetch_add(1, Ordering::Relaxed)))
    }
}
