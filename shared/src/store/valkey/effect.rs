//! The application's writes, which the store makes in a record's script.

use super::script::Arguments;
use crate::store::TransactionalEffect;

/// An application's write in the record's script.
///
/// The set of effects is closed, because Redis does not undo the writes of a script before an error: the script checks
/// beforehand whether an effect can fail, which it can do only for these. An effect is refused if its condition does
/// not hold, if its key holds another type, or if a sum would leave the range ±(2^53 − 1), in which the script's
/// numbers are exact.
///
/// Its key must have the record's [tag](super::Placement): `{payments}balance:42`.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    pub(super) key: String,
    change: Change,
}

#[derive(Clone, Debug, PartialEq)]
enum Change {
    Set { guard: Guard, value: Vec<u8> },
    Increment { by: i64, at_least: Option<i64> },
    HashSet { only_if_absent: bool, fields: Vec<(String, Vec<u8>)> },
    HashIncrement { field: String, by: i64, at_least: Option<i64> },
    SetAdd { member: Vec<u8> },
    SortedSetAdd { score: f64, member: Vec<u8> },
    StreamAdd { fields: Vec<(String, Vec<u8>)> },
    ListPush { value: Vec<u8> },
}

#[derive(Clone, Debug, PartialEq)]
enum Guard {
    Any,
    Absent,
    Equal(Vec<u8>),
    Below(u64),
}

/// The item of a refusal is the value that the key (or the hash's field) held instead, if it is text or a number.
impl TransactionalEffect for Effect {
    type Item = Vec<u8>;
}

/// The limit up to which a Lua number, which is a double, is exact.
const EXACT: i64 = (1 << 53) - 1;

/// The maximum number of fields; more do not fit on the stack of the server's Lua.
const MAX_FIELDS: usize = 1000;

impl Effect {
    /// Sets a key (`SET`), whatever it holds.
    pub fn set(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::guarded(key, Guard::Any, value)
    }

    /// Sets a key, if it does not exist.
    pub fn insert(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::guarded(key, Guard::Absent, value)
    }

    /// Sets a key, if it holds exactly `expected`.
    pub fn replace(key: impl Into<String>, expected: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        Self::guarded(key, Guard::Equal(expected.into()), value)
    }

    /// Sets a key to a number, if it does not exist or holds a lower number.
    pub fn raise(key: impl Into<String>, number: u64) -> Self {
        Self::guarded(key, Guard::Below(number), number.to_string())
    }

    fn guarded(key: impl Into<String>, guard: Guard, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), change: Change::Set { guard, value: value.into() } }
    }

    /// Adds to an integer (`INCRBY`); a key that does not exist is 0.
    pub fn increment(key: impl Into<String>, by: i64) -> Self {
        Self { key: key.into(), change: Change::Increment { by, at_least: None } }
    }

    /// Adds to an integer, if the sum is at least `minimum`.
    pub fn increment_to_at_least(key: impl Into<String>, by: i64, minimum: i64) -> Self {
        Self { key: key.into(), change: Change::Increment { by, at_least: Some(minimum) } }
    }

    /// Sets fields of a hash (`HSET`); other fields stay. At most 1,000.
    pub fn hash_set(key: impl Into<String>, fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let fields = fields.into_iter().collect();
        Self { key: key.into(), change: Change::HashSet { only_if_absent: false, fields } }
    }

    /// Creates a hash, if it does not exist. At most 1,000 fields.
    pub fn hash_insert(key: impl Into<String>, fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        let fields = fields.into_iter().collect();
        Self { key: key.into(), change: Change::HashSet { only_if_absent: true, fields } }
    }

    /// Adds to an integer in a hash (`HINCRBY`); a field that does not exist is 0.
    pub fn hash_increment(key: impl Into<String>, field: impl Into<String>, by: i64) -> Self {
        Self { key: key.into(), change: Change::HashIncrement { field: field.into(), by, at_least: None } }
    }

    /// Adds to an integer in a hash, if the sum is at least `minimum`.
    pub fn hash_increment_to_at_least(key: impl Into<String>, field: impl Into<String>, by: i64, minimum: i64) -> Self {
        Self { key: key.into(), change: Change::HashIncrement { field: field.into(), by, at_least: Some(minimum) } }
    }

    /// Adds a member to a set (`SADD`).
    pub fn set_add(key: impl Into<String>, member: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), change: Change::SetAdd { member: member.into() } }
    }

    /// Adds a member to a sorted set, or changes its score (`ZADD`).
    pub fn sorted_set_add(key: impl Into<String>, score: f64, member: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), change: Change::SortedSetAdd { score, member: member.into() } }
    }

    /// Adds an entry to a stream, under an id that the server makes (`XADD *`). At most 1,000 fields.
    pub fn stream_add(key: impl Into<String>, fields: impl IntoIterator<Item = (String, Vec<u8>)>) -> Self {
        Self { key: key.into(), change: Change::StreamAdd { fields: fields.into_iter().collect() } }
    }

    /// Adds a value at the end of a list (`RPUSH`).
    pub fn list_push(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { key: key.into(), change: Change::ListPush { value: value.into() } }
    }

    /// The key that the effect writes.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The effect's approximate size in a request, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let values = match &self.change {
            Change::Set { guard: Guard::Equal(expected), value } => expected.len() + value.len(),
            Change::Set { value, .. } | Change::ListPush { value } => value.len(),
            Change::HashSet { fields, .. } | Change::StreamAdd { fields } => {
                fields.iter().map(|(name, value)| name.len() + value.len() + 20).sum()
            }
            Change::SetAdd { member } | Change::SortedSetAdd { member, .. } => member.len(),
            Change::Increment { .. } => 0,
            Change::HashIncrement { field, .. } => field.len(),
        };
        self.key.len() + values + 100
    }

    /// The reason that the script cannot take the effect, if there is one.
    fn problem(&self) -> Option<&'static str> {
        let inexact = |number: i64| number.unsigned_abs() > EXACT.unsigned_abs();
        match &self.change {
            Change::Increment { by, at_least } | Change::HashIncrement { by, at_least, .. }
                if inexact(*by) || at_least.is_some_and(inexact) =>
            {
                Some("an increment is not below 2^53")
            }
            Change::HashSet { fields, .. } | Change::StreamAdd { fields } if fields.is_empty() => {
                Some("an effect has no fields")
            }
            Change::HashSet { fields, .. } | Change::StreamAdd { fields } if fields.len() > MAX_FIELDS => {
                Some("an effect has more than 1,000 fields")
            }
            Change::SortedSetAdd { score, .. } if score.is_nan() => Some("a score is not a number"),
            Change::Set { .. }
            | Change::Increment { .. }
            | Change::HashSet { .. }
            | Change::HashIncrement { .. }
            | Change::SetAdd { .. }
            | Change::SortedSetAdd { .. }
            | Change::StreamAdd { .. }
            | Change::ListPush { .. } => None,
        }
    }

    fn push(&self, arguments: &mut Arguments) {
        let minimum = |at_least: &Option<i64>| at_least.map_or_else(String::new, |minimum| minimum.to_string());
        match &self.change {
            Change::Set { guard, value } => {
                arguments.text("set");
                match guard {
                    Guard::Any => arguments.text("any").text(""),
                    Guard::Absent => arguments.text("absent").text(""),
                    Guard::Equal(expected) => arguments.text("equal").bytes(expected),
                    Guard::Below(number) => arguments.text("below").number(*number),
                };
                arguments.bytes(value);
            }
            Change::Increment { by, at_least } => {
                arguments.text("increment").text(&by.to_string()).text(&minimum(at_least));
            }
            Change::HashSet { only_if_absent, fields } => {
                arguments.text("hash_set").text(if *only_if_absent { "absent" } else { "any" }).fields(fields);
            }
            Change::HashIncrement { field, by, at_least } => {
                arguments.text("hash_increment").text(field).text(&by.to_string()).text(&minimum(at_least));
            }
            Change::SetAdd { member } => {
                arguments.text("set_add").bytes(member);
            }
            Change::SortedSetAdd { score, member } => {
                arguments.text("sorted_set_add").text(&score.to_string()).bytes(member);
            }
            Change::StreamAdd { fields } => {
                arguments.text("stream_add").fields(fields);
            }
            Change::ListPush { value } => {
                arguments.text("list_push").bytes(value);
            }
        }
    }
}

/// The reason that these effects cannot be written together with a key of this tag, if there is one.
///
/// This is checked here because a single server accepts keys of other slots, and a cluster refuses them: the error
/// would first occur in production.
pub(super) fn problem(effects: &[Effect], tag: &str) -> Option<String> {
    let begin = super::key(tag, "");
    for (index, effect) in effects.iter().enumerate() {
        let Some(rest) = effect.key.strip_prefix(&begin) else {
            return Some(format!("the key of effect {index} does not begin with the record's tag {{{tag}}}"));
        };
        if super::RESERVED.iter().any(|reserved| rest.starts_with(reserved)) {
            return Some(format!("the key of effect {index} is one of the store's own"));
        }
        if let Some(problem) = effect.problem() {
            return Some(format!("effect {index}: {problem}"));
        }
        if effects[..index].iter().any(|other| other.key == effect.key) {
            return Some(format!("effect {index} writes the key of an earlier one"));
        }
    }
    None
}

/// Adds the effects to a script's keys and arguments.
pub(super) fn push(effects: &[Effect], keys: &mut Vec<String>, arguments: &mut Arguments) {
    arguments.number(effects.len() as u64);
    for effect in effects {
        keys.push(effect.key.clone());
        effect.push(arguments);
    }
}
