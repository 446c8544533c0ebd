//! The only source of randomness, and the rates of faults.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotency::engine::{Entropy, NoEntropy};

use crate::fault::Fault;
use parking_lot::Mutex;

/// A random source with a seed.
pub(super) struct Dice {
    rng: Mutex<fastrand::Rng>,
    rates: Rates,
    calm: AtomicBool,
}

/// How often each fault occurs, per 1000. Each seed has its own rates, because some bugs show only if other faults are
/// rare.
#[derive(Clone, Copy)]
struct Rates([u16; Fault::COUNT]);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rates = Rates(std::array::from_fn(|_| [0, 0, 20, 60, 150][rng.usize(0..5)]));
        Self { rng: Mutex::new(rng), rates, calm: AtomicBool::new(false) }
    }

    /// Stops all faults.
    pub(super) fn stop_faults(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether no more faults occur.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether this fault occurs now.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let often = self.rates.0[fault as usize];
        often > 0 && !self.is_calm() && self.rng().u16(0..1000) < often
    }

    /// A random number below `sides`.
    pub(super) fn pick(&self, sides: usize) -> usize {
        self.rng().usize(0..sides)
    }

    /// True with a probability of one in `times`.
    pub(super) fn once_in(&self, times: usize) -> bool {
        self.pick(times) == 0
    }

    /// A random duration below this many milliseconds.
    pub(super) fn below_ms(&self, milliseconds: u64) -> Duration {
        Duration::from_millis(self.rng().u64(0..milliseconds))
    }

    fn rng(&self) -> parking_lot::MutexGuard<'_, fastrand::Rng> {
        self.rng.lock()
    }
}

/// Random bytes for an engine.
pub(super) struct SeededEntropy(pub(super) std::sync::Arc<Dice>);

impl Entropy for SeededEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), NoEntropy> {
        self.0.rng().fill(buffer);
        Ok(())
    }
}
