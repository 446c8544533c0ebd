//! The table: records and watermarks in a store, and the application's items next to them, in one transaction. It
//! records the applied effects, in order.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use idempotency::protocol::watermark::Watermark;
use idempotency::protocol::{Condition, EpochMs, Fingerprint, Record, RecordId, Write};
use idempotency::store::dynamodb::Item;
use idempotency::store::memory;
use idempotency::store::watermarks::Advanced;
use idempotency::store::{RefusedEffect, StoreError, Written};
use parking_lot::{Mutex, MutexGuard};

use super::Breakage;
use super::condition::holds;
use crate::backend::Backend;
use crate::oracle::Oracle;

/// A table. A clone is another handle.
#[derive(Clone)]
pub(super) struct Table {
    kept: Backend,
    /// The version of each record before its latest one, for reads that lag.
    previous: Arc<Mutex<HashMap<RecordId, Option<Record>>>>,
    /// The stream: all versions of all records, in the order of the writes.
    versions: Arc<Mutex<Vec<Record>>>,
    items: Arc<Mutex<HashMap<String, Item>>>,
    oracle: Oracle,
    breakage: Option<Breakage>,
}

/// The attribute of the key.
const ID: &str = "id";

/// The attribute of an entry that holds the digest of its number's content.
const CONTENT: &str = "content";

/// The prefix of an effect's key.
pub(super) const EFFECT: &str = "effect ";

/// The name of an effect that the memory store refuses, in place of one whose condition does not hold.
const REFUSED: &str = "refused";

/// The key of an item.
pub(super) fn key(id: impl Into<String>) -> Item {
    Item::from([(ID.to_owned(), AttributeValue::S(id.into()))])
}

/// An effect whose repetition is prevented only by the record, the watermark or the gate.
pub(super) fn effect(name: &str) -> TransactWriteItem {
    let put = Put::builder().table_name("Table").set_item(Some(key(format!("{EFFECT}{name}"))));
    TransactWriteItem::builder().put(put.build().expect("complete")).build()
}

impl Table {
    pub(super) fn new(kept: Backend, oracle: Oracle, breakage: Option<Breakage>) -> Self {
        let first = Watermark::after(None, &[], EpochMs(0));
        let refused = vec![memory::Effect::named(REFUSED)];
        kept.advance(REFUSED, &first, refused).expect("written");
        Self { kept, previous: Arc::default(), versions: Arc::default(), items: Arc::default(), oracle, breakage }
    }

    /// Whether an entry has this content.
    pub(super) fn keeps(&self, entry: &str, content: Fingerprint) -> bool {
        let items = self.items.lock();
        let kept = items.get(entry).and_then(|entry| entry.get(CONTENT)?.as_b().ok());
        kept.is_some_and(|kept| kept.as_ref() == content.as_bytes())
    }

    /// Deletes settled and released records, as if they had expired.
    pub(super) fn forget(&self) {
        self.kept.forget();
    }

    pub(super) fn read(&self, id: &RecordId) -> Result<Option<Record>, StoreError> {
        self.kept.read(id)
    }

    /// The version before the latest one; `None` if there was none.
    pub(super) fn previous(&self, id: &RecordId) -> Option<Record> {
        self.previous.lock().get(id).cloned().flatten()
    }

    /// The versions of all records, in the order of the writes.
    pub(super) fn versions(&self) -> MutexGuard<'_, Vec<Record>> {
        self.versions.lock()
    }

    pub(super) fn write(&self, write: &Write, effects: &[TransactWriteItem]) -> Result<Written<Item>, StoreError> {
        self.oracle.wrote(|| format!("{write:?} with {} effects", effects.len()));
        let (counted, found) = self.counted(effects);
        let before = self.read(&write.record.id)?;
        let is_ignored = match write.condition {
            Condition::Owned { .. } => self.is(Breakage::OwnerIgnored),
            Condition::Unchanged(_) => self.is(Breakage::TakeoverWithoutCondition),
            Condition::Vacant { .. } => false,
        };
        let written = match &before {
            Some(found) if is_ignored => self.kept.overwrite(found, write, counted)?,
            Some(_) | None => self.kept.write(write, counted)?,
        };
        self.oracle.wrote(|| format!("answered {written:?}; stored is {:?}", self.read(&write.record.id)));
        Ok(match written {
            Written::Applied => {
                self.previous.lock().insert(write.record.id.clone(), before);
                self.versions.lock().push(write.record.clone());
                self.apply(effects);
                Written::Applied
            }
            Written::EffectRefused(refused) => {
                if self.is(Breakage::EffectsBesideTheGate) {
                    self.apply(effects);
                }
                Written::EffectRefused(RefusedEffect { index: refused.index, found: found.map(Box::new) })
            }
            Written::Recognised => Written::Recognised,
            Written::Refused(record) => Written::Refused(record),
        })
    }

    pub(super) fn watermark(&self, id: &str) -> Result<Option<Watermark>, StoreError> {
        let watermark = self.kept.watermark(id)?;
        Ok(watermark.map(|watermark| match self.breakage {
            Some(Breakage::PositionsForgotten) => Watermark { position: None, ..watermark },
            Some(Breakage::WitnessesForgotten) => Watermark { witnesses: Vec::new(), ..watermark },
            _ => watermark,
        }))
    }

    pub(super) fn advance(
        &self,
        id: &str,
        next: &Watermark,
        effects: &[TransactWriteItem],
    ) -> Result<Advanced<Item>, StoreError> {
        let before = self.kept.watermark(id)?;
        let mut next = next.clone();
        if self.is(Breakage::WatermarkWithoutCondition) {
            next.version = before.as_ref().map_or(0, |before| before.version) + 1;
        }
        let (counted, found) = self.counted(effects);
        let advanced = self.kept.advance(id, &next, counted)?;
        self.oracle.wrote(|| format!("{next:?} answered {advanced:?}; stored is {:?}", self.kept.watermark(id)));
        match advanced {
            Advanced::Applied => {
                self.oracle
                    .expect(before.is_none_or(|before| before.position <= next.position), "a watermark went back");
                self.apply(effects);
                Ok(Advanced::Applied)
            }
            Advanced::Refused(found) => {
                if self.is(Breakage::EffectsBesideTheWatermark) {
                    self.apply(effects);
                }
                self.oracle.note("a watermark had moved");
                Ok(Advanced::Refused(found))
            }
            Advanced::EffectRefused(refused) => {
                Ok(Advanced::EffectRefused(RefusedEffect { index: refused.index, found: found.map(Box::new) }))
            }
        }
    }

    /// The effects as the memory store counts them, by the items that they write. The first one whose condition does
    /// not hold is replaced by a refused one. Also returns the item that broke that condition.
    fn counted(&self, effects: &[TransactWriteItem]) -> (Vec<memory::Effect>, Option<Item>) {
        let items = self.items.lock();
        let mut broken = None;
        let counted = effects.iter().map(|effect| {
            let found = items.get(&target(effect));
            if broken.is_none() && !self.is(Breakage::GateWithoutCondition) && !stands(effect, found) {
                let mut found = found.cloned();
                if let (Some(found), true) = (&mut found, self.is(Breakage::DigestsForgotten)) {
                    found.remove(CONTENT);
                }
                broken = Some(found);
                return memory::Effect::only_once(REFUSED);
            }
            memory::Effect::named(target(effect))
        });
        (counted.collect(), broken.flatten())
    }

    fn apply(&self, effects: &[TransactWriteItem]) {
        let mut items = self.items.lock();
        for effect in effects {
            let id = target(effect);
            if let Some(name) = id.strip_prefix(EFFECT) {
                self.oracle.applied(name);
            }
            let item = items.entry(id).or_default();
            if let Some(put) = &effect.put {
                item.clone_from(&put.item);
            }
            if let Some(update) = &effect.update {
                let set = update.update_expression.strip_prefix("SET ").and_then(|set| set.split_once(" = "));
                let (name, value) = set.expect("an update that is known here");
                let (names, values) = (update.expression_attribute_names(), update.expression_attribute_values());
                item.insert(of(names, name), of(values, value));
            }
        }
    }

    fn is(&self, breakage: Breakage) -> bool {
        self.breakage == Some(breakage)
    }
}

/// The id of the item that an effect writes.
fn target(effect: &TransactWriteItem) -> String {
    let put = effect.put.as_ref().map(|put| &put.item);
    let item = put.or(effect.update.as_ref().map(|update| &update.key)).expect("puts or updates");
    item[ID].as_s().cloned().expect("a text")
}

/// Whether the condition of an effect holds.
fn stands(effect: &TransactWriteItem, found: Option<&Item>) -> bool {
    let (condition, names, values) = match (&effect.put, &effect.update) {
        (Some(put), _) => {
            (put.condition_expression(), put.expression_attribute_names(), put.expression_attribute_values())
        }
        (None, Some(update)) => {
            (update.condition_expression(), update.expression_attribute_names(), update.expression_attribute_values())
        }
        (None, None) => (None, None, None),
    };
    holds(condition, |name, value| {
        let found = found?.get(&of(names, name))?;
        let number = |value: &AttributeValue| value.as_n().ok().and_then(|digits| digits.parse::<u64>().ok());
        Some(value.map_or(std::cmp::Ordering::Equal, |value| number(found).cmp(&number(&of(values, value)))))
    })
}

/// The name or value of a placeholder.
fn of<T: Clone>(all: Option<&HashMap<String, T>>, placeholder: &str) -> T {
    all.and_then(|all| all.get(placeholder)).cloned().expect("a name or value")
}
