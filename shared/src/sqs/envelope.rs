//! Envelopes, in which a service wraps a message on its way to the queue.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::{Document, Node, Pointed, Pointer};

/// The envelope in which a service wraps a message on its way to the queue.
///
/// A queue with a declared [envelope](super::Queue::envelope) uses only the message inside, for key, fingerprint,
/// contention and handler. The envelope differs each time a message is published again, so it must not be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Envelope {
    /// An SNS notification, from a subscription without raw message delivery. The message is the text of `Message`; its
    /// attributes serve as [message attributes](super::KeySource::attribute).
    Sns,
    /// An event of an EventBridge bus. The message is `detail`.
    EventBridge,
    /// An event notification of S3. The message is the one record of `Records`, such as
    /// `{"eventName":…,"s3":{"bucket":…,"object":…}}`. The test event that S3 sends when notifications are configured
    /// is deleted without running.
    S3,
    /// An EventBridge pipe from another queue. The message is the text of `body`.
    PipeFromSqs,
    /// An EventBridge pipe from a Kinesis stream. The message is `data`, decoded.
    PipeFromKinesis,
    /// An EventBridge pipe from the stream of a table. The message is `dynamodb.NewImage` as plain JSON:
    /// `{"id":{"S":"a"},"n":{"N":"1"}}` becomes `{"id":"a","n":1}`; binary values stay base64, sets become arrays.
    PipeFromDynamoDb,
}

/// The reason that a message is not in its declared envelope. It is returned to its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message is not in an envelope of {envelope:?}: {problem}")]
pub(super) struct NotInEnvelope {
    envelope: Envelope,
    problem: &'static str,
}

/// The content of an envelope.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opened {
    Message(String),
    /// A test event of the service, which is not a message.
    Test,
}

impl Envelope {
    pub(super) fn open(self, document: Option<&Document>) -> Result<Opened, NotInEnvelope> {
        let problem = |problem| NotInEnvelope { envelope: self, problem };
        let document = document.ok_or(problem("it is not JSON"))?;
        if document.is_ambiguous() {
            return Err(problem("it has a member twice"));
        }
        let is_test = string(document, "/Event").is_some_and(|event| event == "s3:TestEvent");
        if self == Self::S3 && is_test && value(document, "/Records").is_none() {
            return Ok(Opened::Test);
        }
        let message = match self {
            Self::Sns => string(document, "/Message").map(str::to_owned).ok_or(problem("it has no text `Message`")),
            Self::EventBridge => value(document, "/detail").map(json).ok_or(problem("it has no `detail`")),
            Self::S3 => match value(document, "/Records") {
                Some(Node::Array(records)) if records.len() == 1 => Ok(json(&records[0])),
                _ => Err(problem("`Records` is not one record")),
            },
            Self::PipeFromSqs => string(document, "/body").map(str::to_owned).ok_or(problem("it has no text `body`")),
            Self::PipeFromKinesis => {
                let data = string(document, "/data").and_then(|data| STANDARD.decode(data).ok());
                data.and_then(|data| String::from_utf8(data).ok()).ok_or(problem("`data` is not text in base64"))
            }
            Self::PipeFromDynamoDb => match value(document, "/dynamodb/NewImage") {
                Some(Node::Object(attributes)) => plain_members(attributes).ok_or(problem("`NewImage` is not an item")),
                _ => Err(problem("it has no `dynamodb.NewImage`")),
            },
        };
        message.map(Opened::Message)
    }

    /// The attribute of a message that the envelope carries.
    pub(super) fn attribute<'d>(self, document: &'d Document, name: &str) -> Option<Cow<'d, str>> {
        if self != Self::Sns {
            return None;
        }
        let name = name.replace('~', "~0").replace('/', "~1");
        string(document, &format!("/MessageAttributes/{name}/Value")).map(Cow::Borrowed)
    }
}

fn value<'d>(document: &'d Document, pointer: &str) -> Option<&'d Node> {
    match document.at(&Pointer::new(pointer).ok()?) {
        Pointed::Value(node) => Some(node),
        Pointed::Nothing | Pointed::Ambiguous | Pointed::NotJson => None,
    }
}

fn string<'d>(document: &'d Document, pointer: &str) -> Option<&'d str> {
    match value(document, pointer)? {
        Node::String(text) => Some(text.as_str()),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => None,
    }
}

fn json(node: &Node) -> String {
    String::from_utf8(node.canonical()).unwrap_or_default()
}

fn plain_members(attributes: &[(String, Node)]) -> Option<String> {
    let members = attributes.iter().map(|(name, value)| {
        let name = serde_json::to_string(name).ok()?;
        Some(format!("{name}:{}", plain(value)?))
    });
    Some(format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(",")))
}

/// The value of a DynamoDB attribute, as JSON. Numbers keep their digits.
fn plain(attribute: &Node) -> Option<String> {
    let Node::Object(members) = attribute else { return None };
    let [(kind, value)] = members.as_slice() else { return None };
    let list = |elements: &[Node], plain: fn(&Node) -> Option<String>| {
        Some(format!("[{}]", elements.iter().map(plain).collect::<Option<Vec<_>>>()?.join(",")))
    };
    match (kind.as_str(), value) {
        ("S" | "B", Node::String(_)) | ("BOOL", Node::Bool(_)) => Some(json(value)),
        ("N", Node::String(digits)) => number(digits.as_str()),
        ("NULL", _) => Some("null".to_owned()),
        ("L", Node::Array(elements)) => list(elements, plain),
        ("M", Node::Object(members)) => plain_members(members),
        ("SS" | "BS", Node::Array(elements)) => list(elements, |element| Some(json(element))),
        ("NS", Node::Array(elements)) => list(elements, |element| match element {
            Node::String(digits) => number(digits.as_str()),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => None,
        }),
        _ => None,
    }
}

/// The digits, if they are also a JSON number.
fn number(digits: &str) -> Option<String> {
    serde_json::from_str::<serde_json::Number>(digits).ok().map(|_| digits.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn opened(envelope: Envelope, body: &Value) -> Result<Opened, NotInEnvelope> {
        envelope.open(Document::parse(body.to_string().as_bytes()).ok().as_ref())
    }

    #[test]
    fn each_envelope_is_opened_as_its_service_makes_it() {
        let record = json!({"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "a/b", "sequencer": "00"}}});
        let item = json!({"id": {"S": "a\""}, "n": {"N": "12345678901234567890.5"}, "on": {"BOOL": true},
            "list": {"L": [{"NULL": true}, {"M": {"x": {"B": "eA=="}}}]}, "set": {"NS": ["1", "2"]}});
        for (envelope, body, message) in [
            (Envelope::Sns, json!({"Type": "Notification", "Message": "{\"a\":1}"}), r#"{"a":1}"#),
            (Envelope::EventBridge, json!({"id": "e", "detail": {"b": 2, "a": 1}}), r#"{"a":1,"b":2}"#),
            (Envelope::S3, json!({ "Records": [record] }), &*record.to_string()),
            (Envelope::PipeFromSqs, json!({"messageId": "m", "body": "text"}), "text"),
            (Envelope::PipeFromKinesis, json!({"partitionKey": "p", "data": "eyJhIjoxfQ=="}), r#"{"a":1}"#),
            (
                Envelope::PipeFromDynamoDb,
                json!({"eventID": "e", "dynamodb": {"NewImage": item}}),
                r#"{"id":"a\"","list":[null,{"x":"eA=="}],"n":12345678901234567890.5,"on":true,"set":[1,2]}"#,
            ),
        ] {
            assert_eq!(opened(envelope, &body), Ok(Opened::Message(message.to_owned())), "{envelope:?}");
        }
    }

    #[test]
    fn what_is_in_no_envelope_is_refused_and_a_test_of_s3_is_no_message() {
        let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "b"});
        assert_eq!(opened(Envelope::S3, &test), Ok(Opened::Test));
        for (envelope, body) in [
            (Envelope::Sns, json!({"orderId": 1})),
            (Envelope::Sns, json!({"Message": {"orderId": 1}})),
            (Envelope::EventBridge, json!({"detail-type": "order"})),
            (Envelope::S3, json!({"Records": [{}, {}]})),
            (Envelope::S3, json!({"Records": []})),
            (Envelope::PipeFromKinesis, json!({"data": "no base64!"})),
            (Envelope::PipeFromKinesis, json!({"data": "/w=="})),
            (Envelope::PipeFromDynamoDb, json!({"dynamodb": {"OldImage": {}}})),
            (Envelope::PipeFromDynamoDb, json!({"dynamodb": {"NewImage": {"n": {"N": "seven"}}}})),
            (Envelope::PipeFromDynamoDb, json!({"dynamodb": {"NewImage": {"n": {"S": "a", "N": "1"}}}})),
        ] {
            assert!(opened(envelope, &body).is_err(), "{envelope:?} {body}");
        }
        assert!(Envelope::Sns.open(None).is_err());
        let twice = Document::parse(br#"{"Message":"a","Message":"b"}"#).unwrap();
        assert!(Envelope::Sns.open(Some(&twice)).is_err());
    }
}
