//! Batches of records of Kafka topics.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::arn;
use crate::streams::KafkaBatch;

/// A batch of records of Kafka topics, from a cluster of MSK.
#[derive(Clone, Debug, Default)]
pub struct KafkaEvent {
    /// The records by topic and partition.
    records: Map<String, Value>,
}

impl KafkaEvent {
    /// A batch without records.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record at this offset of this partition.
    #[must_use]
    pub fn record(self, topic: &str, partition: u32, offset: u64, value: impl AsRef<[u8]>) -> Self {
        self.push(topic, partition, offset, STANDARD.encode(value).into())
    }

    /// Adds a tombstone: a record without a value.
    #[must_use]
    pub fn tombstone(self, topic: &str, partition: u32, offset: u64) -> Self {
        self.push(topic, partition, offset, Value::Null)
    }

    fn push(mut self, topic: &str, partition: u32, offset: u64, value: Value) -> Self {
        let record = json!({
            "topic": topic, "partition": partition, "offset": offset, "timestamp": 1_773_342_238_000_u64,
            "timestampType": "CREATE_TIME", "key": STANDARD.encode("key"), "value": value, "headers": [],
        });
        let records = self.records.entry(format!("{topic}-{partition}")).or_insert_with(|| json!([]));
        if let Value::Array(records) = records {
            records.push(record);
        }
        self
    }

    /// The event as [`Kafka`](crate::streams::Kafka) handles it.
    ///
    /// # Errors
    /// Never with the records above.
    pub fn batch(&self) -> Result<KafkaBatch, serde_json::Error> {
        serde_json::from_value(self.to_json())
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "eventSource": "aws:kafka", "eventSourceArn": arn("kafka", "cluster/sales/0f0e0d0c-1"),
            "bootstrapServers": "b-1.sales.kafka.eu-central-1.amazonaws.com:9092", "records": self.records,
        })
    }
}
