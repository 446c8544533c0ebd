//! A JSON document that is parsed once, then compared, navigated by pointers, and deserialized.

mod deserialize;

use std::sync::OnceLock;

use derive_where::derive_where;
use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use super::Pointer;

pub use deserialize::NotOfType;

/// The text is not a JSON document that can be compared by value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not JSON that can be compared by value: {0}")]
pub struct InvalidJson(String);

/// A JSON document that is parsed once.
///
/// It keeps the literal of each number, and all members of the same name. `T::deserialize(&document)` deserializes it.
///
/// ```
/// use idempotency::protocol::Document;
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order<'a> {
///     id: &'a str,
///     amount: u64,
/// }
///
/// let document = Document::parse(br#"{"amount": 5, "id": "o-1"}"#)?;
/// let order = Order::deserialize(&document)?;
/// assert_eq!((order.id, order.amount), ("o-1", 5));
/// assert_eq!(document.canonical(), br#"{"amount":5,"id":"o-1"}"#);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive_where(Debug)]
pub struct Document {
    /// The content, which does not belong in a log.
    #[derive_where(skip)]
    root: Node,
    is_ambiguous: bool,
    /// The length of the text in bytes.
    #[derive_where(skip)]
    length: usize,
}

/// A value of a document.
pub(crate) enum Node {
    Null,
    Bool(bool),
    /// A number, as its literal.
    Number(Box<str>),
    String(Text),
    Array(Vec<Node>),
    /// An object, with its members sorted by name; members of one name keep their order.
    Object(Vec<(String, Node)>),
}

/// A string, which may itself contain a JSON document.
pub(crate) struct Text {
    text: String,
    /// The document in the string, parsed when a pointer first leads into it.
    document: OnceLock<Option<Box<Document>>>,
}

/// The result of following a pointer.
pub(crate) enum Pointed<'d> {
    /// A value.
    Value(&'d Node),
    /// No value.
    Nothing,
    /// Several members of one name are on the path, or anywhere in a document inside a string.
    Ambiguous,
    /// The pointer leads into a string that is not JSON.
    NotJson,
}

impl Document {
    /// Parses a document.
    ///
    /// # Errors
    /// [`InvalidJson`] if the text is not one JSON document in UTF-8, or is nested deeper than 128 levels.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJson> {
        let settings = ReaderSettings { restrict_number_values: false, track_path: false, ..ReaderSettings::default() };
        let mut reader = JsonStreamReader::new_custom(text, settings);
        let mut is_ambiguous = false;
        let root = node(&mut reader, &mut is_ambiguous);
        let root = root.and_then(|root| reader.consume_trailing_whitespace().map(|()| root));
        Ok(Self { root: root.map_err(|error| InvalidJson(error.to_string()))?, is_ambiguous, length: text.len() })
    }

    /// Whether any object in the document has several members of one name. Parsers disagree about which one counts.
    #[must_use]
    pub const fn is_ambiguous(&self) -> bool {
        self.is_ambiguous
    }

    /// Whether the document is an object.
    #[must_use]
    pub const fn is_object(&self) -> bool {
        matches!(self.root, Node::Object(_))
    }

    /// The text or number at the pointer, as it is written. `None` if there is nothing, another kind of value, or
    /// several members of one name.
    #[must_use]
    pub fn text_at(&self, pointer: &Pointer) -> Option<&str> {
        match self.at(pointer) {
            Pointed::Value(Node::String(text)) => Some(text.as_str()),
            Pointed::Value(Node::Number(digits)) => Some(digits),
            Pointed::Value(Node::Null | Node::Bool(_) | Node::Array(_) | Node::Object(_))
            | Pointed::Nothing
            | Pointed::Ambiguous
            | Pointed::NotJson => None,
        }
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(crate) const fn root(&self) -> &Node {
        &self.root
    }

    /// Follows a pointer.
    pub(crate) fn at(&self, pointer: &Pointer) -> Pointed<'_> {
        let mut pointed = self.root.at(pointer.first());
        for tokens in pointer.in_strings() {
            let Pointed::Value(node) = pointed else { return pointed };
            // Only a string can contain a document, so the pointer leads nowhere.
            let Node::String(text) = node else { return Pointed::Nothing };
            pointed = match text.document() {
                Some(document) if document.is_ambiguous => Pointed::Ambiguous,
                Some(document) => document.root.at(tokens),
                None => Pointed::NotJson,
            };
        }
        pointed
    }
}

impl Node {
    fn at(&self, tokens: &[String]) -> Pointed<'_> {
        let mut node = self;
        for token in tokens {
            node = match node {
                Self::Object(members) => {
                    let first = members.partition_point(|(name, _)| name < token);
                    let mut found = members[first..].iter().take_while(|(name, _)| name == token);
                    match (found.next(), found.next()) {
                        (Some(_), Some(_)) => return Pointed::Ambiguous,
                        (Some((_, member)), None) => member,
                        (None, _) => return Pointed::Nothing,
                    }
                }
                Self::Array(elements) => match place(token).and_then(|place| elements.get(place)) {
                    Some(element) => element,
                    None => return Pointed::Nothing,
                },
                Self::Null | Self::Bool(_) | Self::Number(_) | Self::String(_) => return Pointed::Nothing,
            };
        }
        Pointed::Value(node)
    }
}

/// The array index that a token names: digits without leading zeros.
fn place(token: &str) -> Option<usize> {
    let is_place = token == "0" || token.bytes().all(|byte| byte.is_ascii_digit()) && !token.starts_with('0');
    is_place.then(|| token.parse().ok())?
}

impl Text {
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    fn document(&self) -> Option<&Document> {
        let parse = || Document::parse(self.text.as_bytes()).ok().map(Box::new);
        self.document.get_or_init(parse).as_deref()
    }
}

type Reader<'a> = JsonStreamReader<&'a [u8]>;

// Recursion is bounded by the reader's nesting limit.
fn node(reader: &mut Reader<'_>, is_ambiguous: &mut bool) -> Result<Node, ReaderError> {
    Ok(match reader.peek()? {
        ValueType::Object => Node::Object(members(reader, is_ambiguous)?),
        ValueType::Array => Node::Array(elements(reader, is_ambiguous)?),
        ValueType::String => Node::String(Text { text: reader.next_string()?, document: OnceLock::new() }),
        ValueType::Number => Node::Number(reader.next_number_as_str()?.into()),
        ValueType::Boolean => Node::Bool(reader.next_bool()?),
        ValueType::Null => {
            reader.next_null()?;
            Node::Null
        }
    })
}

fn members(reader: &mut Reader<'_>, is_ambiguous: &mut bool) -> Result<Vec<(String, Node)>, ReaderError> {
    // Most objects have at most this many members.
    let mut members = Vec::with_capacity(8);
    reader.begin_object()?;
    while reader.has_next()? {
        members.push((reader.next_name_owned()?, node(reader, is_ambiguous)?));
    }
    reader.end_object()?;
    // The sort is stable: members of one name keep their order.
    members.sort_by(|one, other| one.0.cmp(&other.0));
    *is_ambiguous |= members.windows(2).any(|pair| pair[0].0 == pair[1].0);
    Ok(members)
}

fn elements(reader: &mut Reader<'_>, is_ambiguous: &mut bool) -> Result<Vec<Node>, ReaderError> {
    let mut elements = Vec::new();
    reader.begin_array()?;
    while reader.has_next()? {
        elements.push(node(reader, is_ambiguous)?);
    }
    reader.end_array()?;
    Ok(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The canonical form of the value, or the reason that there is none.
    fn at(text: &str, pointer: &Pointer) -> Result<String, &'static str> {
        let document = Document::parse(text.as_bytes()).unwrap();
        match document.at(pointer) {
            Pointed::Value(node) => Ok(String::from_utf8(node.canonical()).unwrap()),
            Pointed::Nothing => Err("nothing"),
            Pointed::Ambiguous => Err("ambiguous"),
            Pointed::NotJson => Err("not JSON"),
        }
    }

    fn value(text: &str) -> Result<String, &'static str> {
        Ok(text.to_owned())
    }

    #[test]
    fn pointers_select_values_and_tell_absent_from_null() {
        let at = |text: &str, pointer: &str| at(text, &Pointer::new(pointer).unwrap());
        let text = r#"{"b": {"c d": [1.0, {"x/y": null}]}, "a": 12345678901234567890123, "": 5}"#;
        for (pointer, pointed) in [
            ("/a", value("12345678901234567890123")),
            ("/b/c d", value(r#"[1.0,{"x/y":null}]"#)),
            ("/b/c d/0", value("1.0")),
            ("/b/c d/1/x~1y", value("null")),
            ("/", value("5")),
            ("/c", Err("nothing")),
            ("/b/c d/2", Err("nothing")),
            ("/b/c d/00", Err("nothing")),
            ("/b/c d/-", Err("nothing")),
            ("/b/c d/+1", Err("nothing")),
            ("/b/c d/", Err("nothing")),
            ("/b/c d/99999999999999999999", Err("nothing")),
            ("/a/0", Err("nothing")),
        ] {
            assert_eq!(at(text, pointer), pointed, "{pointer}");
        }
        assert_eq!(at("7", ""), value("7"));
        assert_eq!(at(r#"{"a":{"b":1},"a":2}"#, "/a/b"), Err("ambiguous"));
        assert_eq!(at(r#"{"z":1,"z":2,"a":3}"#, "/a"), value("3"), "elsewhere they do not matter");
    }

    #[test]
    fn a_pointer_goes_on_in_documents_that_strings_hold() {
        let at = |message: &serde_json::Value, tokens: &[&str]| {
            let envelope = serde_json::json!({ "Message": message }).to_string();
            let pointer = tokens.iter().fold(Pointer::new("/Message"), |pointer, text| pointer?.in_string(text));
            super::tests::at(&envelope, &pointer.unwrap())
        };
        let order = serde_json::json!(r#"{ "orderId": "\u00e4\"\\", "lines": [1, 2] }"#);
        assert_eq!(at(&order, &["/orderId"]), value(r#""ä\"\\""#));
        assert_eq!(at(&order, &[""]), value(r#"{"lines":[1,2],"orderId":"ä\"\\"}"#), "by value");
        assert_eq!(at(&order, &["/other"]), Err("nothing"));
        let twice = serde_json::json!(serde_json::json!({ "detail": order }).to_string());
        assert_eq!(at(&twice, &["/detail", "/lines/1"]), value("2"));
        assert_eq!(at(&serde_json::json!({ "orderId": 1 }), &["/orderId"]), Err("nothing"), "an object is no string");
        for text in ["", "order 17", "{\"orderId\":1"] {
            assert_eq!(at(&serde_json::json!(text), &["/orderId"]), Err("not JSON"), "{text:?}");
        }
        for text in [r#"{"orderId":1,"orderId":1}"#, r#"{"orderId":1,"lines":[{"n":1,"n":2}]}"#] {
            assert_eq!(at(&serde_json::json!(text), &["/orderId"]), Err("ambiguous"), "{text}");
        }
    }

    #[test]
    fn a_member_twice_is_noticed_wherever_it_is() {
        let is_ambiguous = |text: &str| Document::parse(text.as_bytes()).unwrap().is_ambiguous();
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"x":{"a":1,"b":[{"c":1,"c":2}]}}]"#] {
            assert!(is_ambiguous(text), "{text}");
        }
        for text in [r#"{"a":1,"A":1}"#, r#"[{"a":1},{"a":2}]"#, r#"{"a":{"a":{"a":1}}}"#, r#"["a","a"]"#, "1"] {
            assert!(!is_ambiguous(text), "{text}");
        }
    }

    #[test]
    fn a_document_is_shown_without_its_content() {
        let document = Document::parse(br#"{"card":"4242"}"#).unwrap();
        assert_eq!(format!("{document:?}"), "Document { is_ambiguous: false, .. }");
    }
}
