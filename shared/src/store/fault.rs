//! A store that fails when told to, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::watermarks::{Advanced, Watermarks};
use super::{Store, StoreError, Written};
use crate::protocol::{Record, RecordId, Write};
use crate::stream::watermark::Watermark;

/// What happens to one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: it goes through.
    None,
    /// It is refused by the service before it takes effect.
    Refuse,
    /// It is lost before it takes effect; the caller does not know.
    LoseRequest,
    /// It takes effect, and its reply is lost; the caller does not know.
    LoseReply,
    /// It takes effect, its reply is lost, and it is made again, as the SDK does.
    RepeatAfterLostReply,
}

/// A store whose writes meet the planned faults, in order; when the plan is used up, they go through.
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

    fn next(&self) -> Fault {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front().unwrap_or(Fault::None)
    }
}

impl<S: Store<Effect: Clone + Sync>> Store for FaultyStore<S> {
    type Effect = S::Effect;

    fn room_bytes(effects: &[S::Effect]) -> usize {
        S::room_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<S::Effect>) -> Result<Written, StoreError> {
        match self.next() {
            Fault::None => self.inner.write(write, effects).await,
            Fault::Refuse => Err(StoreError::NotApplied("planned: refused".into())),
            Fault::LoseRequest => Err(StoreError::Uncertain("planned: the request was lost".into())),
            Fault::LoseReply => {
                self.inner.write(write, effects).await?;
                Err(StoreError::Uncertain("planned: the reply was lost".into()))
            }
            Fault::RepeatAfterLostReply => {
                self.inner.write(write, effects.clone()).await?;
                self.inner.write(write, effects).await
            }
        }
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.inner.read(id).await
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
        patience: Duration,
    ) -> Result<Advanced, StoreError> {
        match self.next() {
            Fault::None => self.inner.advance(id, next, effects, patience).await,
            Fault::Refuse => Err(StoreError::NotApplied("planned: refused".into())),
            Fault::LoseRequest => Err(StoreError::Uncertain("planned: the request was lost".into())),
            Fault::LoseReply => {
                self.inner.advance(id, next, effects, patience).await?;
                Err(StoreError::Uncertain("planned: the reply was lost".into()))
            }
            Fault::RepeatAfterLostReply => {
                self.inner.advance(id, next, effects.clone(), patience).await?;
                self.inner.advance(id, next, effects, patience).await
            }
        }
    }

    fn bytes(effect: &S::Effect) -> usize {
        S::bytes(effect)
    }

    fn collide(one: &S::Effect, other: &S::Effect) -> bool {
        S::collide(one, other)
    }
}
