//! Write and read units: what `ReturnConsumedCapacity` reports, and what DynamoDB bills where it reports nothing.
//!
//! A refused write has no `ConsumedCapacity`. It is billed by the size of the existing item, at least one unit (AWS,
//! "Condition expressions"), and a cancelled transaction by all its actions, twice (AWS, "Amazon DynamoDB transactions: how
//! it works", capacity management). That is computed here, from the old items in the error.

use serde_json::Value;

use crate::message::{Reply, Request};

/// What one request costs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Units {
    pub(crate) write: f64,
    pub(crate) read: f64,
}

/// Makes a request ask for its units.
pub(crate) fn ask(request: &mut Request) {
    let Value::Object(mut body) = request.json() else { return };
    body.insert("ReturnConsumedCapacity".to_owned(), "TOTAL".into());
    request.set_body(Value::Object(body).to_string());
}

/// Reads the units of a request that [asked](ask) for them.
pub(crate) fn of(request: &Request, reply: &Reply) -> Units {
    let Ok(answer) = serde_json::from_slice::<Value>(reply.body()) else { return Units::default() };
    let units = match reply.status() {
        200 => consumed(&answer["ConsumedCapacity"]),
        _ => refused(request, &answer),
    };
    match request.operation() {
        "GetItem" | "BatchGetItem" | "TransactGetItems" | "Query" | "Scan" => Units { read: units, write: 0.0 },
        _ => Units { write: units, read: 0.0 },
    }
}

fn consumed(capacity: &Value) -> f64 {
    match capacity {
        Value::Array(tables) => tables.iter().map(consumed).sum(),
        one => one["CapacityUnits"].as_f64().unwrap_or_default(),
    }
}

fn refused(request: &Request, error: &Value) -> f64 {
    let kind = error["__type"].as_str().unwrap_or_default();
    if kind.ends_with("ConditionalCheckFailedException") {
        return write_units(&error["Item"]);
    }
    if request.operation() != "TransactWriteItems" || !kind.ends_with("TransactionCanceledException") {
        return 0.0;
    }
    let body = request.json();
    let actions = body["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let actions = actions.iter().enumerate().map(|(index, action)| {
        let found = &error["CancellationReasons"][index]["Item"];
        let item = if found.is_object() { found } else { &action["Put"]["Item"] };
        2.0 * write_units(item)
    });
    actions.sum()
}

/// One for each started KB, at least one.
fn write_units(item: &Value) -> f64 {
    let kilobytes = u32::try_from(item_bytes(item).div_ceil(1024)).unwrap_or(u32::MAX);
    f64::from(kilobytes.max(1))
}

/// The size as DynamoDB counts it (AWS, "DynamoDB item sizes and formats").
fn item_bytes(item: &Value) -> usize {
    item.as_object().into_iter().flatten().map(|(name, value)| name.len() + value_bytes(value)).sum()
}

fn value_bytes(value: &Value) -> usize {
    let Some((kind, value)) = value.as_object().and_then(|value| value.iter().next()) else { return 0 };
    match (kind.as_str(), value) {
        ("S", Value::String(text)) => text.len(),
        ("N", Value::String(digits)) => digits.trim_start_matches('-').len().div_ceil(2) + 1,
        ("B", Value::String(base64)) => base64.trim_end_matches('=').len() * 3 / 4,
        ("M", map) => 3 + map.as_object().map_or(0, serde_json::Map::len) + item_bytes(map),
        ("L", Value::Array(list)) => 3 + list.len() + list.iter().map(value_bytes).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_has_the_size_that_dynamodb_documents() {
        // AWS, "DynamoDB item sizes and formats": names and strings by their UTF-8 bytes, a number by about a byte for
        // two digits and one more, binary by its bytes, a boolean and a null by one.
        let item = json!({"id": {"S": "é"}, "n": {"N": "1234"}, "b": {"B": "AAECAw=="}, "t": {"BOOL": true}});
        assert_eq!(item_bytes(&item), (2 + 2) + (1 + 3) + (1 + 4) + (1 + 1));
    }

    #[test]
    fn a_write_costs_one_unit_per_started_kilobyte() {
        let of = |bytes: usize| write_units(&json!({"id": {"S": "x".repeat(bytes - 2)}}));
        assert_eq!([of(2), of(1024), of(1025), of(40 * 1024)], [1.0, 1.0, 2.0, 40.0]);
        assert_eq!(write_units(&Value::Null), 1.0);
    }
}
