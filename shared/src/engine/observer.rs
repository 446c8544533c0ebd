//! A hook for events that operators must see.

use futures::future::{BoxFuture, FutureExt};

use crate::protocol::{EpochMs, Record, Resolution};

/// Receives rare events for the application's audit, while there is time to write them down.
pub trait Observer: Send + Sync {
    /// A late owner was fenced: its claim had been taken over, its write was refused, and nothing of it took effect.
    ///
    /// Its external effects may have happened: if the record was settled without knowing of them, somebody must look.
    fn fenced<'a>(&'a self, fenced: Fenced<'a>) -> BoxFuture<'a, ()>;
}

/// What is known when a late owner is fenced.
#[derive(Clone, Copy, Debug)]
pub struct Fenced<'a> {
    /// The record as the late owner had claimed it.
    pub late: &'a Record,
    /// The record as it is now; nothing if it is gone.
    pub found: Option<&'a Record>,
    /// What the late owner would have settled it as; nothing if it did not know.
    pub said: Option<Resolution>,
    /// When.
    pub at: EpochMs,
}

/// Takes no notice.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn fenced<'a>(&'a self, _: Fenced<'a>) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
