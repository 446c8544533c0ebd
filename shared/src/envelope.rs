//! The records of an event, each read by itself.
//!
//! Lambda hands over many records in one event, of many producers. Where one of them has a shape that was not foreseen (an
//! attribute that is no base64, a number in the place of a text), it must fail alone: so an event is first read as JSON,
//! which takes any shape, and then record by record. Texts are read from JSON once, and copied from there.

use serde::Deserialize;
use serde_json::Value;

/// A record that has another shape than its source is known for. Nothing of it runs; it is returned.
///
/// What it says is left out: lines show no content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read: its member {member} has another type or form than is known, or is missing")]
pub(crate) struct Unreadable {
    /// Where it is, by the names of members and the places in lists: `messageAttributes.a.binaryValue`. Of a member that
    /// is missing it is where that should be.
    pub(crate) member: String,
}

/// Reads one record.
pub(crate) fn read<'v, T: Deserialize<'v>>(record: &'v Value) -> Result<T, Unreadable> {
    // A second time, with a note of the way, only where it has failed.
    T::deserialize(record).or_else(|_| {
        serde_path_to_error::deserialize(record).map_err(|error| Unreadable { member: error.path().to_string() })
    })
}

/// The text at a JSON pointer.
pub(crate) fn text<'v>(record: &'v Value, pointer: &str) -> Option<&'v str> {
    record.pointer(pointer)?.as_str()
}
