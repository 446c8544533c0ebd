//! The items of Powertools' table: reading them, and writing those that the old function can read.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::Value;

use super::json::Language;
use super::key::OldKey;
use crate::protocol::EpochMs;
use crate::store::dynamodb::Item;
use crate::store::dynamodb::item::{number, string};

/// The attribute names of an old table, and the form of its key. The defaults are those of Powertools.
#[derive(Clone, Debug)]
pub struct OldNames {
    /// Partition key (`key_attr`).
    pub key: String,
    /// Sort key (`sort_key_attr`), if the table has one. It then holds the old key.
    pub sort: Option<String>,
    /// The value of the partition key in a table with a sort key (`static_pk_value`): `idempotency#` and the name of
    /// the old Lambda function, unless it was set.
    pub static_partition: String,
    /// Time to live, in seconds (`expiry_attr`).
    pub expiration: String,
    /// The deadline of an attempt, in milliseconds (`in_progress_expiry_attr`).
    pub in_progress_expiration: String,
    /// INPROGRESS or COMPLETED (`status_attr`).
    pub status: String,
    /// The answer (`data_attr`).
    pub data: String,
    /// The hash of the validated payload (`validation_key_attr`).
    pub validation: String,
}

impl Default for OldNames {
    fn default() -> Self {
        Self {
            key: "id".into(),
            sort: None,
            static_partition: String::new(),
            expiration: "expiration".into(),
            in_progress_expiration: "in_progress_expiration".into(),
            status: "status".into(),
            data: "data".into(),
            validation: "validation".into(),
        }
    }
}

/// The attribute, which Powertools ignores, that marks items of this library with the record that they belong to.
pub(super) const SUCCESSOR: &str = "successor";

/// The number of the attempt that has written such an item.
pub(super) const ATTEMPT: &str = "attempt";

/// The deadline of an earlier attempt of the old function that did not end.
pub(super) const AFTER: &str = "after";

pub(super) const IN_PROGRESS: &str = "INPROGRESS";
pub(super) const COMPLETED: &str = "COMPLETED";

/// How long after its deadline an attempt of the old function may still write: Lambda has been seen to kill a function
/// up to 0.7 s late.
const GRACE_MS: u64 = 1_000;

/// The meaning of an item of the old table for a call.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// The item has expired and has no meaning.
    Expired,
    /// The operation was completed with this answer.
    Completed(Value),
    /// An attempt may run until this time.
    InProgress(EpochMs),
    /// An attempt did not end before its deadline, or before its expiration if it has no deadline: it is unknown what
    /// it did. Contains the stored deadline.
    Abandoned(Option<EpochMs>),
    /// The operation was completed with an answer that cannot be read, for this reason.
    Unreadable(String),
    /// An attempt of this library, at the record of this call.
    Ours {
        /// The attempt's number.
        attempt: u64,
        /// The deadline of the old function's attempt before it, if that attempt did not end.
        after: Option<EpochMs>,
    },
    /// The old function validated a different payload under this key, or this library has run it for another record,
    /// whose caller alone may get its answers.
    Mismatch,
}

impl OldNames {
    pub(super) fn key(&self, key: &OldKey) -> Item {
        match &self.sort {
            Some(sort) => Item::from([
                (self.key.clone(), string(self.static_partition.as_str())),
                (sort.clone(), string(key.id.as_str())),
            ]),
            None => Item::from([(self.key.clone(), string(key.id.as_str()))]),
        }
    }

    /// The item of an attempt of ours. It has no deadline, so the old function does not touch it until the item
    /// expires.
    pub(super) fn in_progress(&self, key: &OldKey, successor: &str, attempt: u64, expiration_s: u64) -> Item {
        let mut item = self.item(key, successor, IN_PROGRESS, expiration_s);
        item.insert(ATTEMPT.to_owned(), number(attempt));
        item
    }

    /// The item of our answer; `None` if DynamoDB cannot store the answer in the form of Powertools for TypeScript.
    pub(super) fn completed(&self, key: &OldKey, successor: &str, answer: &Value, expiration_s: u64) -> Option<Item> {
        let mut item = self.item(key, successor, COMPLETED, expiration_s);
        let data = match key.style.language {
            // `json.dumps` would write spaces, which `json.loads` ignores.
            Language::Python => string(answer.to_string()),
            Language::TypeScript => attribute(answer, DEEPEST)?,
        };
        item.insert(self.data.clone(), data);
        Some(item)
    }

    fn item(&self, key: &OldKey, successor: &str, status: &str, expiration_s: u64) -> Item {
        let mut item = self.key(key);
        item.insert(SUCCESSOR.to_owned(), string(successor));
        item.insert(self.status.clone(), string(status));
        item.insert(self.expiration.clone(), number(expiration_s));
        if let Some(validation) = &key.validation {
            item.insert(self.validation.clone(), string(validation.as_str()));
        }
        item
    }

    /// Reads an item. As in Powertools, its expiration is checked first and then its validated payload; unlike in
    /// Powertools, an attempt of the old function that did not end still counts after it expires.
    ///
    /// # Errors
    /// The attribute that cannot be read.
    pub(super) fn read(&self, item: &Item, key: &OldKey, successor: &str, now: EpochMs) -> Result<Said, String> {
        let expiration = epoch(item, &self.expiration)?.ok_or_else(|| format!("`{}` is missing", self.expiration))?;
        let (is_over, status, owner) = (expiration < now.0 / 1000, text(item, &self.status), text(item, SUCCESSOR));
        if is_over && (status != Some(IN_PROGRESS) || owner.is_some()) {
            return Ok(Said::Expired);
        }
        if owner.is_some_and(|owner| owner != successor) {
            return Ok(Said::Mismatch);
        }
        let same = key.validation.as_deref().is_none_or(|validation| text(item, &self.validation) == Some(validation));
        if !same {
            return Ok(Said::Mismatch);
        }
        match status {
            Some(COMPLETED) => Ok(self.answer(item, key.style.language).map_or_else(Said::Unreadable, Said::Completed)),
            Some(IN_PROGRESS) if owner.is_some() => Ok(Said::Ours {
                attempt: epoch(item, ATTEMPT)?.unwrap_or_default(),
                after: epoch(item, AFTER)?.map(EpochMs),
            }),
            Some(IN_PROGRESS) => Ok(match epoch(item, &self.in_progress_expiration)? {
                Some(deadline) if deadline.saturating_add(GRACE_MS) < now.0 => Said::Abandoned(Some(EpochMs(deadline))),
                Some(deadline) => Said::InProgress(EpochMs(deadline.saturating_add(GRACE_MS))),
                None if is_over => Said::Abandoned(None),
                None => Said::InProgress(EpochMs(expiration.saturating_mul(1000))),
            }),
            Some(other) => Err(format!("`{}` is `{other}`", self.status)),
            None => Err(format!("`{}` is not text", self.status)),
        }
    }

    fn answer(&self, item: &Item, language: Language) -> Result<Value, String> {
        let unreadable = |problem: String| format!("`{}` {problem}", self.data);
        match (item.get(&self.data), language) {
            (None, _) => Ok(Value::Null),
            (Some(AttributeValue::S(json)), Language::Python) => {
                serde_json::from_str(json).map_err(|error| unreadable(format!("is not JSON: {error}")))
            }
            (Some(_), Language::Python) => Err(unreadable("is not text".into())),
            (Some(data), Language::TypeScript) => value(data).map_err(|kind| unreadable(format!("has {kind}"))),
        }
    }
}

fn text<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// A point in time, whose fractional part is ignored.
fn epoch(item: &Item, name: &str) -> Result<Option<u64>, String> {
    let Some(value) = item.get(name) else { return Ok(None) };
    let digits = value.as_n().ok().and_then(|number| number.split('.').next()?.parse().ok());
    digits.map(Some).ok_or_else(|| format!("`{name}` is not a point in time"))
}

/// The JSON that `unmarshall` makes of an attribute. The error names a type that JSON does not have.
fn value(attribute: &AttributeValue) -> Result<Value, &'static str> {
    Ok(match attribute {
        AttributeValue::Null(_) => Value::Null,
        AttributeValue::Bool(value) => Value::Bool(*value),
        AttributeValue::S(text) => Value::String(text.clone()),
        AttributeValue::N(number) => serde_json::from_str(number).map_err(|_| "a number that JSON does not have")?,
        AttributeValue::L(elements) => Value::Array(elements.iter().map(value).collect::<Result<_, _>>()?),
        AttributeValue::M(members) => {
            let members = members.iter().map(|(name, member)| value(member).map(|member| (name.clone(), member)));
            Value::Object(members.collect::<Result<_, _>>()?)
        }
        _ => return Err("bytes or a set"),
    })
}

/// How deep an attribute may be nested (AWS, "Constraints in Amazon DynamoDB": 32), with the item around it.
const DEEPEST: u32 = 30;

/// DynamoDB's largest number is slightly larger (AWS, same page); a number has at most 38 digits.
const LARGEST: f64 = 9.9e125;

/// The attribute that `marshall` makes of JSON; `None` if DynamoDB does not accept it.
fn attribute(value: &Value, depth: u32) -> Option<AttributeValue> {
    let depth = depth.checked_sub(1)?;
    Some(match value {
        Value::Null => AttributeValue::Null(true),
        Value::Bool(value) => AttributeValue::Bool(*value),
        Value::String(text) => AttributeValue::S(text.clone()),
        Value::Number(number) => {
            let size =
                number.as_f64().map(f64::abs).filter(|size| *size <= LARGEST && (*size == 0.0 || *size >= 1e-129));
            AttributeValue::N(size.map(|_| number.to_string())?)
        }
        Value::Array(elements) => {
            AttributeValue::L(elements.iter().map(|element| attribute(element, depth)).collect::<Option<_>>()?)
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, member)| Some((name.clone(), attribute(member, depth)?)));
            AttributeValue::M(members.collect::<Option<_>>()?)
        }
    })
}
