//! The records of an event, each read by itself.
//!
//! Lambda delivers the records of many producers in one event. If one of them has an unexpected shape (an attribute
//! that is not base64, a number instead of a text), it must fail alone. So an event is first parsed as JSON, which
//! accepts any shape, and then read record by record. Texts are parsed once, and copied from there.

use serde::Deserialize;
use serde_json::Value;

/// A record that has another shape than the records of its source. It does not run; it is returned.
///
/// Its content is left out: the log shows none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read: its member {member} has another type or form than is known, or is missing")]
pub(crate) struct Unreadable {
    /// Its path, by the names of members and the places in lists: `messageAttributes.a.binaryValue`. For a missing
    /// member, the path of the object that lacks it.
    pub(crate) member: String,
}

/// Reads one record.
pub(crate) fn read<'v, T: Deserialize<'v>>(record: &'v Value) -> Result<T, Unreadable> {
    // Again with the path of the failure, only where the first reading has failed.
    T::deserialize(record).or_else(|_| {
        serde_path_to_error::deserialize(record).map_err(|error| Unreadable { member: error.path().to_string() })
    })
}

/// The text at a JSON pointer.
pub(crate) fn text<'v>(record: &'v Value, pointer: &str) -> Option<&'v str> {
    record.pointer(pointer)?.as_str()
}
