//! An SQS event, message by message.

use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use serde::Deserialize;
use serde_json::Value;

use crate::envelope::{self, Unreadable};

/// An SQS event as Lambda delivers it. Each message is parsed separately: one that cannot be read (an attribute that is
/// not base64, a number instead of a string) is returned alone.
///
/// `SqsBatch::from` takes an event that was deserialized as a whole.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct SqsBatch {
    #[serde(rename = "Records")]
    pub(super) records: Vec<Delivered>,
}

/// A message as it was delivered.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Value")]
pub(super) struct Delivered {
    /// The message; if it cannot be read, only the fields that the response needs: its id, queue and group.
    pub(super) message: SqsMessage,
    pub(super) unreadable: Option<Unreadable>,
}

impl From<Value> for Delivered {
    fn from(record: Value) -> Self {
        match envelope::read(&record) {
            Ok(message) => Self { message, unreadable: None },
            Err(why) => Self { message: known(&record), unreadable: Some(why) },
        }
    }
}

fn known(record: &Value) -> SqsMessage {
    const GROUP: &str = "MessageGroupId";
    let text = |pointer| envelope::text(record, pointer).map(str::to_owned);
    let mut message = SqsMessage::default();
    message.message_id = text("/messageId");
    message.receipt_handle = text("/receiptHandle");
    message.event_source_arn = text("/eventSourceARN");
    message.attributes =
        text("/attributes/MessageGroupId").map(|group| (GROUP.to_owned(), group)).into_iter().collect();
    message
}

impl From<SqsEvent> for SqsBatch {
    fn from(event: SqsEvent) -> Self {
        let read = |message| Delivered { message, unreadable: None };
        Self { records: event.records.into_iter().map(read).collect() }
    }
}
