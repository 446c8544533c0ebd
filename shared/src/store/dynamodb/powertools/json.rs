//! JSON exactly as Python's `json.dumps` and JavaScript's `JSON.stringify` write it, since Powertools hashes that text.

use crate::protocol::Node;

/// The language of the old function: keys and answers are written differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    Python,
    TypeScript,
}

/// Two members have names that differ only in case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ambiguous;

impl Node {
    pub(super) const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Corresponds to `is_missing_idempotency_key` of Powertools for Python. Its versions differ for an object of
    /// nulls; an unsuccessful lookup of its key does no harm.
    pub(super) fn is_nothing_in_python(&self) -> bool {
        match self {
            Self::Null => true,
            Self::String(text) => text.as_str().is_empty(),
            Self::Array(elements) => elements.iter().all(Self::is_null),
            Self::Object(members) => members.is_empty(),
            Self::Bool(_) | Self::Number(_) => false,
        }
    }
}

/// As the language's Powertools writes it:
///
/// * `json.dumps(value, sort_keys=True)`: ASCII only, a space after comma and colon, members sorted by code point;
/// * `JSON.stringify(deepSort(value))`: members sorted by their names in lower case.
pub(super) fn text(node: &Node, language: Language) -> Result<String, Ambiguous> {
    let mut out = String::new();
    write(node, language, &mut out)?;
    Ok(out)
}

fn write(node: &Node, language: Language, out: &mut String) -> Result<(), Ambiguous> {
    let [comma, colon] = match language {
        Language::Python => [", ", ": "],
        Language::TypeScript => [",", ":"],
    };
    match node {
        Node::Null => out.push_str("null"),
        Node::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Node::Number(literal) => out.push_str(&match language {
            Language::Python => python_number(literal),
            Language::TypeScript => javascript_number(literal),
        }),
        Node::String(text) => write_string(text.as_str(), language, out),
        Node::Array(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                out.push_str(if index > 0 { comma } else { "" });
                write(element, language, out)?;
            }
            out.push(']');
        }
        Node::Object(members) => {
            out.push('{');
            for (index, (name, value)) in sorted(members, language)?.into_iter().enumerate() {
                out.push_str(if index > 0 { comma } else { "" });
                write_string(name, language, out);
                out.push_str(colon);
                write(value, language, out)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// The members as the language orders them.
fn sorted(members: &[(String, Node)], language: Language) -> Result<Vec<(&str, &Node)>, Ambiguous> {
    let mut members = last_of_each(members);
    match language {
        // The document has sorted them by UTF-8, which is the order of code points.
        Language::Python => {}
        Language::TypeScript => {
            // Assigning to this name sets no member.
            members.retain(|(name, _)| *name != "__proto__");
            sort_as_javascript(&mut members)?;
        }
    }
    Ok(members)
}

/// Writes a number like Python: integers of any length stay unchanged; all other numbers are floats.
fn python_number(literal: &str) -> String {
    if !literal.contains(['.', 'e', 'E']) {
        return if literal == "-0" { "0".to_owned() } else { literal.to_owned() };
    }
    let Some(shortest) = Shortest::of(literal) else {
        return if literal.starts_with('-') { "-Infinity".to_owned() } else { "Infinity".to_owned() };
    };
    let sign = if literal.starts_with('-') { "-" } else { "" };
    let text = match shortest.exponent {
        -4..16 => shortest.fixed(),
        _ => shortest.scientific(2),
    };
    let is_whole = !text.contains(['.', 'e']);
    format!("{sign}{text}{}", if is_whole { ".0" } else { "" })
}

/// Sorts members by their lower-case names in UTF-16 order. A JavaScript object lists names that are array indexes
/// first, by number.
fn sort_as_javascript(members: &mut [(&str, &Node)]) -> Result<(), Ambiguous> {
    members.sort_by_cached_key(|(name, _)| {
        let index = array_index(name);
        (index.is_none(), index, name.to_lowercase().encode_utf16().collect::<Vec<_>>())
    });
    let is_ambiguous = members.windows(2).any(|pair| pair[0].0.to_lowercase() == pair[1].0.to_lowercase());
    if is_ambiguous { Err(Ambiguous) } else { Ok(()) }
}

fn array_index(name: &str) -> Option<u32> {
    let number = name.parse::<u32>().ok().filter(|number| *number < u32::MAX)?;
    (number.to_string() == name).then_some(number)
}

/// Writes a number like `Number::toString` (ECMAScript): every number is a double.
fn javascript_number(literal: &str) -> String {
    let Some(shortest) = Shortest::of(literal) else { return "null".to_owned() };
    if shortest.digits == "0" {
        return "0".to_owned();
    }
    let sign = if literal.starts_with('-') { "-" } else { "" };
    let text = match shortest.exponent {
        -6..21 => shortest.fixed(),
        _ => shortest.scientific(1),
    };
    format!("{sign}{text}")
}

fn write_string(text: &str, language: Language, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let is_plain = match language {
            Language::Python => (' '..='~').contains(&character),
            Language::TypeScript => character >= ' ',
        };
        match escape(character) {
            Some(escape) => out.push_str(escape),
            None if is_plain => out.push(character),
            None => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out.push('"');
}

/// The short escape of a character, which is the same in both languages.
const fn escape(character: char) -> Option<&'static str> {
    match character {
        '"' => Some("\\\""),
        '\\' => Some("\\\\"),
        '\n' => Some("\\n"),
        '\r' => Some("\\r"),
        '\t' => Some("\\t"),
        '\u{8}' => Some("\\b"),
        '\u{c}' => Some("\\f"),
        _ => None,
    }
}

/// The last member of each name, which is the one that both languages keep.
fn last_of_each(members: &[(String, Node)]) -> Vec<(&str, &Node)> {
    let mut last: Vec<(&str, &Node)> = Vec::with_capacity(members.len());
    for (name, value) in members {
        match last.last_mut().filter(|(other, _)| other == name) {
            Some(same) => same.1 = value,
            None => last.push((name, value)),
        }
    }
    last
}

/// The shortest decimal that parses to the same double, without its sign: its digits, and the decimal exponent of the
/// first digit.
struct Shortest {
    digits: String,
    exponent: i32,
}

impl Shortest {
    /// The shortest decimal of a literal; `None` if the literal is out of the range of a double.
    fn of(literal: &str) -> Option<Self> {
        let number = literal.parse::<f64>().ok().filter(|number| number.is_finite())?.abs();
        let shortest = format!("{number:e}");
        // If two decimals of this length are equally near, Rust chooses the larger one, whereas both languages choose
        // the even one, as Rust does if a precision is given. At a power of two the nearest decimal may parse to
        // another double.
        let fraction_digits = shortest.split_once('e')?.0.split_once('.').map_or(0, |(_, fraction)| fraction.len());
        let nearest = format!("{number:.fraction_digits$e}");
        let text = if nearest.parse() == Ok(number) { nearest } else { shortest };
        let (digits, exponent) = text.split_once('e')?;
        Some(Self { digits: digits.replace('.', ""), exponent: exponent.parse().ok()? })
    }

    fn fixed(&self) -> String {
        match usize::try_from(self.exponent) {
            Ok(exponent) if self.digits.len() > exponent + 1 => {
                let (whole, fraction) = self.digits.split_at(exponent + 1);
                format!("{whole}.{fraction}")
            }
            Ok(exponent) => format!("{:0<width$}", self.digits, width = exponent + 1),
            Err(_) => {
                let zeros = usize::try_from(-1 - self.exponent).unwrap_or_default();
                format!("0.{}{}", "0".repeat(zeros), self.digits)
            }
        }
    }

    fn scientific(&self, least_digits_of_exponent: usize) -> String {
        let (first, rest) = self.digits.split_at(1);
        let point = if rest.is_empty() { "" } else { "." };
        let sign = if self.exponent < 0 { '-' } else { '+' };
        format!("{first}{point}{rest}e{sign}{:0>least_digits_of_exponent$}", self.exponent.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Document;

    fn in_python(text: &str) -> String {
        super::text(Document::parse(text.as_bytes()).unwrap().root(), Language::Python).unwrap()
    }

    fn in_typescript(text: &str) -> Result<String, Ambiguous> {
        super::text(Document::parse(text.as_bytes()).unwrap().root(), Language::TypeScript)
    }

    // Printed by CPython 3.11 and Node.js 20; `tests/tests/end_to_end/powertools.rs` compares more with Powertools
    // itself.
    #[test]
    fn numbers_are_written_as_each_language_writes_them() {
        for (literal, python, javascript) in [
            ("0", "0", "0"),
            ("-0", "0", "0"),
            ("-0.0", "-0.0", "0"),
            ("1.0", "1.0", "1"),
            ("1.50", "1.5", "1.5"),
            ("0.1", "0.1", "0.1"),
            ("1e2", "100.0", "100"),
            ("123456789012345678901234", "123456789012345678901234", "1.2345678901234569e+23"),
            ("9007199254740993", "9007199254740993", "9007199254740992"),
            ("1e15", "1000000000000000.0", "1000000000000000"),
            ("1e16", "1e+16", "10000000000000000"),
            ("123456789012345680.0", "1.2345678901234568e+17", "123456789012345680"),
            ("1e20", "1e+20", "100000000000000000000"),
            ("1e21", "1e+21", "1e+21"),
            ("0.0001", "0.0001", "0.0001"),
            ("0.00001", "1e-05", "0.00001"),
            ("0.0000012", "1.2e-06", "0.0000012"),
            ("0.00000012", "1.2e-07", "1.2e-7"),
            ("-2.5e-10", "-2.5e-10", "-2.5e-10"),
            ("5e-324", "5e-324", "5e-324"),
            ("1325704873164498.25", "1325704873164498.2", "1325704873164498.2"),
            ("1325704873164498.75", "1325704873164498.8", "1325704873164498.8"),
            ("5.684341886080801486968994140625e-14", "5.684341886080802e-14", "5.684341886080802e-14"),
            ("1e400", "Infinity", "null"),
        ] {
            assert_eq!(in_python(literal), python, "{literal}");
            assert_eq!(in_typescript(literal).as_deref(), Ok(javascript), "{literal}");
        }
    }

    #[test]
    fn texts_are_written_as_each_language_writes_them() {
        let text = r#""a\"\\\/\b\f\n\r\t\u0001\u007f ä 😀""#;
        assert_eq!(in_python(text), r#""a\"\\/\b\f\n\r\t\u0001\u007f \u00e4 \ud83d\ude00""#);
        assert_eq!(in_typescript(text).as_deref(), Ok("\"a\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u{7f} ä 😀\""));
    }

    #[test]
    fn members_are_sorted_as_each_language_sorts_them() {
        let text = r#"{"b": 1, "A": [{"d": 1, "c": null}], "10": 1, "2": 2, "_": 3, "b": {}, "01": 4}"#;
        assert_eq!(in_python(text), r#"{"01": 4, "10": 1, "2": 2, "A": [{"c": null, "d": 1}], "_": 3, "b": {}}"#);
        let sorted = r#"{"2":2,"10":1,"01":4,"_":3,"A":[{"c":null,"d":1}],"b":{}}"#;
        assert_eq!(in_typescript(text).as_deref(), Ok(sorted));
        let prototype = in_typescript(r#"{"__proto__": {"a": 1}, "b": [true, false]}"#);
        assert_eq!(prototype.as_deref(), Ok(r#"{"b":[true,false]}"#));
        assert_eq!(in_typescript(r#"[{"a": 1, "A": 2}]"#), Err(Ambiguous));
    }

    #[test]
    fn python_finds_no_key_in_what_is_empty() {
        let nothing = |text: &str| Document::parse(text.as_bytes()).unwrap().root().is_nothing_in_python();
        for text in ["null", "\"\"", "[]", "[null, null]", "{}"] {
            assert!(nothing(text), "{text}");
        }
        for text in ["0", "false", "[null, 1]", "{\"a\": null}", "\"a\""] {
            assert!(!nothing(text), "{text}");
        }
    }
}
