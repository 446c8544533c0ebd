//! The conversion of an answer to and from the bytes that a record stores.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The answer that a run returns and that every replay returns again.
///
/// Implemented for every type that serde writes and reads as JSON. The layers provide their own implementations.
pub trait Answer: Sized {
    /// Serializes the answer into at most `limit_bytes` bytes.
    ///
    /// Infallible, because the operation has already happened and must be recorded: an answer that does not fit is
    /// recorded in a short form, and reading that back reports it.
    fn write(&self, limit_bytes: usize) -> Vec<u8>;

    /// Deserializes a recorded answer.
    ///
    /// # Errors
    /// [`UnreadableAnswer`] if this version does not know the form, or the answer was too long to record. The operation
    /// does not run again because of that.
    fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer>;
}

/// The reason that a recorded answer cannot be replayed. The operation itself is settled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnreadableAnswer {
    /// A part of the answer is missing, or belongs to another transaction.
    #[error("a part of the recorded answer is missing")]
    Incomplete,
    /// The answer was longer than a record can hold.
    #[error("the answer was too long to record")]
    TooLong,
    /// The answer has the form of another version or type.
    #[error("the recorded answer is not of this form: {0}")]
    OtherForm(String),
}

const TOO_LONG: u8 = 0;
const JSON: u8 = 1;

impl<T: Serialize + DeserializeOwned> Answer for T {
    fn write(&self, limit_bytes: usize) -> Vec<u8> {
        let mut bytes = vec![JSON];
        match serde_json::to_writer(&mut bytes, self) {
            Ok(()) if bytes.len() <= limit_bytes => bytes,
            Ok(()) => vec![TOO_LONG],
            Err(error) => {
                tracing::error!(%error, "the answer cannot be written as JSON; it is recorded without");
                vec![TOO_LONG]
            }
        }
    }

    fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer> {
        match bytes {
            [JSON, json @ ..] => {
                serde_json::from_slice(json).map_err(|error| UnreadableAnswer::OtherForm(error.to_string()))
            }
            [TOO_LONG] => Err(UnreadableAnswer::TooLong),
            _ => Err(UnreadableAnswer::OtherForm("unknown first byte".into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn empty_looking_answers_are_read_back_unchanged() {
        for answer in [json!(null), json!(false), json!(0), json!(""), json!([]), json!({})] {
            assert_eq!(Value::read(&answer.write(100)).unwrap(), answer);
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_says_so_when_it_is_read() {
        let long = "x".repeat(98);
        assert_eq!(String::read(&long.write(101)).unwrap(), long);
        assert!(matches!(String::read(&long.write(100)), Err(UnreadableAnswer::TooLong)));
    }

    #[test]
    fn bytes_of_another_form_are_an_error() {
        assert!(matches!(u32::read(b"\x09{}"), Err(UnreadableAnswer::OtherForm(_))));
        assert!(matches!(u32::read(b""), Err(UnreadableAnswer::OtherForm(_))));
        assert!(matches!(u32::read(&"text".to_owned().write(100)), Err(UnreadableAnswer::OtherForm(_))));
    }
}
