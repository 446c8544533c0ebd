//! A message and everything that is parsed from it, each part once.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use aws_lambda_events::event::sqs::SqsMessage;
use derive_where::derive_where;

use serde::de::DeserializeOwned;

use super::envelope::{Envelope, NotInEnvelope, Opened};
use crate::envelope::Unreadable;
use crate::protocol::{Compare, Document, Fingerprint, InvalidJson, NotComparable};

/// A message as it was delivered, with its body parsed as JSON. If the queue has an [envelope](super::Queue::envelope),
/// [`text`](Self::text) and [`document`](Self::document) are those of the message inside.
pub struct Received<'e> {
    message: &'e SqsMessage,
    text: Cow<'e, str>,
    document: Result<Document, InvalidJson>,
    /// From the outside in.
    envelopes: Vec<(Envelope, Document)>,
}

impl<'e> Received<'e> {
    pub(super) fn new(message: &'e SqsMessage) -> Self {
        let text = message.body.as_deref().unwrap_or_default();
        Self { message, text: text.into(), document: Document::parse(text.as_bytes()), envelopes: Vec::new() }
    }

    /// The message in these envelopes, which are listed from the outside in. `None` if it is only a test event of the
    /// service.
    pub(super) fn open(message: &'e SqsMessage, envelopes: &[Envelope]) -> Result<Option<Self>, NotInEnvelope> {
        let mut received = Self::new(message);
        for envelope in envelopes {
            let Opened::Message(text) = envelope.open(received.document.as_ref().ok())? else { return Ok(None) };
            let document = std::mem::replace(&mut received.document, Document::parse(text.as_bytes()));
            received.envelopes.extend(document.map(|document| (*envelope, document)));
            received.text = text.into();
        }
        Ok(Some(received))
    }

    /// The message as Lambda delivered it.
    #[must_use]
    pub const fn message(&self) -> &'e SqsMessage {
        self.message
    }

    /// The body as text; empty if there is none.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The outermost envelope, or the body if the queue has none.
    pub(super) fn outermost(&self) -> Result<&Document, &InvalidJson> {
        match self.envelopes.first() {
            Some((_, document)) => Ok(document),
            None => self.document(),
        }
    }

    /// The text of a message attribute, or of the attribute in the envelope.
    pub(super) fn attribute(&self, name: &str) -> Option<String> {
        let own = self.message.message_attributes.get(name).and_then(|attribute| attribute.string_value.clone());
        let carried = || self.envelopes.iter().find_map(|(envelope, document)| envelope.attribute(document, name));
        own.or_else(|| carried().map(Cow::into_owned))
    }

    /// The body, deserialized into a type.
    pub(super) fn typed<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let document =
            self.document.as_ref().map_err(|_| Unreadable { member: "the body, which is not JSON".into() })?;
        crate::envelope::read(document)
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// [`InvalidJson`] if it is not JSON.
    pub const fn document(&self) -> Result<&Document, &InvalidJson> {
        self.document.as_ref()
    }

    /// Whether the queue has delivered the message before.
    pub(super) fn is_redelivered(&self) -> bool {
        let receives = self.message.attributes.get("ApproximateReceiveCount");
        receives.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count > 1)
    }

    /// The fingerprint by which two messages are compared.
    pub(super) fn fingerprint(&self, compare: &Compare) -> Result<Fingerprint, NotComparable> {
        crate::envelope::fingerprint(self.text().as_bytes(), self.document.as_ref().ok(), compare)
    }
}

/// Gives access to the fields of the delivered message.
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

/// A message as the handler gets it: the [received](Received) message, and the application's own
/// [type](super::Queue::reading) made from it.
///
/// A cheap handle: clones share the contents.
#[derive_where(Clone)]
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

impl<T> fmt::Debug for Message<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(formatter)
    }
}
