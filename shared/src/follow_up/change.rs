//! A change of a record as the stream of its table delivers it, for tests.

use serde_json::{Value, json};

use crate::protocol::Record;
use crate::store::dynamodb::{AttributeNames, image};

/// The stream's change that results in this version of a record, with this sequence number, in a table with the default
/// attribute names.
#[must_use]
pub fn change(number: u64, record: &Record) -> Value {
    json!({
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "SequenceNumber": number.to_string(),
            "Keys": { "id": { "S": record.id.as_str() } },
            "NewImage": image::of_record(record, &AttributeNames::default()),
        },
    })
}
