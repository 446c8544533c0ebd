//! The faults of the library's environment, the same for the exploration and the simulation.

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
    /// The number of faults.
    pub(crate) const COUNT: usize = Self::Stale as usize + 1;

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
