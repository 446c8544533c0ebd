//! A message and everything that was parsed from it, once.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsMessage;

use crate::protocol::{Compare, Document, Fingerprint, Fingerprinter, InvalidJson, NotComparable};

/// A message as it was delivered, with its body parsed as JSON.
pub struct Received<'e> {
    message: &'e SqsMessage,
    document: Result<Document, InvalidJson>,
}

impl<'e> Received<'e> {
    pub(super) fn new(message: &'e SqsMessage) -> Self {
        Self { message, document: Document::parse(text(message).as_bytes()) }
    }

    /// The message.
    #[must_use]
    pub const fn message(&self) -> &'e SqsMessage {
        self.message
    }

    /// The body as text; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &'e str {
        text(self.message)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`InvalidJson`] if it is not JSON.
    pub const fn document(&self) -> Result<&Document, &InvalidJson> {
        self.document.as_ref()
    }

    /// Whether the queue has delivered it before.
    pub(super) fn is_redelivered(&self) -> bool {
        let receives = self.message.attributes.get("ApproximateReceiveCount");
        receives.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count > 1)
    }

    /// The fingerprint: what makes two messages the same.
    ///
    /// JSON with several members of one name is refused, even though its bytes could be compared: the handler would
    /// read one of them, and the sender may have meant the other.
    pub(super) fn fingerprint(&self, compare: &Compare) -> Result<Fingerprint, NotComparable> {
        let parts = Fingerprinter::new();
        let parts = match &self.document {
            Ok(document) if document.is_ambiguous() => return Err(NotComparable::Ambiguous),
            Ok(document) => parts.document(self.text().as_bytes(), document, compare)?,
            Err(_) => parts.bytes(self.text().as_bytes()),
        };
        Ok(parts.finish())
    }
}

fn text(message: &SqsMessage) -> &str {
    message.body.as_deref().unwrap_or_default()
}

/// The message itself.
impl Deref for Received<'_> {
    type Target = SqsMessage;

    fn deref(&self) -> &SqsMessage {
        self.message
    }
}

/// Shows no content, which does not belong in a log.
impl fmt::Debug for Received<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Received").field("message_id", &self.message.message_id).finish_non_exhaustive()
    }
}

/// A message as the handler gets it: as it was [received](Received), with the [type](super::Queue::reading) that the
/// application converted it into.
///
/// A cheap handle: clones share the contents.
pub struct Message<'e, T = ()>(Arc<(Received<'e>, T)>);

impl<'e, T> Message<'e, T> {
    pub(super) fn new(received: Received<'e>, content: T) -> Self {
        Self(Arc::new((received, content)))
    }

    /// The application's own type, made from the message.
    #[must_use]
    pub fn content(&self) -> &T {
        &self.0.1
    }
}

impl<'e, T> Deref for Message<'e, T> {
    type Target = Received<'e>;

    fn deref(&self) -> &Received<'e> {
        &self.0.0
    }
}

impl<T> Clone for Message<'_, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Message<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
