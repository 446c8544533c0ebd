//! A hook for events that an application may want to audit or count.

use futures::future::{BoxFuture, FutureExt};

use crate::protocol::{EpochMs, Record, Resolution};

/// Receives the events of an engine, from all its layers, queues and calls.
pub trait Observer: Send + Sync {
    /// A late owner was fenced: its claim had been taken over, and its write was refused without effect.
    ///
    /// Its external effects may have happened. If the record was settled without knowledge of them, an operator must
    /// investigate.
    fn fenced<'a>(&'a self, fenced: Fenced<'a>) -> BoxFuture<'a, ()>;

    /// A call was answered from this record, without a run. The method must not block: it is called for every replay.
    fn replayed(&self, _: &Record) {}
}

/// A fenced late owner: its claim, and the record that fenced it.
#[derive(Clone, Copy, Debug)]
pub struct Fenced<'a> {
    /// The record as the late owner had claimed it.
    pub late: &'a Record,
    /// The record as it is now; `None` if it is gone.
    pub found: Option<&'a Record>,
    /// The resolution that the late owner tried to record; `None` if it did not know the outcome.
    pub said: Option<Resolution>,
    /// When the write was refused.
    pub at: EpochMs,
}

/// Ignores every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn fenced<'a>(&'a self, _: Fenced<'a>) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
