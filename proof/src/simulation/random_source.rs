//! The only source of randomness, and the rates of faults.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotency::engine::{Entropy, NoEntropy};
use parking_lot::Mutex;

use crate::fault::{Fault, Rates};

/// A random source with a seed.
pub(super) struct RandomSource {
    rng: Mutex<fastrand::Rng>,
    rates: Rates,
    calm: AtomicBool,
}

impl RandomSource {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rates = Rates::draw(&mut rng);
        Self { rng: Mutex::new(rng), rates, calm: AtomicBool::new(false) }
    }

    /// Stops all faults.
    pub(super) fn stop_faults(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether no more faults occur.
    pub(super) fn is_faultless(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether this fault occurs now.
    pub(super) fn occurs(&self, fault: Fault) -> bool {
        let often = self.rates.of(fault);
        often > 0 && !self.is_faultless() && self.rng.lock().u16(0..1000) < often
    }

    /// A random number below `sides`.
    pub(super) fn pick(&self, sides: usize) -> usize {
        self.rng.lock().usize(0..sides)
    }

    /// True with a probability of one in `times`.
    pub(super) fn once_in(&self, times: usize) -> bool {
        self.pick(times) == 0
    }

    /// A random duration below this many milliseconds.
    pub(super) fn below_ms(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.rng.lock().u64(0..milliseconds))
    }
}

/// Random bytes for an engine.
pub(super) struct SeededEntropy(pub(super) std::sync::Arc<RandomSource>);

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        self.0.rng.lock().fill(buffer);
        Ok(())
    }
}
