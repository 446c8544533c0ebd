//! The store behind a network that loses, delays and repeats requests.

use std::sync::Arc;

use idempotency::protocol::{Condition, Record, RecordId, RecordVersion, Write};
use idempotency::store::memory::{Effect, MemoryStore};
use idempotency::store::{Store, StoreError, Written};
use parking_lot::Mutex;

use super::Breakage;
use super::dice::Dice;
use super::oracle::Oracle;
use crate::backend::Backend;
use crate::fault::Fault;

/// A remote store.
#[derive(Clone)]
pub(super) struct RemoteStore {
    pub(super) kept: Backend,
    /// Every version that was stored, for reads that lag.
    pub(super) versions: Arc<Mutex<Vec<Record>>>,
    pub(super) dice: Arc<Dice>,
    pub(super) oracle: Arc<Oracle>,
    pub(super) breakage: Option<Breakage>,
}

impl Store for RemoteStore {
    type Effect = Effect;

    fn max_response_bytes(effects: &[Effect]) -> usize {
        MemoryStore::max_response_bytes(effects)
    }

    async fn write(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        match Fault::OF_REQUESTS.into_iter().find(|fault| self.dice.strikes(*fault)) {
            None => self.answered(write, effects).await,
            Some(Fault::Duplicate) => {
                self.later(write, effects.clone());
                self.answered(write, effects).await
            }
            Some(Fault::Repeat) => {
                self.apply(write, effects.clone())?;
                tokio::time::sleep(self.dice.below_ms(1000)).await;
                self.answered(write, effects).await
            }
            Some(
                Fault::Refuse
                | Fault::Freeze
                | Fault::Crash
                | Fault::CrashAfter
                | Fault::TimePasses
                | Fault::Redeliver
                | Fault::Recreate
                | Fault::FailHandler
                | Fault::Expire
                | Fault::Stale,
            ) => Err(StoreError::NotApplied("refused".into())),
            Some(Fault::LoseRequest) => Err(StoreError::Uncertain("the request was lost".into())),
            Some(Fault::LoseReply) => {
                self.apply(write, effects)?;
                Err(StoreError::Uncertain("the reply was lost".into()))
            }
            Some(Fault::Late) => {
                self.later(write, effects);
                Err(StoreError::Uncertain("no reply so far".into()))
            }
        }
    }

    async fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        self.kept.read(id)
    }

    /// Returns any version that was ever stored, or none, because such a read may lag by any time.
    async fn look_up(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        if self.dice.once_in(8) {
            return Err(StoreError::NotApplied("refused".into()));
        }
        if self.dice.once_in(2) {
            return self.kept.read(id);
        }
        let versions = self.versions.lock();
        Ok(versions.get(self.dice.pick(versions.len() + 1)).cloned())
    }

    async fn read_parts(&self, record: &Record, parts: u32) -> Result<Option<Vec<u8>>, StoreError> {
        tokio::time::sleep(self.dice.below_ms(40)).await;
        self.kept.read_parts(record, parts)
    }
}

impl RemoteStore {
    async fn answered(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        let written = self.apply(write, effects)?;
        tokio::time::sleep(self.dice.below_ms(40)).await;
        Ok(match written {
            Written::Refused(Some(_)) if self.is(Breakage::EverythingRecognised) => Written::Recognised,
            written => written,
        })
    }

    fn later(&self, write: &Write, effects: Vec<Effect>) {
        let (store, write, delay) = (self.clone(), write.clone(), self.dice.below_ms(300_000));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            // Nobody waits for the result.
            drop(store.apply(&write, effects));
        });
    }

    fn apply(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        let written = self.apply_or_break(write, effects)?;
        let stored = self.kept.read(&write.record.id)?;
        self.oracle.wrote(|| format!("answered {written:?}; stored is {stored:?}"));
        if let Some(stored) = stored {
            let mut versions = self.versions.lock();
            if versions.last() != Some(&stored) {
                versions.push(stored);
            }
        }
        Ok(written)
    }

    fn apply_or_break(&self, write: &Write, effects: Vec<Effect>) -> Result<Written, StoreError> {
        self.oracle.wrote(|| format!("{write:?} with {effects:?}"));
        let Some(breakage) = self.breakage else { return self.kept.write(write, effects) };
        let found = self.kept.read(&write.record.id)?;
        let ignored = match write.condition {
            Condition::Owned { .. } => breakage == Breakage::OwnerIgnored,
            Condition::Unchanged(_) => breakage == Breakage::SeenIgnored,
            Condition::Vacant { .. } => breakage == Breakage::VacantIgnored,
        };
        let write = match found {
            Some(found) if ignored => {
                &Write { condition: Condition::Unchanged(RecordVersion::of(&found)), record: write.record.clone() }
            }
            Some(_) | None => write,
        };
        let written = self.kept.write(write, effects.clone())?;
        if let (Written::Refused(_) | Written::Recognised, true) = (&written, self.is(Breakage::EffectsBesideTheRecord))
        {
            self.apply_beside(write, effects)?;
        }
        Ok(written)
    }

    fn apply_beside(&self, write: &Write, effects: Vec<Effect>) -> Result<(), StoreError> {
        if let Some(found) = self.kept.read(&write.record.id)? {
            let condition = Condition::Unchanged(RecordVersion::of(&found));
            self.kept.write(&Write { record: found, condition }, effects)?;
        }
        Ok(())
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}
