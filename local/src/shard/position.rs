use anyhow::Result;

use super::Shard;
use crate::storage::Storage;

/// How far a reader is, under a name of its own, kept with the other data.
pub(crate) struct Position {
    storage: Storage,
    name: String,
}

/// The place before the oldest record.
const OLDEST: &str = "";

impl Position {
    pub(crate) fn new(storage: &Storage, name: String) -> Self {
        Self { storage: storage.clone(), name }
    }

    /// The record behind which it goes on; without one, from the oldest on. A new reader begins there, or behind the
    /// newest.
    pub(crate) async fn read(&self, shard: &impl Shard, from_latest: bool) -> Result<Option<String>> {
        if let Some(place) = self.storage.setting(&self.name)? {
            return Ok(Some(String::from_utf8(place)?).filter(|place| place != OLDEST));
        }
        let start = if from_latest { shard.latest().await? } else { None };
        // Also that of an empty shard: otherwise a first batch that fails would be behind the newest record.
        self.set(start.as_deref().unwrap_or(OLDEST))?;
        Ok(start)
    }

    pub(crate) fn set(&self, place: &str) -> Result<()> {
        Ok(self.storage.set(&self.name, place.as_bytes())?)
    }

    /// Begins again with the oldest record.
    pub(crate) fn rewind(&self) -> Result<()> {
        self.set(OLDEST)
    }
}
