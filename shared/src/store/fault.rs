//! A store that fails according to a plan, for tests.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::watermarks::{Advanced, Watermarks};
use super::{ItemOf, Store, StoreError, Written};
use crate::mutex::Mutex;
use crate::protocol::watermark::Watermark;
use crate::protocol::{Record, RecordId, Write};

/// The fault of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No fault: the write reaches the store, and its reply arrives.
    None,
    /// The service refuses the write before it takes effect.
    Refuse,
    /// The service rejects the request itself, as if it were too large.
    Reject,
    /// The request is lost before it takes effect; the caller gets no reply.
    LoseRequest,
    /// The write takes effect and its reply is lost; the caller gets no reply.
    LoseReply,
    /// The write takes effect, its reply is lost, and the write is retried, as the SDK does.
    Repeat,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Refuse, Self::Reject, Self::LoseRequest, Self::LoseReply, Self::Repeat];

    /// Every plan with zero, one or two faults over this many writes.
    pub fn pairs(writes: usize) -> impl Iterator<Item = Vec<Self>> {
        let places = (0..writes).flat_map(move |first| (first..writes).map(move |second| (first, second)));
        let faults = || Self::ALL.into_iter().flat_map(|first| Self::ALL.map(|second| (first, second)));
        let pairs = places.flat_map(move |places| faults().map(move |faults| (places, faults)));
        let plans = pairs.filter(|((first, second), (fault, other))| first != second || fault == other);
        let plans = plans.map(move |((first, second), (fault, other))| {
            let mut plan = vec![Self::None; writes];
            (plan[first], plan[second]) = (fault, other);
            plan
        });
        std::iter::once(Vec::new()).chain(plans)
    }

    /// The result of a request that meets this fault.
    async fn request<T, F>(self, send: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        match self {
            Self::None => send().await,
            Self::Refuse => Err(StoreError::NotApplied("planned: refused".into())),
            Self::Reject => Err(StoreError::Rejected("planned: rejected".into())),
            Self::LoseRequest => Err(StoreError::Uncertain("planned: the request was lost".into())),
            Self::LoseReply => {
                send().await?;
                Err(StoreError::Uncertain("planned: the reply was lost".into()))
            }
            Self::Repeat => {
                send().await?;
                send().await
            }
        }
    }
}

#[cfg(test)]
impl Fault {
    /// Any fault but a rejection. [`Fault::None`] is this many times as likely as each of the others.
    pub(crate) fn any(none: usize) -> impl proptest::strategy::Strategy<Value = Self> {
        let others = [Self::Refuse, Self::LoseRequest, Self::LoseReply, Self::Repeat];
        proptest::sample::select([&vec![Self::None; none][..], &others].concat())
    }
}

/// A store that applies the planned faults to its writes, in order; writes after the end of the plan have no faults. A
/// clone shares the plan.
#[derive(Clone, Debug)]
pub struct FaultyStore<S> {
    inner: S,
    plan: Arc<Mutex<VecDeque<Fault>>>,
}

impl<S> FaultyStore<S> {
    /// Wraps a store with a plan.
    pub fn new(inner: S, plan: impl IntoIterator<Item = Fault>) -> Self {
        Self { inner, plan: Arc::new(Mutex::new(plan.into_iter().collect())) }
    }

    /// Whether every planned fault has occurred.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        self.plan.lock().is_empty()
    }

    fn next(&self) -> Fault {
        self.plan.lock().pop_front().unwrap_or(Fault::None)
    }
}

impl<S: Store<Effect: Clone + Sync>> Store for FaultyStore<S> {
    type Effect = S::Effect;

    fn max_response_bytes(effects: &[S::Effect]) -> usize {
        S::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<S::Effect>) -> Result<Written<ItemOf<S>>, StoreError> {
        self.next().request(|| self.inner.write(write, effects.clone())).await
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.inner.read(id).await
    }

    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.inner.look_up(id).await
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.read_parts(record, parts).await
    }
}

impl<S: Watermarks<Effect: Clone + Sync>> Watermarks for FaultyStore<S> {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        self.inner.watermark(id).await
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<S::Effect>,
        retry_budget: Duration,
    ) -> Result<Advanced<ItemOf<S>>, StoreError> {
        self.next().request(|| self.inner.advance(id, next, effects.clone(), retry_budget)).await
    }

    fn bytes(effect: &S::Effect) -> usize {
        S::bytes(effect)
    }

    fn collide(one: &S::Effect, other: &S::Effect) -> bool {
        S::collide(one, other)
    }
}
