//! A store in memory, for tests and as a reference: it evaluates the protocol's own conditions under one mutex.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use super::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};
use super::watermarks::{Advanced, MAX_EFFECTS, Watermarks};
use super::{RefusedEffect, Store, StoreError, TransactionalEffect, Written, parts};
use crate::mutex::Mutex;
use crate::protocol::watermark::Watermark;
use crate::protocol::{EpochMs, Record, RecordId, State, TransactionId, Write};

/// Roughly DynamoDB's limit of 4 MB per transaction.
const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// Records in a map. A clone is another handle to the same map.
///
/// Its effects are [`Effect`]s, which are counted by name, so that a test can check how often an effect was applied.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore(Arc<Mutex<Contents>>);

#[derive(Debug, Default)]
struct Contents {
    records: HashMap<RecordId, Record>,
    /// Long answers, each with the transaction and attempt that it belongs to.
    parts: HashMap<RecordId, (TransactionId, u64, Vec<u8>)>,
    effects: HashMap<String, u64>,
    watermarks: HashMap<String, Watermark>,
}

impl Contents {
    /// Applies all effects or none.
    fn apply(&mut self, effects: Vec<Effect>) -> Result<(), RefusedEffect> {
        let refused = |effect: &Effect| effect.only_once && self.effects.contains_key(&effect.name);
        if let Some(index) = effects.iter().position(refused) {
            return Err(RefusedEffect { index, found: None });
        }
        for effect in effects {
            *self.effects.entry(effect.name).or_default() += 1;
        }
        Ok(())
    }
}

/// An effect that counts how often it was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The name under which the effect is counted.
    pub name: String,
    /// Whether the transaction is refused if the effect has already been applied.
    pub only_once: bool,
}

impl TransactionalEffect for Effect {
    type Item = ();
}

impl Effect {
    /// Creates an effect whose repetition only the record's condition prevents.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), only_once: false }
    }

    /// Creates an effect with its own condition, which refuses a second application.
    pub fn only_once(name: impl Into<String>) -> Self {
        Self { name: name.into(), only_once: true }
    }
}

impl MemoryStore {
    /// Creates an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How often the effect of this name was applied.
    #[must_use]
    pub fn applied(&self, name: &str) -> u64 {
        self.contents().effects.get(name).copied().unwrap_or(0)
    }

    /// Deletes expired records, as DynamoDB's TTL does at some later time.
    pub fn sweep(&self, now: EpochMs) {
        self.contents().records.retain(|_, record| !record.has_expired(now));
    }

    /// Loses all long answers, as only a faulty store would.
    pub fn lose_parts(&self) {
        self.contents().parts.clear();
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock()
    }
}

impl Store for MemoryStore {
    type Effect = Effect;

    fn max_response_bytes(_: &[Effect]) -> usize {
        MAX_RESPONSE_BYTES
    }

    async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        let cut = parts::cut(write, parts::PART_BYTES);
        let (write, parts) = cut.as_ref().map_or((write, &[][..]), |(head, parts)| (head, parts));
        let mut contents = self.contents();
        let found = contents.records.get(&write.record.id);
        if !write.condition.holds(found) {
            return Ok(Written::refused(write, found.cloned()));
        }
        if let Err(refused) = contents.apply(effects) {
            return Ok(Written::EffectRefused(refused));
        }
        let record = &write.record;
        if !parts.is_empty() {
            contents.parts.insert(record.id.clone(), (record.transaction, record.attempt, parts.concat()));
        }
        contents.records.insert(record.id.clone(), record.clone());
        Ok(Written::Applied)
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        Ok(self.contents().records.get(id).cloned())
    }

    async fn read_parts(&self, record: &Record, _: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let contents = self.contents();
        let found = contents.parts.get(&record.id);
        let ours =
            found.filter(|(transaction, attempt, _)| (*transaction, *attempt) == (record.transaction, record.attempt));
        Ok(ours.map(|(.., whole)| whole.clone()))
    }
}

/// Like DynamoDB, the store accepts a limited number of effects, and each item only once.
impl Watermarks for MemoryStore {
    async fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        Ok(self.contents().watermarks.get(id).cloned())
    }

    async fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: Vec<Effect>,
        _patience: Duration,
    ) -> Result<Advanced, StoreError> {
        let twice =
            |(index, effect): (usize, &Effect)| effects[..index].iter().any(|other| Self::collide(other, effect));
        if effects.len() > MAX_EFFECTS || effects.iter().enumerate().any(twice) {
            return Err(StoreError::Rejected("the effects do not fit one transaction".into()));
        }
        let mut contents = self.contents();
        let found = contents.watermarks.get(id);
        if found.map_or(0, |found| found.version) + 1 != next.version {
            return Ok(Advanced::Refused(found.cloned()));
        }
        if let Err(refused) = contents.apply(effects) {
            return Ok(Advanced::EffectRefused(refused));
        }
        contents.watermarks.insert(id.to_owned(), next.clone());
        Ok(Advanced::Applied)
    }

    fn bytes(effect: &Effect) -> usize {
        effect.name.len()
    }

    fn collide(one: &Effect, other: &Effect) -> bool {
        one.name == other.name
    }
}

/// Both lists read every record each time.
impl Unsettled for MemoryStore {
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        let unknown = |record: &&Record| match &record.state {
            State::Unknown(_) => after.is_none_or(|after| After::of(record) > *after),
            State::Processing(_) | State::Released { .. } | State::Success(_) | State::Failed(_) => false,
        };
        let records = self.contents().records.values().filter(unknown).cloned().collect();
        Ok(UnknownPage::first_of(records, limit))
    }

    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        let contents = self.contents();
        let of_segment = |id: &&RecordId| {
            let sum = id.as_str().bytes().map(u16::from).fold(0, u16::wrapping_add);
            id.as_str().starts_with(RecordId::PREFIX)
                && sum % place.segments.max(1) == place.segment
                && place.after.as_ref().is_none_or(|after| *id > after)
        };
        let mut ids: Vec<&RecordId> = contents.records.keys().filter(of_segment).collect();
        ids.sort();
        let more = ids.len() > limit.into();
        ids.truncate(limit.into());
        let mut scanned = Scanned { read: ids.len() as u64, ..Scanned::default() };
        scanned.after = ids.last().filter(|_| more).map(|id| (*id).clone());
        for record in ids.into_iter().filter_map(|id| contents.records.get(id)) {
            match &record.state {
                State::Processing(holder) if holder.lease < now => scanned.abandoned.push(record.clone()),
                State::Processing(_) | State::Unknown(_) => {}
                State::Released { .. } | State::Success(_) | State::Failed(_) if record.has_expired(now) => {
                    scanned.expired_present += 1;
                    let ends = [scanned.oldest_expiration, record.expiration()];
                    scanned.oldest_expiration = ends.into_iter().flatten().min();
                }
                State::Released { .. } | State::Success(_) | State::Failed(_) => {}
            }
        }
        Ok(scanned)
    }
}

#[cfg(test)]
#[cfg(feature = "system")]
mod tests {
    use super::*;
    use crate::engine::{Clock, SystemClock};
    use crate::store::conformance;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_memory_store_conforms() {
        conformance::all(MemoryStore::new(), Effect::only_once).await;
        conformance::a_refused_claim_finds_a_small_item(&MemoryStore::new()).await;
        conformance::watermarks::all(MemoryStore::new(), Effect::only_once).await;
        conformance::unsettled::all(MemoryStore::new()).await;
    }

    /// A store that deletes expired records by its server's clock, as DynamoDB may at any time and other stores do at
    /// once.
    #[derive(Clone, Default)]
    struct DeletesByItsClock(MemoryStore);

    impl Store for DeletesByItsClock {
        type Effect = Effect;

        fn max_response_bytes(effects: &[Effect]) -> usize {
            MemoryStore::max_response_bytes(effects)
        }

        async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
            self.0.sweep(SystemClock.now());
            self.0.write(write, effects).await
        }

        async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
            self.0.sweep(SystemClock.now());
            self.0.read(id).await
        }

        async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.read_parts(record, parts).await
        }
    }

    /// The result must not depend on the date on which the suite runs.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_store_that_deletes_by_its_servers_clock_conforms() {
        conformance::all(DeletesByItsClock::default(), Effect::only_once).await;
    }
}
