use std::{collections::HashMap, fmt, str::FromStr};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use super::{TableError, key::Key};

/// The attributes of one item, key included.
pub(super) type Attributes = HashMap<String, AttributeValue>;

/// Builds an item.
pub(super) struct Item(Attributes);

impl Item {
    /// `kind` is for people and for the pipe, which takes only `event`s.
    pub(super) fn new(key: Key, kind: &str) -> Self {
        Self(key.into()).text("kind", kind)
    }

    pub(super) fn text(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.insert(name.to_owned(), AttributeValue::S(value.to_string()));
        self
    }

    pub(super) fn optional_text(self, name: &'static str, value: Option<&impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    pub(super) fn number(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.insert(name.to_owned(), AttributeValue::N(value.to_string()));
        self
    }

    pub(super) fn optional_number(self, name: &'static str, value: Option<&impl fmt::Display>) -> Self {
        match value {
            Some(value) => self.number(name, value),
            None => self,
        }
    }

    pub(super) fn attributes(self) -> Attributes {
        self.0
    }
}

/// Reads a text attribute, by a parser that knows what it must be.
pub(super) fn text<T>(
    item: &Attributes,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, TableError> {
    item.get(name).and_then(|value| value.as_s().ok()).and_then(|text| parse(text)).ok_or(TableError::Malformed(name))
}

/// Like [`text`], for an attribute that may be absent.
pub(super) fn optional_text<T>(
    item: &Attributes,
    name: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, TableError> {
    item.contains_key(name).then(|| text(item, name, parse)).transpose()
}

/// Reads a number attribute, an integer in this table.
pub(super) fn number<T: FromStr>(item: &Attributes, name: &'static str) -> Result<T, TableError> {
    item.get(name)
        .and_then(|value| value.as_n().ok())
        .and_then(|digits| digits.parse().ok())
        .ok_or(TableError::Malformed(name))
}

/// Parses a UUID.
pub(super) fn uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok()
}

/// A parser that accepts any text.
#[expect(clippy::unnecessary_wraps, reason = "one of the parsers")]
pub(super) fn any(text: &str) -> Option<String> {
    Some(text.to_owned())
}
