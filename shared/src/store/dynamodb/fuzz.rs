//! Fuzz targets for the data that is read from DynamoDB, from arbitrary bytes.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
use serde_json::Value;

use super::AttributeNames;
use super::error::Failure;
use super::item::{from_record, to_record};

/// Checks that an item of any version, as JSON of attributes, is either unreadable or a record that reads back as it
/// was written.
///
/// # Panics
/// If that does not hold.
pub fn record(bytes: &[u8]) {
    let Ok(Value::Object(attributes)) = serde_json::from_slice(bytes) else { return };
    let item: HashMap<_, _> =
        attributes.iter().filter_map(|(name, value)| Some((name.clone(), attribute(value)?))).collect();
    let names = AttributeNames::default();
    if let Ok(record) = to_record(item, &names) {
        let again = to_record(from_record(&record, &names), &names);
        assert_eq!(again.expect("what this version writes, it reads"), record);
    }
}

/// Checks that among the reasons of a cancelled transaction, one per line, a failed condition of the record is never
/// reported as worth a retry.
///
/// # Panics
/// If that does not hold.
pub fn cancellation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let codes: Vec<&str> = text.lines().collect();
    let reasons = codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect();
    let failed = codes.iter().position(|code| *code == "ConditionalCheckFailed");
    match Failure::from_cancellation(reasons) {
        Some(Failure::Refused(_)) => assert_eq!(failed, Some(0)),
        Some(Failure::EffectRefused(refused)) => assert_eq!(failed, Some(refused.index + 1)),
        Some(Failure::Contended(_) | Failure::Store(_)) | None => assert_eq!(failed, None),
    }
}

fn attribute(value: &Value) -> Option<AttributeValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => Some(AttributeValue::S(text.clone())),
        ("N", Value::String(number)) => Some(AttributeValue::N(number.clone())),
        ("B", Value::Array(bytes)) => {
            let bytes: Option<Vec<u8>> =
                bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect();
            Some(AttributeValue::B(Blob::new(bytes?)))
        }
        ("NULL", _) => Some(AttributeValue::Null(true)),
        ("BOOL", Value::Bool(truth)) => Some(AttributeValue::Bool(*truth)),
        _ => None,
    }
}
