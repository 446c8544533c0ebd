//! The body of a message, read as JSON once.

use aws_lambda_events::event::sqs::SqsMessage;

use crate::protocol::{Compare, Document, Fingerprint, Fingerprinter, InvalidJson, NotComparable};

pub(super) struct Body<'m> {
    bytes: &'m [u8],
    document: Result<Document, InvalidJson>,
}

impl<'m> Body<'m> {
    pub(super) fn of(message: &'m SqsMessage) -> Self {
        let bytes = message.body.as_deref().unwrap_or_default().as_bytes();
        Self { bytes, document: Document::read(bytes) }
    }

    pub(super) const fn document(&self) -> Result<&Document, &InvalidJson> {
        self.document.as_ref()
    }

    /// What makes two messages the same.
    ///
    /// JSON with a member twice is refused, though its bytes could be compared: the handler would read one of the two, and
    /// the sender may have meant the other.
    pub(super) fn fingerprint(&self, compare: &Compare) -> Result<Fingerprint, NotComparable> {
        let parts = Fingerprinter::new();
        let parts = match &self.document {
            Ok(document) if document.is_ambiguous() => return Err(NotComparable::Ambiguous),
            Ok(document) => parts.document(self.bytes, document, compare)?,
            Err(_) => parts.bytes(self.bytes),
        };
        Ok(parts.finish())
    }
}
