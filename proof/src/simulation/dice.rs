//! The only source of randomness, and the rates of faults.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use idempotency::engine::{Entropy, NoEntropy};
use parking_lot::Mutex;

/// A random source with a seed.
pub(super) struct Dice {
    rng: Mutex<fastrand::Rng>,
    weather: Weather,
    calm: AtomicBool,
}

/// How often each fault occurs, per 1000. Each seed has its own rates, because some bugs show only if other faults are
/// rare.
#[derive(Clone, Copy)]
struct Weather([u16; Fault::ALL.len()]);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Fault {
    /// The service refuses: throttling, a conflict, an internal error.
    Refuse,
    /// The request is lost.
    LoseRequest,
    /// The reply is lost.
    LoseReply,
    /// The reply is lost, and the request is repeated.
    Repeat,
    /// The request arrives long after its caller has stopped waiting.
    Late,
    /// The request arrives a second time, long afterwards.
    Duplicate,
    /// A process freezes for longer than a lease.
    Freeze,
    /// A process dies.
    Crash,
}

impl Fault {
    const ALL: [Self; 8] = [
        Self::Refuse,
        Self::LoseRequest,
        Self::LoseReply,
        Self::Repeat,
        Self::Late,
        Self::Duplicate,
        Self::Freeze,
        Self::Crash,
    ];

    /// The faults of a request.
    pub(super) const OF_REQUESTS: [Self; 6] =
        [Self::Refuse, Self::LoseRequest, Self::LoseReply, Self::Repeat, Self::Late, Self::Duplicate];
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let weather = Weather(Fault::ALL.map(|_| [0, 0, 20, 60, 150][rng.usize(0..5)]));
        Self { rng: Mutex::new(rng), weather, calm: AtomicBool::new(false) }
    }

    /// From now on no faults occur.
    pub(super) fn calm_down(&self) {
        self.calm.store(true, Ordering::Relaxed);
    }

    /// Whether no more faults occur.
    pub(super) fn is_calm(&self) -> bool {
        self.calm.load(Ordering::Relaxed)
    }

    /// Whether this fault occurs now.
    pub(super) fn strikes(&self, fault: Fault) -> bool {
        let often = self.weather.0[fault as usize];
        often > 0 && !self.is_calm() && self.rng().u16(0..1000) < often
    }

    /// A random number below this.
    pub(super) fn pick(&self, sides: usize) -> usize {
        self.rng().usize(0..sides)
    }

    /// True once in this many times.
    pub(super) fn once_in(&self, times: usize) -> bool {
        self.pick(times) == 0
    }

    /// A duration in whole milliseconds.
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
