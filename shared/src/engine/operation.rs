//! A protected operation, and one call to it.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, response_codec};
use crate::protocol::machine::Wait;
use crate::protocol::{
    Compare, EpochMs, EpochS, Fingerprint, InvocationId, Key, Principal, RecordId, Settled, Subject, Trace, Uncertain,
};

/// The default retention, for clients that send a request and wait.
const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A protected operation and its settings, which do not change while it runs.
#[derive(Clone, Debug)]
pub struct Operation {
    namespace: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) uncertain: Uncertain,
    /// `None`: as long as the function.
    pub(super) run_within: Option<Duration>,
    /// `None` if it was not set.
    retention: Option<Duration>,
    pub(crate) compare: Compare,
}

impl Operation {
    /// Creates an operation.
    ///
    /// `namespace` is part of the lookup: operations that share a namespace share their keys, so reusing a key for
    /// another path or method is a mismatch, not a second effect. Never change it while records exist. `name` is for
    /// people (`POST /payments`) and may change at any time.
    pub fn new(namespace: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
            uncertain: Uncertain::default(),
            run_within: None,
            retention: None,
            compare: Compare::default(),
        }
    }

    /// Sets how an uncertain outcome is handled. Default: [`Uncertain::Reconcile`].
    #[must_use]
    pub const fn uncertain(mut self, uncertain: Uncertain) -> Self {
        self.uncertain = uncertain;
        self
    }

    /// Sets the time limit of a run, from its claim. At this limit the run is stopped, and its outcome is unknown.
    /// Default: the function's time-out.
    ///
    /// The claim holds for this time plus the engine's [margin](super::EngineBuilder::margin), and if its owner dies,
    /// it blocks the key for that long. Choose a limit short enough for a retry to wait for the end of the lease and
    /// still run: `2 × (run_within + margin)` less than the function's time-out, and `run_within + margin` less than
    /// the time that clients wait for an answer. Choose it longer than a healthy run ever takes, because each stopped
    /// run must be reconciled.
    #[must_use]
    pub const fn run_within(mut self, run_within: Duration) -> Self {
        self.run_within = Some(run_within);
        self
    }

    /// Sets how long an answer is replayed. Default: 24 hours; with a [`Queue`](crate::Queue) its
    /// [`LONGEST_RETENTION`](crate::sqs::LONGEST_RETENTION), with a [`TableStream`](crate::streams::TableStream) its
    /// [`TABLE_STREAM_RETENTION`](crate::streams::TABLE_STREAM_RETENTION).
    ///
    /// A later retry runs again, so the retention must be longer than any client, queue or dead-letter queue may keep
    /// repeating the request. It must also be longer than any call, which is stopped at the function's deadline: after
    /// the retention, a call can no longer know what other calls have done since it began. Without a claim it then
    /// writes nothing, and fails with [`Error::NothingHappened`](super::Error::NothingHappened).
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// Sets the retention if the operation has none.
    pub(crate) const fn or_retention(self, retention: Duration) -> Self {
        match self.retention {
            Some(_) => self,
            None => self.retention(retention),
        }
    }

    /// Sets by which part of a JSON body requests are compared. Default: its whole value.
    ///
    /// The layers and [`Call::of_input`], which compute the fingerprint, use it. [`Call::new`] takes a fingerprint
    /// instead.
    #[must_use]
    pub fn compare(self, compare: Compare) -> Self {
        Self { compare, ..self }
    }

    /// Returns the same settings under another name.
    #[must_use]
    pub fn named(self, name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// The name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The retention of a settled or released record.
    pub(crate) fn kept_for(&self) -> Duration {
        self.retention.unwrap_or(RETENTION)
    }

    fn expiration(&self, now: EpochMs) -> EpochS {
        now.seconds().plus(self.kept_for())
    }

    pub(super) fn settled(&self, answer: &impl Answer, now: EpochMs, max_response_bytes: usize) -> Settled {
        Settled { response: response_codec::pack(answer, max_response_bytes).into(), expiration: self.expiration(now) }
    }
}

/// One call to an operation: its principal, key, fingerprint and deadline.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) operation: Operation,
    id: RecordId,
    pub(crate) principal: Principal,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) deadline: EpochMs,
    pub(super) subject: Option<Subject>,
    pub(super) request: Option<InvocationId>,
    pub(crate) trace: Option<Trace>,
    pub(super) wait: WaitLimit,
    pub(super) is_redelivery: bool,
}

/// How long a call waits for another.
#[derive(Clone, Copy, Debug)]
pub(super) enum WaitLimit {
    No,
    ForLease { at_most: Duration },
    For(Duration),
}

impl WaitLimit {
    /// The wait that begins `now` and ends at `by` at the latest.
    pub(super) fn until(self, now: EpochMs, by: EpochMs) -> Wait {
        match self {
            Self::No => Wait::No,
            Self::ForLease { at_most } => Wait::ForLease { by: now.plus(at_most).min(by) },
            Self::For(wait) => Wait::Until(now.plus(wait).min(by)),
        }
    }
}

impl Call {
    /// Creates a call. `deadline` is the function's: the time at which Lambda kills it.
    #[must_use]
    pub fn new(
        operation: Operation,
        principal: Principal,
        key: Key,
        fingerprint: Fingerprint,
        deadline: EpochMs,
    ) -> Self {
        let id = RecordId::new(&operation.namespace, &principal, &key);
        Self {
            operation,
            id,
            principal,
            fingerprint,
            deadline,
            subject: None,
            request: None,
            trace: None,
            wait: WaitLimit::No,
            is_redelivery: false,
        }
    }

    /// Sets the subject of the call, for a reconciliation without the request.
    #[must_use]
    pub fn about(mut self, subject: Option<Subject>) -> Self {
        self.subject = subject;
        self
    }

    /// Sets the id of the invocation, for the record's history.
    #[must_use]
    pub const fn requested_by(mut self, request: Option<InvocationId>) -> Self {
        self.request = request;
        self
    }

    /// Sets the trace to which the call belongs. The record keeps the first call's trace, and replays report it.
    #[must_use]
    pub const fn traced(mut self, trace: Option<Trace>) -> Self {
        self.trace = trace;
        self
    }

    /// Sets how long a duplicate waits for a running call before it gets
    /// [`Outcome::InProgress`](super::Outcome::InProgress). Default: it does not wait.
    ///
    /// The wait ends when the other call ends, or at the end of its lease, when the duplicate takes over. It also ends
    /// in time for the call to [run](Operation::run_within) itself before the deadline.
    #[must_use]
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = WaitLimit::For(wait);
        self
    }

    /// Like [`wait`](Self::wait), but a duplicate does not wait at all if the other call's lease is longer than
    /// `at_most`, or too long to run after it. It therefore never waits without being able to run or to return the
    /// answer.
    #[must_use]
    pub const fn wait_for_lease(mut self, at_most: Duration) -> Self {
        self.wait = WaitLimit::ForLease { at_most };
        self
    }

    /// Declares whether the call was delivered before, so that it is probably a duplicate. Its record is then looked up
    /// by an eventually consistent read before anything is written: this costs half a read unit, whereas a refused
    /// write costs at least one write unit, and in single-write mode those of all its effects. For a first delivery the
    /// read would be wasted.
    ///
    /// Only a hint: if the read returns nothing or an older version, the call writes, and the write's condition
    /// decides.
    #[must_use]
    pub const fn redelivered(mut self, is_redelivery: bool) -> Self {
        self.is_redelivery = is_redelivery;
        self
    }

    #[cfg(test)]
    pub(crate) fn with_key(self, key: &str) -> Self {
        let key = Key::new(key).expect("a key");
        Self { id: RecordId::new(&self.operation.namespace, &self.principal, &key), ..self }
    }

    /// The operation.
    #[must_use]
    pub const fn operation(&self) -> &Operation {
        &self.operation
    }

    /// The id of this call's record.
    #[must_use]
    pub fn record_id(&self) -> RecordId {
        self.id.clone()
    }
}
