//! A memory store for any type of effect, which keeps the effects, for tests of handlers.

use std::sync::Arc;
use std::time::Duration;

use derive_where::derive_where;

use super::memory::MemoryStore;
use super::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};
use super::watermarks::{Advanced, Watermarks};
use super::{Store, StoreError, TransactionalEffect, Written};
use crate::mutex::Mutex;
use crate::protocol::watermark::Watermark;
use crate::protocol::{EpochMs, Record, RecordId, Write};

/// Records in memory, and the effects that were written with them, in order. A clone is another handle to the same
/// store.
///
/// Use it to test an unchanged handler with its production effects. The effects are kept, not carried out: the
/// conditions of DynamoDB effects always hold here. If conditions matter, like those of a
/// [`SequenceGate`](crate::sequence), test on an embedded DynamoDB.
///
/// ```
/// # #[cfg(feature = "dynamodb")]
/// # fn main() {
/// use aws_sdk_dynamodb::types::TransactWriteItem;
/// use idempotency::Engine;
/// use idempotency::store::RecordingStore;
///
/// let store: RecordingStore<TransactWriteItem> = RecordingStore::new();
/// let engine = Engine::builder(store.clone()).build();
/// // … call the handler, then look at what it wrote:
/// assert!(store.effects().is_empty());
/// # let _ = engine;
/// # }
/// # #[cfg(not(feature = "dynamodb"))]
/// # fn main() {}
/// ```
#[derive(Debug)]
#[derive_where(Clone, Default)]
pub struct RecordingStore<E> {
    records: MemoryStore,
    effects: Arc<Mutex<Vec<E>>>,
}

impl<E: TransactionalEffect> RecordingStore<E> {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The effects that were written so far, in order.
    #[must_use]
    pub fn effects(&self) -> Vec<E> {
        self.effects.lock().clone()
    }
}

impl<E: TransactionalEffect> Store for RecordingStore<E> {
    type Effect = E;

    fn max_response_bytes(_: &[E]) -> usize {
        MemoryStore::max_response_bytes(&[])
    }

    async fn write(&self, write: &Write, effects: Vec<E>) -> Result<Written<E::Item>, StoreError> {
        let written = self.records.write(write, Vec::new()).await?.without_effects()?;
        if let Written::Applied = written {
            self.effects.lock().extend(effects);
        }
        Ok(written)
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.records.read(id).await
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.records.read_parts(record, parts).await
    }
}

impl<E: TransactionalEffect> Watermarks for RecordingStore<E> {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        self.records.watermark(id).await
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<E>,
        retry_budget: Duration,
    ) -> Result<Advanced<E::Item>, StoreError> {
        let advanced = self.records.advance(id, next, Vec::new(), retry_budget).await?.without_effects()?;
        if let Advanced::Applied = advanced {
            self.effects.lock().extend(effects);
        }
        Ok(advanced)
    }

    fn bytes(_: &E) -> usize {
        0
    }

    fn collide(_: &E, _: &E) -> bool {
        false
    }
}

impl<E: TransactionalEffect> Unsettled for RecordingStore<E> {
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        self.records.unknown(limit, after).await
    }

    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        self.records.scan(place, now, limit).await
    }
}
