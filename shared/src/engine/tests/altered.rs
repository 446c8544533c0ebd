//! A memory store of which a test alters what a write answers, or what an eventually consistent read returns.

use std::sync::Arc;

use crate::protocol::{Record, RecordId, Write};
use crate::store::memory::{Effect, MemoryStore};
use crate::store::{Store, StoreError, Written};

#[derive(Clone)]
pub(crate) struct Altered {
    pub(crate) memory: MemoryStore,
    answer: Arc<Answer>,
    /// What an eventually consistent read returns, or the reason that it fails, if it does not read the record.
    older: Option<Result<Option<Record>, &'static str>>,
}

/// What is answered after a write.
type Answer = dyn Fn(&Write, Written) -> Result<Written, StoreError> + Send + Sync;

impl Altered {
    pub(crate) fn new(
        memory: MemoryStore,
        answer: impl Fn(&Write, Written) -> Result<Written, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self { memory, answer: Arc::new(answer), older: None }
    }

    pub(crate) fn looked_up(self, older: Result<Option<Record>, &'static str>) -> Self {
        Self { older: Some(older), ..self }
    }
}

impl Store for Altered {
    type Effect = Effect;

    fn max_response_bytes(effects: &[Effect]) -> usize {
        MemoryStore::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        (self.answer)(write, self.memory.write(write, effects).await?)
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.memory.read(id).await
    }

    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        match &self.older {
            Some(older) => older.clone().map_err(|reason| StoreError::NotApplied(reason.into())),
            None => self.memory.read(id).await,
        }
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.read_parts(record, parts).await
    }
}
