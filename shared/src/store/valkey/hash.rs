//! The conversion between a record and a hash, whose fields have the names of the attributes in DynamoDB.

use std::sync::LazyLock;

use super::script::Fields;
use crate::protocol::{Record, RecordId};
use crate::store::StoreError;
use crate::store::fields::{self, Stored, Value};
use crate::store::names::AttributeNames;

pub(super) static NAMES: LazyLock<AttributeNames> =
    LazyLock::new(|| AttributeNames { history: "history".into(), ..AttributeNames::default() });

/// All fields of a record.
pub(super) fn from_record(record: &Record) -> Vec<(&'static str, Vec<u8>)> {
    let bytes = |value| match value {
        Value::Text(text) => text.into_bytes(),
        Value::Number(number) => number.to_string().into_bytes(),
        Value::Bytes(bytes) => bytes,
    };
    fields::of(record, &NAMES).map(|(name, value)| (name, bytes(value))).collect()
}

/// Reads the record from a hash; `None` if there is none.
///
/// # Errors
/// [`StoreError::Unreadable`] names the field that is missing or malformed.
pub(super) fn to_record(id: &RecordId, found: Fields) -> Result<Option<Record>, StoreError> {
    if found.is_empty() {
        return Ok(None);
    }
    let unreadable = |problem| StoreError::Unreadable { digest: id.digest().to_owned(), problem };
    fields::read(id.clone(), found, &NAMES).map(Some).map_err(unreadable)
}

impl Stored for Fields {
    fn take_text(&mut self, name: &str) -> Result<Option<String>, String> {
        self.optional(name, Self::text)
    }

    fn take_number(&mut self, name: &str) -> Result<Option<u64>, String> {
        self.optional(name, Self::number)
    }

    fn take_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.take(name))
    }
}
