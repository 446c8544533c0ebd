//! Batches of records of a Kinesis stream.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{REGION, arn};
use crate::streams::KinesisBatch;

/// A batch of records of one Kinesis stream.
#[derive(Clone, Debug)]
pub struct KinesisEvent {
    stream: String,
    records: Vec<Value>,
}

impl KinesisEvent {
    /// A batch without records, of the stream with this name.
    pub fn new(stream: impl Into<String>) -> Self {
        Self { stream: stream.into(), records: Vec::new() }
    }

    /// Adds a record at this sequence number of this shard.
    #[must_use]
    pub fn record(mut self, shard: u32, sequence_number: u128, data: impl AsRef<[u8]>) -> Self {
        let shard = format!("shardId-{shard:012}");
        self.records.push(json!({
            "eventID": format!("{shard}:{sequence_number}"), "eventName": "aws:kinesis:record", "eventVersion": "1.0",
            "eventSource": "aws:kinesis", "awsRegion": REGION,
            "eventSourceARN": arn("kinesis", &format!("stream/{}", self.stream)),
            "invokeIdentityArn": "arn:aws:iam::123456789012:role/consumer",
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": "p", "sequenceNumber": sequence_number.to_string(),
                "data": STANDARD.encode(data), "approximateArrivalTimestamp": 1_773_342_238.987,
            },
        }));
        self
    }

    /// The event as [`Kinesis`](crate::streams::Kinesis) handles it.
    ///
    /// # Errors
    /// Never with the records above.
    pub fn batch(&self) -> Result<KinesisBatch, serde_json::Error> {
        serde_json::from_value(self.to_json())
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"Records": self.records})
    }
}
