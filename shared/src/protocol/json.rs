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
    let mut reader = reader(text);
    let mut canonical = Vec::with_capacity(text.len());
    write_value(&mut reader, &mut canonical)
        .and_then(|()| reader.consume_trailing_whitespace())
        .map_err(|error| InvalidJson(error.to_string()))?;
    Ok(canonical)
}

/// The values that pointers select from a document, in canonical form; nothing for one that is not there.
///
/// # Errors
/// [`InvalidJson`] where [`canonical_json`] fails, or where several members of one name are on the way to a value.
pub(super) fn select(text: &[u8], pointers: &[Pointer]) -> Result<Vec<Option<Vec<u8>>>, InvalidJson> {
    let canonical = canonical_json(text)?;
    let select = |pointer: &Pointer| {
        let found = find(&mut reader(&canonical), pointer.tokens()).map_err(|error| InvalidJson(error.to_string()))?;
        match found {
            Found::Nothing => Ok(None),
            Found::Value(value) => Ok(Some(value)),
            Found::Several => Err(InvalidJson("several members of one name".into())),
        }
    };
    pointers.iter().map(select).collect()
}

enum Found {
    Nothing,
    Value(Vec<u8>),
    Several,
}

/// Leaves the reader behind the value that it is in front of.
fn find(reader: &mut Reader<'_>, tokens: &[String]) -> Result<Found, ReaderError> {
    let Some((token, rest)) = tokens.split_first() else {
        let mut value = Vec::new();
        write_value(reader, &mut value)?;
        return Ok(Found::Value(value));
    };
    let mut found = Found::Nothing;
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
                found = Found::Several;
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

// Recursion is bounded by the reader's nesting limit.
fn write_value(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ReaderError> {
    match reader.peek()? {
        ValueType::Object => write_object(reader, out),
        ValueType::Array => write_array(reader, out),
        ValueType::String => {
            write_string(reader.next_str()?, out);
            Ok(())
        }
        ValueType::Number => {
            out.extend_from_slice(reader.next_number_as_str()?.as_bytes());
            Ok(())
        }
        ValueType::Boolean => {
            out.extend_from_slice(if reader.next_bool()? { b"true" } else { b"false" });
            Ok(())
        }
        ValueType::Null => {
            reader.next_null()?;
            out.extend_from_slice(b"null");
            Ok(())
        }
    }
}

fn write_object(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ReaderError> {
    let start = out.len();
    let mut members = Vec::new();
    reader.begin_object()?;
    while reader.has_next()? {
        let (name, begin) = (reader.next_name_owned()?, out.len());
        write_string(&name, out);
        out.push(b':');
        write_value(reader, out)?;
        members.push((name, begin - start..out.len() - start));
    }
    reader.end_object()?;
    // Stable: members of one name keep their order.
    members.sort_by(|a, b| a.0.cmp(&b.0));

    let as_read = out.split_off(start);
    out.push(b'{');
    for (index, (_name, member)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&as_read[member]);
    }
    out.push(b'}');
    Ok(())
}

fn write_array(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), ReaderError> {
    reader.begin_array()?;
    out.push(b'[');
    let mut first = true;
    while reader.has_next()? {
        if !first {
            out.push(b',');
        }
        first = false;
        write_value(reader, out)?;
    }
    out.push(b']');
    reader.end_array()
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
        let select = |text: &str, pointer: &str| {
            let selected =
                select(text.as_bytes(), &[Pointer::new(pointer).unwrap()]).map_err(|error| error.to_string())?;
            Ok::<_, String>(selected.into_iter().next().flatten().map(|value| String::from_utf8(value).unwrap()))
        };
        let text = r#"{"b": {"c d": [1.0, {"x/y": null}]}, "a": 12345678901234567890123, "": 5}"#;
        for (pointer, value) in [
            ("/a", Some("12345678901234567890123")),
            ("/b/c d", Some(r#"[1.0,{"x/y":null}]"#)),
            ("/b/c d/0", Some("1.0")),
            ("/b/c d/1/x~1y", Some("null")),
            ("/", Some("5")),
            ("/c", None),
            ("/b/c d/2", None),
            ("/b/c d/00", None),
            ("/a/0", None),
        ] {
            assert_eq!(select(text, pointer), Ok(value.map(str::to_owned)), "{pointer}");
        }
        assert_eq!(select("7", ""), Ok(Some("7".into())));
        assert!(select(r#"{"a":{"b":1},"a":2}"#, "/a/b").is_err(), "several members of one name");
        assert_eq!(select(r#"{"z":1,"z":2,"a":3}"#, "/a"), Ok(Some("3".into())), "elsewhere they do not matter");
        assert!(select("{", "/a").is_err());
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
