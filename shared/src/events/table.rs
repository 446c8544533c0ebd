//! Batches of changes of a DynamoDB table.

use serde_json::{Value, json};

use super::{REGION, arn};
use crate::streams::TableBatch;

/// A batch of changes from the stream of one table. Keys and images are in DynamoDB's JSON: `{"id": {"S": "c-1"}}`.
#[derive(Clone, Debug)]
pub struct TableEvent {
    table: String,
    records: Vec<Value>,
}

impl TableEvent {
    /// A batch without changes, of the table with this name.
    pub fn new(table: impl Into<String>) -> Self {
        Self { table: table.into(), records: Vec::new() }
    }

    /// Adds the insertion of a new item.
    #[must_use]
    pub fn insert(self, keys: Value, new: Value) -> Self {
        self.change("INSERT", json!({"Keys": keys, "NewImage": new}))
    }

    /// Adds the modification of an item.
    #[must_use]
    pub fn modify(self, keys: Value, old: Value, new: Value) -> Self {
        self.change("MODIFY", json!({"Keys": keys, "OldImage": old, "NewImage": new}))
    }

    /// Adds the removal of an item.
    #[must_use]
    pub fn remove(self, keys: Value, old: Value) -> Self {
        self.change("REMOVE", json!({"Keys": keys, "OldImage": old}))
    }

    /// Adds a change. The event ids are `e-1`, `e-2` and so on.
    fn change(mut self, name: &str, mut images: Value) -> Self {
        let number = self.records.len() + 1;
        images["ApproximateCreationDateTime"] = json!(1_773_342_238);
        images["SequenceNumber"] = json!((100 + number).to_string());
        images["SizeBytes"] = json!(1);
        images["StreamViewType"] = json!("NEW_AND_OLD_IMAGES");
        self.records.push(json!({
            "eventID": format!("e-{number}"), "eventName": name, "eventVersion": "1.1", "eventSource": "aws:dynamodb",
            "awsRegion": REGION, "dynamodb": images,
            "eventSourceARN": arn("dynamodb", &format!("table/{}/stream/2026-03-12T00:00:00.000", self.table)),
        }));
        self
    }

    /// The event as [`TableStream`](crate::streams::TableStream) handles it.
    ///
    /// # Errors
    /// If a key or an image is not in DynamoDB's JSON.
    pub fn batch(&self) -> Result<TableBatch, serde_json::Error> {
        serde_json::from_value(self.to_json())
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"Records": self.records})
    }
}
