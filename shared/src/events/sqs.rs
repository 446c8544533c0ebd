//! Batches of SQS messages.

use serde_json::{Map, Value, json};

use super::{REGION, arn};
use crate::sqs::SqsBatch;

/// A batch of messages from one queue.
#[derive(Clone, Debug)]
pub struct SqsEvent {
    queue: String,
    messages: Vec<Value>,
}

impl SqsEvent {
    /// A batch without messages, from the queue with this name. A name that ends with `.fifo` makes it a FIFO queue.
    pub fn new(queue: impl Into<String>) -> Self {
        Self { queue: queue.into(), messages: Vec::new() }
    }

    /// Adds a message. The ids are `m-1`, `m-2` and so on.
    #[must_use]
    pub fn message(mut self, body: impl Into<String>) -> Self {
        let number = self.messages.len() + 1;
        self.messages.push(json!({
            "messageId": format!("m-{number}"), "receiptHandle": format!("receipt-{number}"), "body": body.into(),
            "attributes": {
                "ApproximateReceiveCount": "1", "SentTimestamp": "1773342238000", "SenderId": "AIDAEXAMPLE",
                "ApproximateFirstReceiveTimestamp": "1773342238001",
            },
            "messageAttributes": {}, "eventSource": "aws:sqs", "eventSourceARN": arn("sqs", &self.queue),
            "awsRegion": REGION,
        }));
        self
    }

    /// Sets the message group and the deduplication id of the last message, for a FIFO queue.
    #[must_use]
    pub fn in_group(self, group: &str, deduplication_id: &str) -> Self {
        let number = self.messages.len();
        self.change("attributes", |attributes| {
            attributes.insert("MessageGroupId".into(), group.into());
            attributes.insert("MessageDeduplicationId".into(), deduplication_id.into());
            attributes.insert("SequenceNumber".into(), format!("188496694516327{number:05}").into());
        })
    }

    /// Adds a string attribute to the last message.
    #[must_use]
    pub fn attribute(self, name: &str, value: &str) -> Self {
        self.change("messageAttributes", |attributes| {
            attributes.insert(name.to_owned(), json!({"stringValue": value, "dataType": "String"}));
        })
    }

    /// Sets how often the last message has been received, including this delivery.
    #[must_use]
    pub fn received(self, times: u32) -> Self {
        self.change("attributes", |attributes| {
            attributes.insert("ApproximateReceiveCount".into(), times.to_string().into());
        })
    }

    /// The event as [`Queue`](crate::Queue) handles it.
    ///
    /// # Errors
    /// Never with the messages above.
    pub fn batch(&self) -> Result<SqsBatch, serde_json::Error> {
        serde_json::from_value(self.to_json())
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"Records": self.messages})
    }

    fn change(mut self, member: &str, change: impl FnOnce(&mut Map<String, Value>)) -> Self {
        if let Some(Value::Object(members)) = self.messages.last_mut().and_then(|message| message.get_mut(member)) {
            change(members);
        }
        self
    }
}
