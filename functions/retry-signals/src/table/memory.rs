//! The stored memory of an entity.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure::AllOld, TransactWriteItem};
use signals::{Kind, Memory, WindowTime};

use super::item::{Item, bytes, number, read_bytes, read_number, read_text, text};
use super::{Signals, TableError, entity_key};

/// How long an entity's memory is kept after its last request.
const LIFE_S: u64 = 35 * 24 * 60 * 60;

/// Keys of one `BatchGetItem`.
const BATCH: usize = 100;

/// A memory as it is stored: with the memory before its last window, so that an interrupted run scores that window
/// again from the same state.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StoredMemory {
    /// The memory.
    pub(crate) memory: Memory,
    before: Memory,
    /// The start of the last window that it has absorbed, in epoch seconds; 0 without any.
    window_s: u64,
    /// Grows with each write.
    version: u64,
}

/// Memories by pseudonym.
pub(crate) type Remembered = std::collections::HashMap<String, StoredMemory>;

impl StoredMemory {
    /// The memory before a window.
    pub(crate) fn before(&self, at: WindowTime) -> &Memory {
        if self.window_s == at.start_s && at.start_s > 0 { &self.before } else { &self.memory }
    }

    /// Whether it has absorbed a window, or a later one.
    pub(crate) const fn has_absorbed(&self, at: WindowTime) -> bool {
        self.window_s >= at.start_s
    }
}

fn key(kind: Kind, entity: &str) -> Item {
    let pk = format!("memory#{}", entity_key(kind, entity));
    Item::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text("memory"))])
}

impl Signals {
    /// The memories of these entities of a kind; entities without one are missing.
    pub(crate) async fn memories(&self, kind: Kind, entities: &[&str]) -> Result<Remembered, TableError> {
        let mut remembered = Remembered::new();
        for part in entities.chunks(BATCH) {
            let mut keys: Vec<Item> = part.iter().map(|entity| key(kind, entity)).collect();
            while !keys.is_empty() {
                let request = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true).build()?;
                let answer = self.client.batch_get_item().request_items(&self.name, request).send().await?;
                let items = answer.responses.and_then(|mut tables| tables.remove(&self.name)).unwrap_or_default();
                for item in &items {
                    let entity = read_text(item, "pk").and_then(|pk| pk.rsplit('#').next()).unwrap_or_default();
                    remembered.insert(entity.to_owned(), read(item));
                }
                let rest = answer.unprocessed_keys.and_then(|mut tables| tables.remove(&self.name));
                keys = rest.map(|rest| rest.keys).unwrap_or_default();
            }
        }
        Ok(remembered)
    }

    /// The memory of an entity; empty if none is stored.
    pub(super) async fn memory(&self, kind: Kind, entity: &str) -> Result<StoredMemory, TableError> {
        Ok(self.memories(kind, &[entity]).await?.remove(entity).unwrap_or_default())
    }

    /// Stores a memory that has absorbed a window, unless it has done so before.
    pub(crate) async fn absorb(
        &self,
        kind: Kind,
        entity: &str,
        stored: &StoredMemory,
        memory: &Memory,
        at: WindowTime,
    ) -> Result<(), TableError> {
        let written = self
            .client
            .update_item()
            .table_name(&self.name)
            .set_key(Some(key(kind, entity)))
            .update_expression(
                "SET #memory = :memory, #before = :before, #window = :window, #version = :version, #expiration = :expiration",
            )
            .condition_expression("attribute_not_exists(pk) OR (#version = :read AND #window < :window)")
            .expression_attribute_names("#memory", "memory")
            .expression_attribute_names("#before", "before")
            .expression_attribute_names("#window", "window")
            .expression_attribute_names("#version", "version")
            .expression_attribute_names("#expiration", "expiration")
            .expression_attribute_values(":memory", bytes(memory.to_bytes()))
            .expression_attribute_values(":before", bytes(stored.memory.to_bytes()))
            .expression_attribute_values(":window", number(at.start_s))
            .expression_attribute_values(":read", number(stored.version))
            .expression_attribute_values(":version", number(stored.version + 1))
            .expression_attribute_values(":expiration", number(at.end_s() + LIFE_S))
            .return_values_on_condition_check_failure(AllOld)
            .send()
            .await;
        match written {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                // The window was absorbed by our own earlier try or by an earlier run; both absorbed the same.
                UpdateItemError::ConditionalCheckFailedException(failed)
                    if failed.item().is_some_and(|found| read(found).has_absorbed(at)) =>
                {
                    Ok(())
                }
                UpdateItemError::ConditionalCheckFailedException(_) => {
                    Err(TableError::Changed(format!("memory#{}", entity_key(kind, entity))))
                }
                error => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// A write that replaces a memory, for a transaction: it is refused if the memory was changed meanwhile.
    pub(super) fn replace_memory(
        &self,
        kind: Kind,
        entity: &str,
        stored: &StoredMemory,
        memory: &Memory,
        now_s: u64,
    ) -> Result<TransactWriteItem, TableError> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(key(kind, entity)))
            .item("memory", bytes(memory.to_bytes()))
            .item("before", bytes(memory.to_bytes()))
            .item("window", number(stored.window_s))
            .item("version", number(stored.version + 1))
            .item("expiration", number(now_s + LIFE_S))
            .condition_expression("attribute_not_exists(pk) OR #version = :read")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", number(stored.version))
            .return_values_on_condition_check_failure(AllOld)
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// A memory in another form is ignored.
fn read(item: &Item) -> StoredMemory {
    let memory = |name| read_bytes(item, name).and_then(|bytes| Memory::from_bytes(bytes).ok()).unwrap_or_default();
    StoredMemory {
        memory: memory("memory"),
        before: memory("before"),
        window_s: read_number(item, "window").unwrap_or(0),
        version: read_number(item, "version").unwrap_or(0),
    }
}
