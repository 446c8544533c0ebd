use std::{collections::BTreeMap, fmt};

use idempotency::protocol::Document;
use serde::{
    Deserialize,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use crate::invalid::{Invalid, Problem};

/// The parsed value, or the rule that the member breaks.
pub(crate) type Parsed<T> = Result<T, &'static str>;

/// The members of a JSON object, taken out one by one. Problems are collected, so that one response names all of them.
///
/// Strict where it protects money: an unknown name is refused, because `refernce` or `Amount` would otherwise be
/// ignored; a repeated name is refused, because parsers disagree about which one counts; `null` is a value of the wrong
/// type, not an absent member.
pub(crate) struct Members {
    rest: BTreeMap<String, Value>,
    problems: Vec<Problem>,
}

impl Members {
    pub(crate) fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        // Checked first, because serde_json's error would repeat a top-level string of any length.
        if !json.trim_ascii_start().starts_with(b"{") {
            return Err(Problem::document("must be one JSON object").into());
        }
        match serde_json::from_slice(json) {
            Ok(Object(rest)) => Ok(Self { rest, problems: Vec::new() }),
            Err(error) => Err(not_an_object(error)),
        }
    }

    /// The members of a document that is already parsed.
    pub(crate) fn of(document: &Document) -> Result<Self, Invalid> {
        // As above: an error about another value would repeat it.
        if !document.is_object() {
            return Err(Problem::document("must be one JSON object").into());
        }
        let Object(rest) = Object::deserialize(document).map_err(not_an_object)?;
        Ok(Self { rest, problems: Vec::new() })
    }

    pub(crate) fn required<T>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Parsed<T>) -> Option<T> {
        if !self.rest.contains_key(name) {
            self.problems.push(Problem::field(name, "is required"));
        }
        self.optional(name, parse)
    }

    pub(crate) fn optional<T>(&mut self, name: &str, parse: impl FnOnce(&Value) -> Parsed<T>) -> Option<T> {
        let value = self.rest.remove(name)?;
        parse(&value).map_err(|rule| self.problems.push(Problem::field(name, rule))).ok()
    }

    /// Builds the result from the members, unless there was a problem or a member is left over.
    pub(crate) fn finish<T>(mut self, build: impl FnOnce() -> Option<T>) -> Result<T, Invalid> {
        self.problems.extend(self.rest.keys().map(|name| Problem::field(shown(name), "is not known here")));
        match build() {
            Some(built) if self.problems.is_empty() => Ok(built),
            _ => Err(Invalid::new(self.problems)),
        }
    }
}

fn not_an_object(error: impl fmt::Display) -> Invalid {
    Problem::document(format!("must be one JSON object: {error}")).into()
}

/// A name from a document, truncated to a length that fits a response or a log.
fn shown(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, Value>()? {
            if members.contains_key(&name) {
                return Err(de::Error::custom(format_args!("member {:?} is repeated", shown(&name))));
            }
            members.insert(name, value);
        }
        Ok(Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The problems, which are the same from the text and from the parsed document; only the text has lines and
    /// columns.
    fn refused(json: &str) -> String {
        let of_text = read(Members::from_json(json.as_bytes()));
        if let Ok(document) = Document::parse(json.as_bytes()) {
            let of_document = read(Members::of(&document));
            assert!(of_text.starts_with(&of_document), "{of_text} and {of_document}");
        }
        of_text
    }

    fn read(members: Result<Members, Invalid>) -> String {
        let read = members.and_then(|mut members| {
            let one = members.required("one", |value| value.as_u64().ok_or("must be a number"));
            let two = members.optional("two", |value| value.as_u64().ok_or("must be a number"));
            members.finish(|| Some((one?, two)))
        });
        read.unwrap_err().to_string()
    }

    #[test]
    fn all_problems_are_named_at_once() {
        assert_eq!(
            refused(r#"{"two":"x","three":3,"Four":4}"#),
            "one: is required; two: must be a number; Four: is not known here; three: is not known here"
        );
    }

    #[test]
    fn null_is_not_absence() {
        assert_eq!(refused(r#"{"one":1,"two":null}"#), "two: must be a number");
    }

    #[test]
    fn a_repeated_member_is_refused_even_when_escaped() {
        assert!(refused(r#"{"one":1,"\u006fne":2}"#).contains(r#"member "one" is repeated"#));
    }

    #[test]
    fn what_is_not_one_object_is_refused() {
        for json in ["", "[]", "1", "null", "{", "{} {}", r#"{"one":1"#, "\u{feff}{}"] {
            assert!(refused(json).starts_with("must be one JSON object"), "{json}");
        }
        assert!(Members::from_json(b"{\"one\":\"\xff\"}").is_err());
        assert!(Members::from_json("[".repeat(100_000).as_bytes()).is_err());
    }

    #[test]
    fn the_answer_does_not_grow_with_the_document() {
        let names: Vec<_> = (0..1000).map(|n| format!(r#""{n}{}":0"#, "x".repeat(1000))).collect();
        assert!(refused(&format!("{{{}}}", names.join(","))).len() < 16 * 128);
    }
}
