//! The trace in which a message was sent.

use super::message::Received;
use crate::protocol::{Node, Pointed, Pointer, Trace};

/// The place of the producer's trace in a message.
#[derive(Clone, Debug, Default)]
pub(super) struct TraceSource {
    pointer: Option<Pointer>,
}

impl TraceSource {
    pub(super) const fn in_body(pointer: Pointer) -> Self {
        Self { pointer: Some(pointer) }
    }

    /// The producer's message attribute, otherwise the member of the body, otherwise SQS's X-Ray header.
    pub(super) fn of(&self, message: &Received<'_>) -> Option<Trace> {
        let attribute = message.message_attributes.get(Trace::NAME).and_then(|value| value.string_value.as_deref());
        let of_xray = || message.attributes.get("AWSTraceHeader").and_then(|header| Trace::from_xray(header));
        attribute
            .and_then(Trace::from_traceparent)
            .or_else(|| self.in_document(message).and_then(Trace::from_traceparent))
            .or_else(of_xray)
    }

    fn in_document<'m>(&self, message: &'m Received<'_>) -> Option<&'m str> {
        let document = message.document().ok().filter(|document| !document.is_ambiguous())?;
        match document.at(self.pointer.as_ref()?) {
            Pointed::Value(Node::String(text)) => Some(text.as_str()),
            Pointed::Value(_) | Pointed::Nothing | Pointed::Ambiguous | Pointed::NotJson => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::sqs::{SqsMessage, SqsMessageAttribute};

    use super::*;

    fn traceparent(digit: char) -> String {
        format!("00-{}-00f067aa0ba902b7-01", digit.to_string().repeat(32))
    }

    #[test]
    fn an_attribute_goes_before_the_body_and_the_body_before_xrays_header() {
        let source = TraceSource::in_body(Pointer::new("/traceparent").unwrap());
        let mut message = SqsMessage::default();
        let of = |source: &TraceSource, message: &SqsMessage| {
            source.of(&Received::new(message)).map(|trace| trace.to_string())
        };
        let read = |message: &SqsMessage| of(&source, message);
        assert_eq!(read(&message), None);
        let header = "Root=1-11111111-111111111111111111111111;Parent=00f067aa0ba902b7;Sampled=1";
        message.attributes.insert("AWSTraceHeader".into(), header.into());
        assert_eq!(read(&message), Some(traceparent('1')));
        message.body = Some(r#"{"traceparent":""}"#.into());
        assert_eq!(read(&message), Some(traceparent('1')), "an empty one is none");
        message.body = Some(format!("{{\"traceparent\":\"{}\"}}", traceparent('2')));
        assert_eq!(read(&message), Some(traceparent('2')));
        assert_eq!(of(&TraceSource::default(), &message), Some(traceparent('1')));
        let mut attribute = SqsMessageAttribute::default();
        attribute.string_value = Some(traceparent('3'));
        message.message_attributes.insert("traceparent".into(), attribute);
        assert_eq!(read(&message), Some(traceparent('3')));
    }
}
