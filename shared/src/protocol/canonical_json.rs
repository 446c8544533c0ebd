//! JSON compared by value: one canonical text for all spellings of the same document.

use super::document::{Document, InvalidJson, Node};

/// The canonical form of a JSON document: no white space, members sorted by name, one spelling per string.
///
/// Member order, white space and escapes do not matter. Array order does, and so does the spelling of a number: `1.0`
/// is not `1`, and integers beyond 2^53 stay distinct, because no number is converted to a float. (That is why this is
/// not RFC 8785, which compares numbers as IEEE 754 doubles.) Members of the same name are all kept, in their order, so
/// that `{"a":1,"a":2}` equals neither `{"a":2}` nor `{"a":2,"a":1}`.
///
/// # Errors
/// [`InvalidJson`] if the text is not one JSON document in UTF-8, or is nested deeper than 128 levels.
pub fn canonical_json(text: &[u8]) -> Result<Vec<u8>, InvalidJson> {
    Document::parse(text).map(|document| document.canonical())
}

impl Document {
    /// The canonical form of the document; see [`canonical_json`].
    #[must_use]
    pub fn canonical(&self) -> Vec<u8> {
        let mut canonical = Vec::with_capacity(self.length());
        self.root().write(&mut canonical);
        canonical
    }
}

impl Node {
    pub(crate) fn canonical(&self) -> Vec<u8> {
        let mut canonical = Vec::new();
        self.write(&mut canonical);
        canonical
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Number(literal) => out.extend_from_slice(literal.as_bytes()),
            Self::String(text) => write_string(text.as_str(), out),
            Self::Array(elements) => write_list(b"[]", elements, out, Self::write),
            Self::Object(members) => write_list(b"{}", members, out, |(name, value), out| {
                write_string(name, out);
                out.push(b':');
                value.write(out);
            }),
        }
    }
}

fn write_list<T>([begin, end]: &[u8; 2], parts: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    out.push(*begin);
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(part, out);
    }
    out.push(*end);
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(index) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.extend_from_slice(&rest[..index]);
        match rest[index] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            // A decoded control character was written as an escape; all other characters stand for themselves.
            control => out.extend_from_slice(format!("\\u{control:04x}").as_bytes()),
        }
        rest = &rest[index + 1..];
    }
    out.extend_from_slice(rest);
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
