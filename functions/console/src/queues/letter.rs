use std::collections::HashMap;

use aws_sdk_sqs::types::{Message, MessageAttributeValue, MessageSystemAttributeName};
use idempotency::protocol::{Document, EpochMs};

/// A message that could not be posted to the ledger.
#[derive(Clone, Debug)]
pub(crate) struct DeadLetter {
    pub(crate) id: String,
    /// When its producer sent it.
    pub(crate) sent: Option<EpochMs>,
    pub(super) receipt: String,
    pub(super) body: String,
    pub(super) attributes: HashMap<String, MessageAttributeValue>,
}

impl DeadLetter {
    pub(super) fn of(message: Message) -> Option<Self> {
        let sent = message.attributes.as_ref().and_then(|all| all.get(&MessageSystemAttributeName::SentTimestamp));
        let sent = sent.and_then(|sent| sent.parse().ok()).map(EpochMs);
        let attributes = message.message_attributes.unwrap_or_default();
        let (id, receipt) = (message.message_id?, message.receipt_handle?);
        Some(Self { id, sent, receipt, body: message.body.unwrap_or_default(), attributes })
    }

    /// The message as the ledger would read it.
    pub(crate) fn content(&self) -> Result<payments::Message, String> {
        let document = Document::parse(self.body.as_bytes()).map_err(|error| error.to_string())?;
        payments::Message::of(&document).map_err(|invalid| invalid.to_string())
    }
}
