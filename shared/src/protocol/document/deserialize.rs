//! Deserializes a document into a type, with serde.

use serde::de::value::{BorrowedStrDeserializer, Error, MapAccessDeserializer, MapDeserializer, SeqDeserializer};
use serde::de::{Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{Document, Node};

/// The document does not have the form of the type.
pub type NotOfType = Error;

impl<'de> Deserializer<'de> for &'de Document {
    type Error = NotOfType;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.root().deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.root().deserialize_option(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.root().deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.root().deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = NotOfType;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(literal) => visit_number(literal, visitor),
            Node::String(text) => visitor.visit_borrowed_str(text.as_str()),
            Node::Array(elements) => {
                let mut elements = SeqDeserializer::new(elements.iter());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end().map(|()| value)
            }
            Node::Object(members) => {
                let mut members = MapDeserializer::new(members.iter().map(|(name, value)| (Name(name), value)));
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Node::Null => visitor.visit_none(),
            Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) | Node::Object(_) => {
                visitor.visit_some(self)
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads enums in serde's default form: the name of a variant, or an object whose only member has that name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self {
            Node::String(text) => visitor.visit_enum(BorrowedStrDeserializer::new(text.as_str())),
            Node::Object(members) if members.len() == 1 => {
                let members = MapDeserializer::new(members.iter().map(|(name, value)| (Name(name), value)));
                visitor.visit_enum(MapAccessDeserializer::new(members))
            }
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
                Err(Error::custom("a variant is a string, or an object with one member"))
            }
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

/// Reads a number like serde_json: as an integer if it fits 64 bits, otherwise as the closest float.
fn visit_number<'de, V: Visitor<'de>>(literal: &str, visitor: V) -> Result<V::Value, Error> {
    // As an integer, `-0` would lose its sign.
    if literal != "-0" {
        if let Ok(number) = literal.parse() {
            return visitor.visit_u64(number);
        }
        if let Ok(number) = literal.parse() {
            return visitor.visit_i64(number);
        }
    }
    match literal.parse::<f64>() {
        Ok(number) if number.is_finite() => visitor.visit_f64(number),
        _ => Err(Error::custom("a number is out of range")),
    }
}

impl<'de> IntoDeserializer<'de, Error> for &'de Node {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// The name of a member, which outlives its reader.
struct Name<'de>(&'de str);

impl<'de> IntoDeserializer<'de, Error> for Name<'de> {
    type Deserializer = BorrowedStrDeserializer<'de, Error>;

    fn into_deserializer(self) -> Self::Deserializer {
        BorrowedStrDeserializer::new(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    enum Kind {
        Plain,
        Sized(u8),
        Named { size: Option<i64> },
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Id(u64);

    fn read<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
        let document = Document::parse(text.as_bytes()).unwrap();
        T::deserialize(&document).map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_is_read_as_the_types_that_serde_json_reads_from_the_text() {
        let text = r#"["Plain", {"Sized":7}, {"Named":{"size":-1}}, {"Named":{"size":null}}]"#;
        let kinds: Vec<Kind> = read(text).unwrap();
        assert_eq!(kinds, serde_json::from_str::<Vec<Kind>>(text).unwrap());
        assert_eq!(read(r#"{"a":1}"#), Ok(BTreeMap::from([("a".to_owned(), Id(1))])));
        assert_eq!(read::<(bool, char, f64, Option<()>)>(r#"[true,"x",1.5,null]"#), Ok((true, 'x', 1.5, None)));
    }

    #[test]
    fn a_value_of_another_type_is_an_error() {
        for text in [r#""other""#, "1", r#"{"Sized":256}"#, r#"{"Sized":1,"Named":{}}"#, "[]"] {
            assert!(read::<Kind>(text).is_err(), "{text}");
        }
        assert!(read::<(u8, u8)>("[1,2,3]").is_err() && read::<u64>("1.0").is_err() && read::<u64>("-0").is_err());
    }

    #[test]
    fn numbers_are_read_as_serde_json_reads_them() {
        for number in ["0", "-0", "-1", "18446744073709551615", "18446744073709551616", "1.0", "1e2", "-2.5E-3"] {
            assert_eq!(read(number), Ok(serde_json::from_str::<Value>(number).unwrap()), "{number}");
        }
        assert!(read::<Value>("1e999").is_err() && serde_json::from_str::<Value>("1e999").is_err());
    }

    proptest! {
        #[test]
        fn a_document_says_what_its_text_says(numbers: Vec<i64>, text: String, name: String, flag: bool) {
            let value = json!({ name: numbers, "text": [text, flag, null], "empty": {} });
            prop_assert_eq!(read(&value.to_string()), Ok(value));
        }
    }
}
