//! The sources of the producer's key in a message.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use derive_where::derive_where;

use super::message::Received;
use crate::protocol::{Document, InvalidJson, InvalidKey, Key, Node, Pointed, Pointer, check_value};

/// The place of the key in a message.
#[derive(Clone, Debug)]
pub struct KeySource(Source);

#[derive(Clone, Debug)]
enum Source {
    Pointer(Pointer),
    /// The values at these pointers, of which there is at least one.
    Pointers(Vec<Pointer>),
    Attribute(String),
    /// A value of the outermost envelope.
    Envelope(Pointer),
    Function(Function),
    #[cfg(feature = "jmespath")]
    Expression(crate::protocol::Expression),
    DeduplicationId,
    MessageId,
    FirstOf(Box<[KeySource; 2]>),
}

/// The application's function that returns the key of a message.
#[derive(Clone)]
#[derive_where(Debug)]
struct Function(#[derive_where(skip)] Arc<KeyOf>);

type KeyOf = dyn Fn(&Received<'_>) -> Option<String> + Send + Sync;

impl KeySource {
    /// A value of the JSON body, such as `/event`. It must be a string or an integer; the string `"7"` and the integer
    /// `7` are the same key.
    ///
    /// The pointer can also lead into a payload that an envelope carries as a string, such as that of SNS:
    ///
    /// ```
    /// use idempotency::protocol::Pointer;
    /// use idempotency::sqs::KeySource;
    ///
    /// let key = KeySource::pointer(Pointer::new("/Message")?.in_string("/orderId")?);
    /// # let _ = key;
    /// # Ok::<_, idempotency::protocol::InvalidPointer>(())
    /// ```
    ///
    /// Such an envelope differs each time a payload is published, so let the operation
    /// [compare](crate::Operation::compare) only its contents; or declare the [envelope](super::Queue::envelope), and
    /// point into the message inside.
    #[must_use]
    pub const fn pointer(pointer: Pointer) -> Self {
        Self(Source::Pointer(pointer))
    }

    /// Several values of the JSON body together, such as `/device` and `/sequence`. Each must be a string or an
    /// integer, and none may be a placeholder for a missing value: otherwise all devices named `undefined` would share
    /// one sequence.
    #[must_use]
    pub fn pointers(first: Pointer, others: impl IntoIterator<Item = Pointer>) -> Self {
        Self(Source::Pointers(std::iter::once(first).chain(others).collect()))
    }

    /// A message attribute of type String; in an SNS [envelope](super::Envelope::Sns), also one of the notification.
    pub fn attribute(name: impl Into<String>) -> Self {
        Self(Source::Attribute(name.into()))
    }

    /// A value of the declared [envelope](super::Queue::envelope), the outermost if there are several, such as `/id` of
    /// an EventBridge event. EventBridge's retries keep that id; a producer's retry gets a new one.
    #[must_use]
    pub const fn envelope(pointer: Pointer) -> Self {
        Self(Source::Envelope(pointer))
    }

    /// The text that the application's function returns. A message for which it returns `None` or panics has no key.
    ///
    /// ```
    /// use idempotency::sqs::KeySource;
    ///
    /// // A producer that writes lines: `order-17;2 pieces`.
    /// let key = KeySource::function(|message| Some(message.text().split_once(';')?.0.to_owned()));
    /// # let _ = key;
    /// ```
    pub fn function(key: impl Fn(&Received<'_>) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Source::Function(Function(Arc::new(key))))
    }

    /// The value that a JMESPath expression selects in the JSON body; see
    /// [`Expression::key`](crate::protocol::Expression::key).
    #[cfg(feature = "jmespath")]
    #[must_use]
    pub const fn expression(expression: crate::protocol::Expression) -> Self {
        Self(Source::Expression(expression))
    }

    /// The deduplication id of a FIFO queue, which the producer chose or SQS computed from the body. With
    /// `ContentBasedDeduplication`, equal messages are one operation for as long as records are kept, not only for five
    /// minutes.
    #[must_use]
    pub const fn deduplication_id() -> Self {
        Self(Source::DeduplicationId)
    }

    /// The object and the sequencer of an S3 notification: the same for each delivery of an event, and different when
    /// the object is written again. Use it with the [envelope](super::Envelope::S3) of S3.
    ///
    /// # Panics
    /// Never: its pointers are valid.
    #[must_use]
    pub fn s3_event() -> Self {
        let pointer = |text| Pointer::new(text).expect("a valid pointer");
        Self::pointers(
            pointer("/s3/bucket/name"),
            ["/s3/object/key", "/s3/object/sequencer", "/eventName"].map(pointer),
        )
    }

    /// The id that SQS gave the message.
    ///
    /// It protects only from a second delivery of one message: a message that the producer sends again gets a new id,
    /// and so does a message that is redriven from the dead-letter queue. Such messages run again. Use it only for
    /// producers that cannot send a key.
    #[must_use]
    pub const fn message_id_which_every_send_and_redrive_changes() -> Self {
        Self(Source::MessageId)
    }

    /// Adds an alternative: `other` is used if the message does not have this key, for queues with messages of several
    /// producers.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Source::FirstOf(Box::new([self, other])))
    }

    pub(super) fn of(&self, message: &Received<'_>) -> Result<Key, NoKey> {
        Key::new(self.text(message)?).map_err(NoKey::Invalid)
    }

    fn text(&self, message: &Received<'_>) -> Result<String, NoKey> {
        match &self.0 {
            Source::Pointer(pointer) => at_pointer(message.document(), pointer).map(str::to_owned),
            Source::Pointers(pointers) => pointers.iter().map(|pointer| part(message, pointer)).collect(),
            Source::Attribute(name) => message.attribute(name).ok_or_else(|| NoKey::NoAttribute(name.clone())),
            Source::Envelope(pointer) => at_pointer(message.outermost(), pointer).map(str::to_owned),
            Source::Function(Function(key)) => {
                let key = catch_unwind(AssertUnwindSafe(|| key(message))).map_err(|_| NoKey::Panicked)?;
                key.ok_or(NoKey::NotFound)
            }
            #[cfg(feature = "jmespath")]
            Source::Expression(expression) => {
                let document = message.document().map_err(|error| NoKey::NotJson(error.to_string()))?;
                if document.is_ambiguous() {
                    return Err(NoKey::Ambiguous);
                }
                expression.key(document).ok_or_else(|| NoKey::NoMember(expression.to_string()))
            }
            Source::DeduplicationId => {
                let id = message.attributes.get(DEDUPLICATION_ID).cloned();
                id.ok_or_else(|| NoKey::NoAttribute(DEDUPLICATION_ID.to_owned()))
            }
            Source::MessageId => Ok(message.message_id.clone().unwrap_or_default()),
            Source::FirstOf(sources) => {
                let [first, second] = &**sources;
                match first.text(message) {
                    Err(NoKey::NoMember(_) | NoKey::NoAttribute(_) | NoKey::NotFound) => second.text(message),
                    other => other,
                }
            }
        }
    }
}

/// The name of the system attribute, which only messages of FIFO queues have.
const DEDUPLICATION_ID: &str = "MessageDeduplicationId";

/// A part of a key, prefixed with its length, so that no two lists of parts give the same key.
fn part(message: &Received<'_>, pointer: &Pointer) -> Result<String, NoKey> {
    let part = at_pointer(message.document(), pointer)?;
    check_value(part).map_err(NoKey::Invalid)?;
    Ok(format!("{}:{part}", part.len()))
}

fn at_pointer<'d>(document: Result<&'d Document, &InvalidJson>, pointer: &Pointer) -> Result<&'d str, NoKey> {
    let document = document.map_err(|error| NoKey::NotJson(error.to_string()))?;
    if document.is_ambiguous() {
        return Err(NoKey::Ambiguous);
    }
    match document.at(pointer) {
        Pointed::Value(node) => text(node).ok_or_else(|| NoKey::NotText(pointer.to_string())),
        Pointed::Nothing => Err(NoKey::NoMember(pointer.to_string())),
        Pointed::Ambiguous => Err(NoKey::Ambiguous),
        Pointed::NotJson => Err(NoKey::NotJsonInString(pointer.to_string())),
    }
}

fn text(node: &Node) -> Option<&str> {
    match node {
        Node::String(text) => Some(text.as_str()),
        Node::Number(literal) => is_integer(literal).then_some(literal),
        Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_) => None,
    }
}

/// Whether a literal is an integer, however long. `-0` is not: it would be a different key than `0`.
fn is_integer(literal: &str) -> bool {
    let digits = literal.strip_prefix('-').unwrap_or(literal);
    digits.bytes().all(|byte| byte.is_ascii_digit()) && literal != "-0"
}

/// The reason that a message has no key. It is returned to its queue, and nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoKey {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body, or a document in one of its strings, has several members of one name.
    #[error("the body has a member twice, so it is ambiguous")]
    Ambiguous,
    /// The pointer leads into a string that is not JSON.
    #[error("cannot look for {0}: the string is not JSON")]
    NotJsonInString(String),
    /// The body has no such member.
    #[error("the body has no member {0}")]
    NoMember(String),
    /// The member is neither a string nor an integer.
    #[error("the member {0} is neither a string nor an integer")]
    NotText(String),
    /// The message has no such attribute, or it is not a string.
    #[error("the message has no string attribute {0}")]
    NoAttribute(String),
    /// The application's [function](KeySource::function) returned none.
    #[error("the application found no key in the message")]
    NotFound,
    /// The application's [function](KeySource::function) panicked. No other source is tried: it could give a key other
    /// than the one that the message has once the function is fixed.
    #[error("the application's function panicked on the message")]
    Panicked,
    /// The text is not a valid key.
    #[error(transparent)]
    Invalid(InvalidKey),
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::sqs::SqsMessage;

    use super::*;

    fn at(pointer: &str) -> Pointer {
        Pointer::new(pointer).unwrap()
    }

    fn of(source: &KeySource, body: &str) -> Result<String, NoKey> {
        let mut message = SqsMessage::default();
        message.body = Some(body.to_owned());
        source.of(&Received::new(&message)).map(|key| key.as_str().to_owned())
    }

    fn key(body: &str) -> Result<String, NoKey> {
        of(&KeySource::pointer(at("/event/id")), body)
    }

    #[test]
    fn the_member_must_be_a_string_or_an_integer() {
        assert_eq!(key(r#"{"event":{"id":"e-1"}}"#).as_deref(), Ok("e-1"));
        assert_eq!(key(r#"{"event":{"id":18446744073709551615}}"#).as_deref(), Ok("18446744073709551615"));
        let long = "9".repeat(300);
        for id in ["0", "-17", "99999999999999999999999", &long] {
            assert_eq!(key(&format!("{{\"event\":{{\"id\":{id}}}}}")).as_deref(), Ok(id));
        }
        for id in ["null", "true", "1.5", "1e2", "-0", "[null,null]", "{}"] {
            let error = key(&format!("{{\"event\":{{\"id\":{id}}}}}"));
            assert_eq!(error, Err(NoKey::NotText("/event/id".into())), "{id}");
        }
        assert_eq!(key(r#"{"event":{"id":""}}"#), Err(NoKey::Invalid(InvalidKey::Empty)));
        assert_eq!(key("{}"), Err(NoKey::NoMember("/event/id".into())));
        assert!(matches!(key("poison"), Err(NoKey::NotJson(_))));
        assert_eq!(key(r#"{"event":{"id":"e-1"},"event":{"id":"e-2"}}"#), Err(NoKey::Ambiguous));
        assert_eq!(key(r#"{"event":{"id":"e-1"},"other":1,"other":1}"#), Err(NoKey::Ambiguous), "not on its way");
    }

    #[test]
    fn a_key_in_a_document_that_a_string_holds_is_reached() {
        let source = KeySource::pointer(at("/Message").in_string("/order/id").unwrap());
        let source = source.or(KeySource::pointer(at("/order/id")));
        let envelope = |message: &str| of(&source, &serde_json::json!({ "Message": message }).to_string());
        assert_eq!(envelope(r#"{"order":{"id":"o-1"}}"#).as_deref(), Ok("o-1"));
        assert_eq!(envelope(r#"{"order":{"id":17}}"#).as_deref(), Ok("17"));
        assert_eq!(of(&source, r#"{"order":{"id":"raw"}}"#).as_deref(), Ok("raw"), "delivered without the envelope");
        assert_eq!(envelope("text"), Err(NoKey::NotJsonInString("/order/id in the string at /Message".into())));
        assert_eq!(envelope(r#"{"order":{"id":1},"order":{"id":2}}"#), Err(NoKey::Ambiguous));
        assert_eq!(envelope(r#"{"order":{"id":"undefined"}}"#), Err(NoKey::Invalid(InvalidKey::NoValue("undefined"))));
        assert_eq!(envelope("{}"), Err(NoKey::NoMember("/order/id".into())), "the last that was looked for");
    }

    #[test]
    fn an_attribute_must_be_there_and_a_string() {
        let mut message = SqsMessage::default();
        let source = KeySource::attribute("idempotency-key");
        let of = |message: &SqsMessage| source.of(&Received::new(message)).map(|key| key.as_str().to_owned());
        assert_eq!(of(&message), Err(NoKey::NoAttribute("idempotency-key".into())));
        let mut attribute = aws_lambda_events::event::sqs::SqsMessageAttribute::default();
        attribute.string_value = Some("k".into());
        message.message_attributes.insert("idempotency-key".into(), attribute);
        assert_eq!(of(&message).as_deref(), Ok("k"));
    }

    #[test]
    fn several_members_make_one_key_and_no_two_lists_the_same() {
        let source = KeySource::pointers(at("/a"), [at("/b")]);
        let key = |body: &str| of(&source, body);
        assert_eq!(key(r#"{"a":"till","b":17}"#).as_deref(), Ok("4:till2:17"));
        assert_ne!(key(r#"{"a":"x1:y","b":"z"}"#), key(r#"{"a":"x","b":"y1:z"}"#));
        assert_eq!(key(r#"{"a":"till"}"#), Err(NoKey::NoMember("/b".into())));
        let no_value = key(r#"{"a":"till","b":"undefined"}"#);
        assert_eq!(no_value, Err(NoKey::Invalid(InvalidKey::NoValue("undefined"))), "nor is a part of a key");
    }

    #[test]
    fn the_second_source_is_asked_only_where_the_first_is_absent() {
        let source = KeySource::pointer(at("/event")).or(KeySource::pointers(at("/terminal"), []));
        let key = |body: &str| of(&source, body);
        assert_eq!(key(r#"{"event":"e","terminal":"t"}"#).as_deref(), Ok("e"));
        assert_eq!(key(r#"{"terminal":"t"}"#).as_deref(), Ok("1:t"));
        assert_eq!(key(r#"{"event":null,"terminal":"t"}"#), Err(NoKey::NotText("/event".into())));
        assert_eq!(key("{}"), Err(NoKey::NoMember("/terminal".into())));
    }
}
