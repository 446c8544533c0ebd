//! The trace in which a message was sent.

use aws_lambda_events::event::sqs::SqsMessage;

use super::body::Body;
use super::key::at_pointer;
use crate::protocol::{Pointer, Trace};

/// Where a message carries the trace of its producer.
#[derive(Clone, Debug, Default)]
pub(super) struct TraceSource {
    pointer: Option<Pointer>,
}

impl TraceSource {
    pub(super) const fn in_body(pointer: Pointer) -> Self {
        Self { pointer: Some(pointer) }
    }

    /// By the attribute that the producer set, by the member of the body, by the header that SQS carries for X-Ray.
    pub(super) fn of(&self, message: &SqsMessage, body: &Body<'_>) -> Option<Trace> {
        let attribute = message.message_attributes.get(Trace::NAME).and_then(|value| value.string_value.as_deref());
        let in_body = || self.pointer.as_ref().and_then(|pointer| at_pointer(body, pointer).ok());
        let of_xray = || message.attributes.get("AWSTraceHeader").and_then(|header| Trace::from_xray(header));
        attribute
            .and_then(Trace::from_traceparent)
            .or_else(|| in_body().and_then(|text| Trace::from_traceparent(&text)))
            .or_else(of_xray)
    }
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::sqs::SqsMessageAttribute;

    use super::*;

    fn traceparent(digit: char) -> String {
        format!("00-{}-00f067aa0ba902b7-01", digit.to_string().repeat(32))
    }

    #[test]
    fn an_attribute_goes_before_the_body_and_the_body_before_xrays_header() {
        let source = TraceSource::in_body(Pointer::new("/traceparent").unwrap());
        let mut message = SqsMessage::default();
        let of = |source: &TraceSource, message: &SqsMessage| {
            source.of(message, &Body::of(message)).map(|trace| trace.to_string())
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
