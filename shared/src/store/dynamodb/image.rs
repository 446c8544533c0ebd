//! The conversion of an item image, as a table's stream delivers it, to a record.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{AttributeNames, item};
use crate::protocol::Record;
use crate::store::StoreError;

/// Reads the record from an image in DynamoDB's JSON. Attributes whose types do not occur in records are ignored.
///
/// # Errors
/// [`StoreError::Unreadable`], which names the attribute that is missing or has another type.
pub(crate) fn to_record(image: &Value, names: &AttributeNames) -> Result<Record, StoreError> {
    let attributes = image.as_object().into_iter().flatten();
    let item = attributes.filter_map(|(name, value)| Some((name.clone(), attribute(value)?))).collect();
    item::to_record(item, names)
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let text = value.as_str()?;
    match kind.as_str() {
        "S" => Some(AttributeValue::S(text.to_owned())),
        "N" => Some(AttributeValue::N(text.to_owned())),
        "B" => Some(AttributeValue::B(Blob::new(STANDARD.decode(text).ok()?))),
        _ => None,
    }
}

/// The image of a record, for tests.
#[cfg(any(test, feature = "test-util"))]
pub(crate) fn of_record(record: &Record, names: &AttributeNames) -> Value {
    let attribute = |value: AttributeValue| match value {
        AttributeValue::S(text) => serde_json::json!({ "S": text }),
        AttributeValue::N(text) => serde_json::json!({ "N": text }),
        AttributeValue::B(bytes) => serde_json::json!({ "B": STANDARD.encode(bytes) }),
        other => panic!("no record has {other:?}"),
    };
    item::from_record(record, names).into_iter().map(|(name, value)| (name, attribute(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_from_the_image_of_its_item() {
        let (record, names) = (Record::sample(), AttributeNames::default());
        let mut image = of_record(&record, &names);
        image["another"] = serde_json::json!({ "L": [] });
        assert_eq!(to_record(&image, &names).unwrap(), record);
        image["attempt"] = serde_json::json!({ "S": "x" });
        assert!(to_record(&image, &names).unwrap_err().to_string().contains("`attempt`"));
    }
}
