//! The records of an event, each parsed separately.
//!
//! Lambda delivers the records of many producers in one event. If one of them has an unexpected shape (an attribute
//! that is not base64, a number instead of a string), only that record must fail. An event is therefore first parsed as
//! JSON, which accepts any shape, and then read record by record. Strings are parsed once and copied from there.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::protocol::{Compare, Document, Fingerprint, Fingerprinter, NotComparable};

/// The record does not have the shape that its source specifies. It does not run and is returned.
///
/// Its content is omitted, because it must not be logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record cannot be read: its member {member} has another type or form than is known, or is missing")]
pub struct Unreadable {
    /// The path of the invalid member, by member names and list indexes: `messageAttributes.a.binaryValue`. For a
    /// missing member, the path of the object that lacks it.
    pub(crate) member: String,
}

/// Reads one record.
pub(crate) fn read<'v, T: Deserialize<'v>>(record: impl Deserializer<'v> + Copy) -> Result<T, Unreadable> {
    // Only after a failure, deserializes again to find the path of the invalid member.
    T::deserialize(record).or_else(|_| {
        serde_path_to_error::deserialize(record).map_err(|error| Unreadable { member: error.path().to_string() })
    })
}

/// The fingerprint by which two messages or records are compared.
///
/// JSON with several members of one name is refused, even though its bytes could be compared: the handler would read
/// one of them, and the sender may have meant the other.
pub(crate) fn fingerprint(
    text: &[u8],
    document: Option<&Document>,
    compare: &Compare,
) -> Result<Fingerprint, NotComparable> {
    let parts = Fingerprinter::new();
    let parts = match document {
        Some(document) if document.is_ambiguous() => return Err(NotComparable::Ambiguous),
        Some(document) => parts.document(text, document, compare)?,
        None => parts.bytes(text),
    };
    Ok(parts.finish())
}

/// The string at a JSON pointer.
pub(crate) fn text<'v>(record: &'v Value, pointer: &str) -> Option<&'v str> {
    record.pointer(pointer)?.as_str()
}
