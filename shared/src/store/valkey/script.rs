//! The arguments and the reply of the store's only script.

use std::sync::LazyLock;

use redis::{Script, Value};

use crate::store::RefusedEffect;

/// The script, which its first use on a server loads there.
pub(super) static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));

/// The arguments of a script, in order.
#[derive(Debug, Default)]
pub(super) struct Arguments(pub(super) Vec<Vec<u8>>);

impl Arguments {
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.push(bytes.to_vec());
        self
    }

    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.bytes(text.as_bytes())
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        self.text(&number.to_string())
    }

    /// Adds the number of fields, and the name and value of each.
    pub(super) fn fields(&mut self, fields: &[(impl AsRef<str>, Vec<u8>)]) -> &mut Self {
        self.number(fields.len() as u64);
        for (name, value) in fields {
            self.text(name.as_ref()).bytes(value);
        }
        self
    }
}

/// The script's reply.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Applied,
    /// The condition does not hold. Contains the fields of the stored item.
    Refused(Fields),
    EffectRefused(RefusedEffect<Vec<u8>>),
}

impl Reply {
    /// Reads the reply; `None` if it is not one of the script's.
    pub(super) fn read(value: Value) -> Option<Self> {
        let Value::Array(answer) = value else { return None };
        let mut answer = answer.into_iter();
        match (answer.next()?, answer.next(), answer.next()) {
            (Value::Int(0), None, None) => Some(Self::Applied),
            (Value::Int(1), Some(item), None) => Some(Self::Refused(Fields::read(item)?)),
            (Value::Int(2), Some(Value::Int(index)), found) => {
                let found = match found {
                    Some(Value::BulkString(bytes)) => Some(Box::new(bytes)),
                    _ => None,
                };
                Some(Self::EffectRefused(RefusedEffect { index: usize::try_from(index).ok()?, found }))
            }
            _ => None,
        }
    }
}

/// The fields of a hash.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(Vec<u8>, Vec<u8>)>);

impl Fields {
    /// Reads the reply to `HGETALL`.
    pub(super) fn read(value: Value) -> Option<Self> {
        let flat = match value {
            Value::Array(flat) => flat,
            Value::Map(pairs) => pairs.into_iter().flat_map(|(name, value)| [name, value]).collect(),
            Value::Nil => Vec::new(),
            _ => return None,
        };
        let mut fields = Vec::with_capacity(flat.len() / 2);
        let mut flat = flat.into_iter();
        while let Some(name) = flat.next() {
            match (name, flat.next()?) {
                (Value::BulkString(name), Value::BulkString(value)) => fields.push((name, value)),
                _ => return None,
            }
        }
        Some(Self(fields))
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes a field and returns its value.
    pub(super) fn take(&mut self, name: &str) -> Option<Vec<u8>> {
        let place = self.0.iter().position(|(field, _)| field == name.as_bytes())?;
        Some(self.0.swap_remove(place).1)
    }

    pub(super) fn text(&mut self, name: &str) -> Result<String, String> {
        let value = self.take(name).ok_or_else(|| format!("`{name}` is missing"))?;
        String::from_utf8(value).map_err(|_| format!("`{name}` is not text"))
    }

    /// A number in decimal digits.
    pub(super) fn number<N: std::str::FromStr>(&mut self, name: &str) -> Result<N, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("`{name}` is {text}"))
    }

    /// Reads an optional field, which is `None` if it is absent; records of older versions lack some.
    pub(super) fn optional<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&mut Self, &str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let present = self.0.iter().any(|(field, _)| field == name.as_bytes());
        present.then(|| read(self, name)).transpose()
    }
}
