//! JSON pointers, which may also lead into JSON documents inside strings.

use std::fmt;

/// A JSON pointer (RFC 6901), such as `/items/0/price`, that may continue in a JSON document inside a string. The empty
/// pointer selects the whole document.
///
/// Some envelopes carry their payload this way: SNS puts it into the string `Message`.
///
/// ```
/// use idempotency::protocol::Pointer;
///
/// let order = Pointer::new("/Message")?.in_string("/orderId")?;
/// assert_eq!(order.to_string(), "/orderId in the string at /Message");
/// # Ok::<_, idempotency::protocol::InvalidPointer>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer {
    first: Tokens,
    in_strings: Vec<Tokens>,
}

/// The reference tokens of a pointer, unescaped.
type Tokens = Vec<String>;

/// The text is not a JSON pointer: it does not begin with `/`, or has a `~` that is not followed by `0` or `1`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a JSON pointer (RFC 6901) such as /items/0/price")]
pub struct InvalidPointer(String);

impl Pointer {
    /// Parses a pointer.
    ///
    /// # Errors
    /// [`InvalidPointer`] if the text is not a JSON pointer.
    pub fn new(text: &str) -> Result<Self, InvalidPointer> {
        Ok(Self { first: tokens(text)?, in_strings: Vec::new() })
    }

    /// Continues in the JSON document inside the string at this pointer. Call it again for documents nested in strings
    /// of that document.
    ///
    /// # Errors
    /// [`InvalidPointer`] if the text is not a JSON pointer.
    pub fn in_string(mut self, text: &str) -> Result<Self, InvalidPointer> {
        self.in_strings.push(tokens(text)?);
        Ok(self)
    }

    /// The path in the outer document.
    pub(super) fn first(&self) -> &[String] {
        &self.first
    }

    /// The paths in the documents inside strings, from the outside in.
    pub(super) fn in_strings(&self) -> impl Iterator<Item = &[String]> {
        self.in_strings.iter().map(Vec::as_slice)
    }
}

/// Writes the innermost pointer first, each in the notation of RFC 6901.
impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for tokens in self.in_strings.iter().rev() {
            write_tokens(formatter, tokens)?;
            formatter.write_str(" in the string at ")?;
        }
        write_tokens(formatter, &self.first)
    }
}

fn write_tokens(formatter: &mut fmt::Formatter<'_>, tokens: &[String]) -> fmt::Result {
    if tokens.is_empty() {
        return formatter.write_str("the whole");
    }
    tokens.iter().try_for_each(|token| write!(formatter, "/{}", token.replace('~', "~0").replace('/', "~1")))
}

fn tokens(text: &str) -> Result<Tokens, InvalidPointer> {
    let invalid = || InvalidPointer(text.to_owned());
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let tokens = text.strip_prefix('/').ok_or_else(invalid)?.split('/');
    tokens.map(unescape).collect::<Option<_>>().ok_or_else(invalid)
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
        let tokens = |text: &str| Pointer::new(text).map(|pointer| pointer.first);
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/m~0n/~01"), Ok(vec!["a/b".into(), "m~n".into(), "~1".into()]));
        for text in ["a", "a/b", "/~", "/~2", "/a~"] {
            assert_eq!(tokens(text), Err(InvalidPointer(text.into())), "{text}");
            assert!(Pointer::new("/a").unwrap().in_string(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_pointer_is_shown_as_it_was_written() {
        for text in ["/", "/a~1b/m~0n/~01", "/items/0"] {
            assert_eq!(Pointer::new(text).unwrap().to_string(), text);
        }
        let nested = Pointer::new("/a").unwrap().in_string("").unwrap().in_string("/c").unwrap();
        assert_eq!(nested.to_string(), "/c in the string at the whole in the string at /a");
    }
}
