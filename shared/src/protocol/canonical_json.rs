//! JSON by value: one text for all spellings of the same document.

use struson::reader::{JsonReader, JsonStreamReader, ReaderError, ReaderSettings, ValueType};

use super::Pointer;

/// Why a text has no canonical form.
#[derive(Debug, thiserror::Error)]
#[error("not JSON that can be compared by value: {0}")]
pub struct InvalidJson(String);

/// The canonical form of a JSON document: no white space, members in the order of their names, one spelling per string.
///
/// Member order, white space and escapes do not matter to it. Array order does, and so does the spelling of a
/// number: `1.0` is not `1`, and integers beyond 2^53 stay apart, because no number goes through a float. (That
/// is why this is not RFC 8785, which compares numbers as IEEE 754 doubles.) Members of the same name are all
/// kept, in their order, so that `{"a":1,"a":2}` equals neither `{"a":2}` nor `{"a":2,"a":1}`.
///
/// # Errors
/// [`InvalidJson`] if the text is not one JSON document in UTF-8, or is nested deeper than 128 levels.
pub fn canonical_json(text: &[u8]) -> Result<Vec<u8>, InvalidJson> {
    Document::read(text).map(|document| document.canonical)
}

/// A JSON document that was read once, to be compared and pointed into.
#[derive(Debug)]
pub(crate) struct Document {
    canonical: Vec<u8>,
    ambiguous: bool,
}

/// What is where a pointer leads.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Pointed {
    /// A value, in canonical form.
    Value(Vec<u8>),
    /// No value.
    Nothing,
    /// Several members of one name are on the way, or anywhere in a document that a string holds.
    Ambiguous,
    /// A string in which the pointer goes on holds no JSON.
    NotJson,
}

impl Document {
    /// Reads a document; see [`canonical_json`].
    pub(crate) fn read(text: &[u8]) -> Result<Self, InvalidJson> {
        let mut reader = reader(text);
        let mut written = Written { canonical: Vec::with_capacity(text.len()), ambiguous: false };
        written
            .value(&mut reader)
            .and_then(|()| reader.consume_trailing_whitespace())
            .map_err(|error| InvalidJson(error.to_string()))?;
        Ok(Self { canonical: written.canonical, ambiguous: written.ambiguous })
    }

    /// See [`canonical_json`].
    pub(crate) fn canonical(&self) -> &[u8] {
        &self.canonical
    }

    /// Whether it has, anywhere, several members of one name. Readers disagree about which one counts.
    pub(crate) const fn is_ambiguous(&self) -> bool {
        self.ambiguous
    }

    pub(crate) fn at(&self, pointer: &Pointer) -> Pointed {
        let mut pointed = self.within(pointer.first());
        for tokens in pointer.in_strings() {
            let Pointed::Value(value) = pointed else { return pointed };
            // What is no string holds no document: the pointer leads nowhere.
            let Some(text) = text(&value) else { return Pointed::Nothing };
            pointed = match Self::read(text.as_bytes()) {
                Ok(document) if document.ambiguous => Pointed::Ambiguous,
                Ok(document) => document.within(tokens),
                Err(_) => Pointed::NotJson,
            };
        }
        pointed
    }

    fn within(&self, tokens: &[String]) -> Pointed {
        // What is canonical can be read.
        find(&mut reader(&self.canonical), tokens).unwrap_or(Pointed::NotJson)
    }
}

/// The text of a string in canonical form; nothing if it is another value.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    if value.first() != Some(&b'"') {
        return None;
    }
    reader(value).next_string().ok()
}

/// Leaves the reader behind the value that it is in front of.
fn find(reader: &mut Reader<'_>, tokens: &[String]) -> Result<Pointed, ReaderError> {
    let Some((token, rest)) = tokens.split_first() else {
        let mut written = Written { canonical: Vec::new(), ambiguous: false };
        written.value(reader)?;
        return Ok(Pointed::Value(written.canonical));
    };
    let mut found = Pointed::Nothing;
    match reader.peek()? {
        ValueType::Object => {
            reader.begin_object()?;
            let mut times = 0;
            while reader.has_next()? {
                if reader.next_name()? == token {
                    times += 1;
                    found = find(reader, rest)?;
                } else {
                    reader.skip_value()?;
                }
            }
            reader.end_object()?;
            if times > 1 {
                found = Pointed::Ambiguous;
            }
        }
        ValueType::Array => {
            reader.begin_array()?;
            let mut index = 0_usize;
            while reader.has_next()? {
                if index.to_string() == *token {
                    found = find(reader, rest)?;
                } else {
                    reader.skip_value()?;
                }
                index += 1;
            }
            reader.end_array()?;
        }
        ValueType::String | ValueType::Number | ValueType::Boolean | ValueType::Null => reader.skip_value()?,
    }
    Ok(found)
}

type Reader<'a> = JsonStreamReader<&'a [u8]>;

fn reader(text: &[u8]) -> Reader<'_> {
    let settings = ReaderSettings { restrict_number_values: false, track_path: false, ..ReaderSettings::default() };
    JsonStreamReader::new_custom(text, settings)
}

/// What is written of a document while it is read.
struct Written {
    canonical: Vec<u8>,
    ambiguous: bool,
}

impl Written {
    // Recursion is bounded by the reader's nesting limit.
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<(), ReaderError> {
        match reader.peek()? {
            ValueType::Object => return self.object(reader),
            ValueType::Array => return self.array(reader),
            ValueType::String => write_string(reader.next_str()?, &mut self.canonical),
            ValueType::Number => self.canonical.extend_from_slice(reader.next_number_as_str()?.as_bytes()),
            ValueType::Boolean => {
                self.canonical.extend_from_slice(if reader.next_bool()? { b"true" } else { b"false" });
            }
            ValueType::Null => {
                reader.next_null()?;
                self.canonical.extend_from_slice(b"null");
            }
        }
        Ok(())
    }

    fn object(&mut self, reader: &mut Reader<'_>) -> Result<(), ReaderError> {
        let start = self.canonical.len();
        let mut members = Vec::new();
        reader.begin_object()?;
        while reader.has_next()? {
            let (name, begin) = (reader.next_name_owned()?, self.canonical.len());
            write_string(&name, &mut self.canonical);
            self.canonical.push(b':');
            self.value(reader)?;
            members.push((name, begin - start..self.canonical.len() - start));
        }
        reader.end_object()?;
        // Stable: members of one name keep their order.
        members.sort_by(|a, b| a.0.cmp(&b.0));
        self.ambiguous |= members.windows(2).any(|pair| pair[0].0 == pair[1].0);

        let as_read = self.canonical.split_off(start);
        self.canonical.push(b'{');
        for (index, (_name, member)) in members.into_iter().enumerate() {
            if index > 0 {
                self.canonical.push(b',');
            }
            self.canonical.extend_from_slice(&as_read[member]);
        }
        self.canonical.push(b'}');
        Ok(())
    }

    fn array(&mut self, reader: &mut Reader<'_>) -> Result<(), ReaderError> {
        reader.begin_array()?;
        self.canonical.push(b'[');
        let mut first = true;
        while reader.has_next()? {
            if !first {
                self.canonical.push(b',');
            }
            first = false;
            self.value(reader)?;
        }
        self.canonical.push(b']');
        reader.end_array()
    }
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            // A decoded control character can only stand escaped; everything else stands for itself.
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            0x20..=0xff => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        String::from_utf8(canonical_json(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn member_order_white_space_and_escapes_do_not_matter() {
        assert_eq!(
            canonical("{ \"b\" : [1, 2],\n \"a\\u0062\": \"\\u00e9\\/\" }"),
            canonical("{\"ab\":\"é/\",\"b\":[1,2]}"),
        );
    }

    #[test]
    fn array_order_matters() {
        assert_ne!(canonical("[1,2]"), canonical("[2,1]"));
    }

    #[test]
    fn numbers_are_told_apart_by_their_literal() {
        for (a, b) in [("1", "1.0"), ("1e2", "100"), ("9007199254740993", "9007199254740992"), ("0", "-0")] {
            assert_ne!(canonical(a), canonical(b), "{a} and {b}");
        }
        assert_eq!(canonical(&"9".repeat(400)), "9".repeat(400));
    }

    #[test]
    fn members_of_one_name_are_told_apart() {
        let all = [r#"{"a":1,"a":2}"#, r#"{"a":2,"a":1}"#, r#"{"a":1}"#, r#"{"a":2}"#].map(canonical);
        for (i, a) in all.iter().enumerate() {
            for b in &all[i + 1..] {
                assert_ne!(a, b);
            }
        }
    }

    #[test]
    fn what_is_not_one_json_document_has_no_canonical_form() {
        for text in ["", "{", "[1,]", "{\"a\":1} x", "nul", "'a'", "01", "\u{feff}1", "{\"a\":1,}"] {
            assert!(canonical_json(text.as_bytes()).is_err(), "{text:?}");
        }
        assert!(canonical_json(b"\"\xff\"").is_err());
        assert!(canonical_json("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn pointers_select_values_and_tell_absent_from_null() {
        let at =
            |text: &str, pointer: &str| Document::read(text.as_bytes()).unwrap().at(&Pointer::new(pointer).unwrap());
        let value = |text: &str| Pointed::Value(text.as_bytes().to_vec());
        let text = r#"{"b": {"c d": [1.0, {"x/y": null}]}, "a": 12345678901234567890123, "": 5}"#;
        for (pointer, pointed) in [
            ("/a", value("12345678901234567890123")),
            ("/b/c d", value(r#"[1.0,{"x/y":null}]"#)),
            ("/b/c d/0", value("1.0")),
            ("/b/c d/1/x~1y", value("null")),
            ("/", value("5")),
            ("/c", Pointed::Nothing),
            ("/b/c d/2", Pointed::Nothing),
            ("/b/c d/00", Pointed::Nothing),
            ("/a/0", Pointed::Nothing),
        ] {
            assert_eq!(at(text, pointer), pointed, "{pointer}");
        }
        assert_eq!(at("7", ""), value("7"));
        assert_eq!(at(r#"{"a":{"b":1},"a":2}"#, "/a/b"), Pointed::Ambiguous);
        assert_eq!(at(r#"{"z":1,"z":2,"a":3}"#, "/a"), value("3"), "elsewhere they do not matter");
    }

    #[test]
    fn a_pointer_goes_on_in_documents_that_strings_hold() {
        let at = |message: &serde_json::Value, tokens: &[&str]| {
            let envelope = serde_json::json!({ "Message": message }).to_string();
            let pointer = tokens.iter().fold(Pointer::new("/Message"), |pointer, text| pointer?.in_string(text));
            Document::read(envelope.as_bytes()).unwrap().at(&pointer.unwrap())
        };
        let value = |text: &str| Pointed::Value(text.as_bytes().to_vec());
        let order = serde_json::json!(r#"{ "orderId": "\u00e4\"\\", "lines": [1, 2] }"#);
        assert_eq!(at(&order, &["/orderId"]), value(r#""ä\"\\""#));
        assert_eq!(at(&order, &[""]), value(r#"{"lines":[1,2],"orderId":"ä\"\\"}"#), "by value");
        assert_eq!(at(&order, &["/other"]), Pointed::Nothing);
        let twice = serde_json::json!(serde_json::json!({ "detail": order }).to_string());
        assert_eq!(at(&twice, &["/detail", "/lines/1"]), value("2"));
        assert_eq!(at(&serde_json::json!({ "orderId": 1 }), &["/orderId"]), Pointed::Nothing, "an object is no string");
        for text in ["", "order 17", "{\"orderId\":1"] {
            assert_eq!(at(&serde_json::json!(text), &["/orderId"]), Pointed::NotJson, "{text:?}");
        }
        for text in [r#"{"orderId":1,"orderId":1}"#, r#"{"orderId":1,"lines":[{"n":1,"n":2}]}"#] {
            assert_eq!(at(&serde_json::json!(text), &["/orderId"]), Pointed::Ambiguous, "{text}");
        }
    }

    #[test]
    fn a_member_twice_is_noticed_wherever_it_is() {
        let is_ambiguous = |text: &str| Document::read(text.as_bytes()).unwrap().is_ambiguous();
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"[{"x":{"a":1,"b":[{"c":1,"c":2}]}}]"#] {
            assert!(is_ambiguous(text), "{text}");
        }
        for text in [r#"{"a":1,"A":1}"#, r#"[{"a":1},{"a":2}]"#, r#"{"a":{"a":{"a":1}}}"#, r#"["a","a"]"#, "1"] {
            assert!(!is_ambiguous(text), "{text}");
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            ".*".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                prop::collection::vec((".*", inner), 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_and_compact_spellings_have_one_canonical_form(value in json()) {
            let compact = serde_json::to_vec(&value).unwrap();
            let pretty = serde_json::to_vec_pretty(&value).unwrap();
            prop_assert_eq!(canonical_json(&compact).unwrap(), canonical_json(&pretty).unwrap());
        }

        #[test]
        fn the_canonical_form_still_says_the_same(value in json()) {
            let canonical = canonical_json(&serde_json::to_vec(&value).unwrap()).unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&canonical).unwrap(), value);
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = canonical_json(&bytes);
        }
    }
}
