//! What of a body makes two requests the same, and pointers into it.

/// What of a body makes two requests "the same request".
///
/// A choice must not change while records live: a retry under another choice is a mismatch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Compare {
    /// JSON by value (see [`canonical_json`](super::canonical_json)), all else byte by byte.
    #[default]
    Value,
    /// Byte by byte, JSON as well: for bodies that are signed, or where the spelling counts.
    Bytes,
    /// Of JSON only the values that these pointers select, by value; for bodies with members that a repeat changes,
    /// such as a time of sending. A value that is not there differs from every value, `null` included. All else, and
    /// JSON that has several members of one name on the way to a value, byte by byte.
    Selected(Vec<Pointer>),
}

/// A JSON pointer (RFC 6901), such as `/items/0/price`. The empty one selects the whole document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

/// A text that is no JSON pointer: it begins with something else than `/`, or has a `~` without `0` or `1` after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a JSON pointer (RFC 6901) such as /items/0/price")]
pub struct InvalidPointer(String);

impl Pointer {
    /// Reads a pointer.
    ///
    /// # Errors
    /// [`InvalidPointer`].
    pub fn new(text: &str) -> Result<Self, InvalidPointer> {
        let invalid = || InvalidPointer(text.to_owned());
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let tokens = text.strip_prefix('/').ok_or_else(invalid)?.split('/');
        tokens.map(unescape).collect::<Option<_>>().map(Self).ok_or_else(invalid)
    }

    /// Its reference tokens, unescaped.
    pub(super) fn tokens(&self) -> &[String] {
        &self.0
    }
}

fn unescape(token: &str) -> Option<String> {
    let mut parts = token.split('~');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (character, rest) = match part.split_at_checked(1)? {
            ("0", rest) => ('~', rest),
            ("1", rest) => ('/', rest),
            _ => return None,
        };
        text.push(character);
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_read_as_rfc_6901_says() {
        let tokens = |text: &str| Pointer::new(text).map(|pointer| pointer.0);
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/m~0n/~01"), Ok(vec!["a/b".into(), "m~n".into(), "~1".into()]));
        for text in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert_eq!(tokens(text), Err(InvalidPointer(text.into())), "{text}");
        }
    }
}
