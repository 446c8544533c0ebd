//! The faults of the library's environment, the same for the exploration and the simulation.

use idempotency::store::StoreError;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Fault {
    /// The service refuses a request: throttling, a conflict, an internal error.
    Refuse,
    /// A request is lost.
    LoseRequest,
    /// A reply is lost.
    LoseReply,
    /// A reply is lost, and the request is repeated.
    Repeat,
    /// A request arrives after its sender has given up waiting.
    Late,
    /// A request arrives a second time, later.
    Duplicate,
    /// A process freezes, in the simulation for longer than a lease.
    Freeze,
    /// A process dies, and its request in transit is lost as well.
    Crash,
    /// A process dies after its request has taken effect, before it gets the reply.
    CrashAfter,
    /// Enough time passes that every lease and every deadline is over.
    TimePasses,
    /// Messages that one process has received are delivered to another as well; a delivery begins before the
    /// checkpoint.
    Redeliver,
    /// A topic is deleted and created again.
    Recreate,
    /// A handler fails once.
    FailHandler,
    /// Records expire.
    Expire,
    /// An eventually consistent read returns an older version.
    Stale,
}

impl Fault {
    const COUNT: usize = Self::Stale as usize + 1;

    /// The faults of a write in the exploration.
    pub(crate) const OF_WRITES: [Self; 8] = [
        Self::Refuse,
        Self::LoseRequest,
        Self::LoseReply,
        Self::Repeat,
        Self::Late,
        Self::Duplicate,
        Self::Crash,
        Self::CrashAfter,
    ];

    /// The faults of a read in the exploration.
    pub(crate) const OF_READS: [Self; 2] = [Self::Refuse, Self::Crash];

    /// The faults of a request in the simulation, in which a process dies wherever it waits.
    pub(crate) const OF_REQUESTS: [Self; 6] =
        [Self::Refuse, Self::LoseRequest, Self::LoseReply, Self::Repeat, Self::Late, Self::Duplicate];
}

/// How often each fault occurs, per 1000. Each seed has its own rates, because some bugs show only if other faults are
/// rare.
pub(crate) struct Rates([u16; Fault::COUNT]);

impl Rates {
    pub(crate) fn draw(rng: &mut fastrand::Rng) -> Self {
        Self(std::array::from_fn(|_| [0, 0, 20, 60, 150][rng.usize(0..5)]))
    }

    pub(crate) const fn of(&self, fault: Fault) -> u16 {
        self.0[fault as usize]
    }
}

/// The result of a request.
pub(crate) enum Reply<T> {
    Answer(T),
    /// Certainly nothing happened.
    Refused,
    /// It is not known whether it happened.
    Silence,
}

impl<T> Reply<Result<T, StoreError>> {
    /// As a store's client reports it.
    pub(crate) fn of_a_store(self) -> Result<T, StoreError> {
        match self {
            Self::Answer(answer) => answer,
            Self::Refused => Err(StoreError::NotApplied("refused".into())),
            Self::Silence => Err(StoreError::Uncertain("no reply".into())),
        }
    }
}

/// The result of a request that meets a fault, if any. `apply` executes it where it arrives, `later` lets it arrive at
/// another time, and `pause` is the time before it is repeated.
///
/// # Panics
/// If the fault is not one of [requests](Fault::OF_REQUESTS).
pub(crate) async fn request<T>(
    fault: Option<Fault>,
    apply: impl Fn() -> T,
    later: impl FnOnce(),
    pause: impl Future<Output = ()>,
) -> Reply<T> {
    match fault {
        None => Reply::Answer(apply()),
        Some(Fault::Refuse) => Reply::Refused,
        Some(Fault::LoseRequest) => Reply::Silence,
        Some(Fault::LoseReply) => {
            apply();
            Reply::Silence
        }
        Some(Fault::Repeat) => {
            apply();
            pause.await;
            Reply::Answer(apply())
        }
        Some(Fault::Late) => {
            later();
            Reply::Silence
        }
        Some(Fault::Duplicate) => {
            later();
            Reply::Answer(apply())
        }
        Some(other) => unreachable!("{other:?} is not a fault of a request"),
    }
}
