//! Where a message carries its producer's key.

use aws_lambda_events::event::sqs::SqsMessage;
use serde_json::Value;

use crate::protocol::{InvalidKey, Key};

/// Where a message carries its key.
#[derive(Clone, Debug)]
pub struct KeySource(Source);

#[derive(Clone, Debug)]
enum Source {
    Pointer(String),
    Pointers(Vec<String>),
    Attribute(String),
    MessageId,
    FirstOf(Box<[KeySource; 2]>),
}

impl KeySource {
    /// A member of the JSON body, by JSON pointer (RFC 6901): `/event`. It must be a string or an integer.
    pub fn pointer(pointer: impl Into<String>) -> Self {
        Self(Source::Pointer(pointer.into()))
    }

    /// Several members of the JSON body together: `["/device", "/sequence"]`. Each must be a string or an integer.
    pub fn pointers(pointers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(Source::Pointers(pointers.into_iter().map(Into::into).collect()))
    }

    /// A message attribute of type string.
    pub fn attribute(name: impl Into<String>) -> Self {
        Self(Source::Attribute(name.into()))
    }

    /// The id that SQS gave the message.
    ///
    /// It protects from a second delivery of one message, and from nothing else: a producer that sends again gets a
    /// new id, and so does a message that is redriven from the dead-letter queue. Such messages run again. Only for
    /// producers that cannot name what they send.
    #[must_use]
    pub const fn message_id_which_every_send_and_redrive_changes() -> Self {
        Self(Source::MessageId)
    }

    /// This, or `other` where the message does not have it. For queues that carry messages of several producers.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Source::FirstOf(Box::new([self, other])))
    }

    pub(super) fn of(&self, message: &SqsMessage) -> Result<Key, NoKey> {
        Key::new(self.text(message)?).map_err(NoKey::Invalid)
    }

    fn text(&self, message: &SqsMessage) -> Result<String, NoKey> {
        match &self.0 {
            Source::Pointer(pointer) => at_pointer(message, pointer),
            Source::Pointers(pointers) => {
                let parts = pointers.iter().map(|pointer| at_pointer(message, pointer));
                // Behind their lengths, so that no two lists of parts make one key.
                parts.map(|part| part.map(|part| format!("{}:{part}", part.len()))).collect()
            }
            Source::Attribute(name) => message
                .message_attributes
                .get(name)
                .and_then(|attribute| attribute.string_value.clone())
                .ok_or_else(|| NoKey::NoAttribute(name.clone())),
            Source::MessageId => Ok(message.message_id.clone().unwrap_or_default()),
            Source::FirstOf(sources) => {
                let [first, second] = &**sources;
                match first.text(message) {
                    Err(NoKey::NoMember(_) | NoKey::NoAttribute(_)) => second.text(message),
                    other => other,
                }
            }
        }
    }
}

pub(super) fn at_pointer(message: &SqsMessage, pointer: &str) -> Result<String, NoKey> {
    let body = message.body.as_deref().unwrap_or_default();
    let body: Value = serde_json::from_str(body).map_err(|error| NoKey::NotJson(error.to_string()))?;
    match body.pointer(pointer) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if number.is_u64() || number.is_i64() => Ok(number.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(NoKey::NotText(pointer.to_owned()))
        }
        None => Err(NoKey::NoMember(pointer.to_owned())),
    }
}

/// Why a message has no key. It is returned to its queue; nothing runs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The body has no such member.
    #[error("the body has no member {0}")]
    NoMember(String),
    /// The member is neither a string nor an integer.
    #[error("the member {0} is neither a string nor an integer")]
    NotText(String),
    /// The message has no such attribute, or it is not a string.
    #[error("the message has no string attribute {0}")]
    NoAttribute(String),
    /// The text is no key.
    #[error(transparent)]
    Invalid(InvalidKey),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(body: &str) -> Result<String, NoKey> {
        let mut message = SqsMessage::default();
        message.body = Some(body.to_owned());
        KeySource::pointer("/event/id").of(&message).map(|key| key.as_str().to_owned())
    }

    #[test]
    fn the_member_must_be_a_string_or_an_integer() {
        assert_eq!(key(r#"{"event":{"id":"e-1"}}"#).as_deref(), Ok("e-1"));
        assert_eq!(key(r#"{"event":{"id":18446744073709551615}}"#).as_deref(), Ok("18446744073709551615"));
        for id in ["null", "true", "1.5", "[null,null]", "{}", "99999999999999999999999"] {
            let error = key(&format!("{{\"event\":{{\"id\":{id}}}}}"));
            assert_eq!(error, Err(NoKey::NotText("/event/id".into())), "{id}");
        }
        assert_eq!(key(r#"{"event":{"id":""}}"#), Err(NoKey::Invalid(InvalidKey::Empty)));
        assert_eq!(key("{}"), Err(NoKey::NoMember("/event/id".into())));
        assert!(matches!(key("poison"), Err(NoKey::NotJson(_))));
    }

    #[test]
    fn an_attribute_must_be_there_and_a_string() {
        let mut message = SqsMessage::default();
        let source = KeySource::attribute("idempotency-key");
        assert_eq!(source.of(&message), Err(NoKey::NoAttribute("idempotency-key".into())));
        let mut attribute = aws_lambda_events::event::sqs::SqsMessageAttribute::default();
        attribute.string_value = Some("k".into());
        message.message_attributes.insert("idempotency-key".into(), attribute);
        assert_eq!(source.of(&message).map(|key| key.as_str().to_owned()).as_deref(), Ok("k"));
    }

    #[test]
    fn several_members_make_one_key_and_no_two_lists_the_same() {
        let source = KeySource::pointers(["/a", "/b"]);
        let key = |body: &str| {
            let mut message = SqsMessage::default();
            message.body = Some(body.to_owned());
            source.of(&message).map(|key| key.as_str().to_owned())
        };
        assert_eq!(key(r#"{"a":"till","b":17}"#).as_deref(), Ok("4:till2:17"));
        assert_ne!(key(r#"{"a":"x1:y","b":"z"}"#), key(r#"{"a":"x","b":"y1:z"}"#));
        assert_eq!(key(r#"{"a":"till"}"#), Err(NoKey::NoMember("/b".into())));
    }

    #[test]
    fn the_second_source_is_asked_only_where_the_first_is_absent() {
        let source = KeySource::pointer("/event").or(KeySource::pointers(["/terminal"]));
        let key = |body: &str| {
            let mut message = SqsMessage::default();
            message.body = Some(body.to_owned());
            source.of(&message).map(|key| key.as_str().to_owned())
        };
        assert_eq!(key(r#"{"event":"e","terminal":"t"}"#).as_deref(), Ok("e"));
        assert_eq!(key(r#"{"terminal":"t"}"#).as_deref(), Ok("1:t"));
        assert_eq!(key(r#"{"event":null,"terminal":"t"}"#), Err(NoKey::NotText("/event".into())));
        assert_eq!(key("{}"), Err(NoKey::NoMember("/terminal".into())));
    }
}
