//! Who is told of what operators must see.

use futures::future::{BoxFuture, FutureExt};

use crate::protocol::Record;

/// Is told of rare events that belong into an application's audit, while there is time to write them down.
pub trait Observer: Send + Sync {
    /// A late owner was fenced: its claim had been taken over, its write was refused, and nothing of it took effect.
    ///
    /// `late` is the record as it was claimed, `found` as it is now. What the late owner did outside, it did: if the
    /// record was settled without knowing of it, somebody must look.
    fn fenced<'a>(&'a self, late: &'a Record, found: Option<&'a Record>) -> BoxFuture<'a, ()>;
}

/// Takes no notice.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn fenced<'a>(&'a self, _: &'a Record, _: Option<&'a Record>) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
