//! The fingerprint: a hash of everything that makes two requests "the same request".

use std::fmt;

use sha2::{Digest, Sha256};

use super::compare::Selected;
use super::document::{Document, Node, Pointed};
use super::{Compare, NotComparable, Pointer, Selection};

/// A hash of everything that makes two requests the same: an algorithm version and a SHA-256.
///
/// The version is stored with the hash, so that a later algorithm can be distinguished.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::BYTES]);

impl Fingerprint {
    /// The length of a fingerprint in bytes: version and hash.
    pub const BYTES: usize = 33;

    const VERSION: u8 = 1;

    /// Creates a fingerprint from stored bytes, of any version.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// The version byte and the hash.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [version, hash @ ..] = &self.0;
        write!(formatter, "Fingerprint(v{version}:")?;
        hash.iter().take(6).try_for_each(|byte| write!(formatter, "{byte:02x}"))?;
        formatter.write_str("…)")
    }
}

/// Combines the parts of a request into a [`Fingerprint`].
///
/// Each part is hashed after its kind and length, so that no two different lists of parts have the same input.
///
/// ```
/// use idempotency::protocol::Fingerprinter;
///
/// let first = Fingerprinter::new().bytes(b"POST").value(br#"{"amount": 5, "to": "b"}"#).finish();
/// let same = Fingerprinter::new().bytes(b"POST").value(br#"{"to":"b","amount":5}"#).finish();
/// let other = Fingerprinter::new().bytes(b"POST").value(br#"{"to":"b","amount":5.0}"#).finish();
/// assert_eq!(first, same);
/// assert_ne!(first, other);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Fingerprinter(Sha256);

impl Fingerprinter {
    /// Starts a fingerprint without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that is compared byte by byte.
    #[must_use]
    pub fn bytes(self, part: &[u8]) -> Self {
        self.part(b'b', part)
    }

    /// Adds a part that is compared as JSON by value (see [`canonical_json`](super::canonical_json)), or byte by byte
    /// if it is not JSON.
    #[must_use]
    pub fn value(self, part: &[u8]) -> Self {
        match Document::parse(part) {
            Ok(document) => self.part(b'j', &document.canonical()),
            Err(_) => self.bytes(part),
        }
    }

    /// Adds a JSON part of which only the selected values are compared. A part that is not JSON, or that has several
    /// members of one name on the path to a value, is compared byte by byte.
    ///
    /// # Errors
    /// [`NotComparable`] if the part lacks a required value or has none of the values, or if a pointer leads into a
    /// string that is not JSON or is an ambiguous document.
    pub fn selected(self, part: &[u8], selection: &Selection) -> Result<Self, NotComparable> {
        match Document::parse(part) {
            Ok(document) => self.selected_of(part, &document, selection),
            Err(_) => Ok(self.bytes(part)),
        }
    }

    /// Adds a JSON part that is compared as `compare` declares.
    ///
    /// # Errors
    /// See [`Fingerprinter::selected`].
    pub fn json(self, part: &[u8], compare: &Compare) -> Result<Self, NotComparable> {
        match Document::parse(part) {
            Ok(document) => self.document(part, &document, compare),
            Err(_) => Ok(self.bytes(part)),
        }
    }

    /// Like [`Fingerprinter::json`], for a part that is already parsed.
    pub(crate) fn document(self, part: &[u8], document: &Document, compare: &Compare) -> Result<Self, NotComparable> {
        match compare {
            Compare::Value => Ok(self.part(b'j', &document.canonical())),
            Compare::Bytes => Ok(self.bytes(part)),
            Compare::Selected(selection) => self.selected_of(part, document, selection),
            #[cfg(feature = "jmespath")]
            Compare::Expression(expression) => self.expressed(document, expression),
        }
    }

    #[cfg(feature = "jmespath")]
    fn expressed(self, document: &Document, expression: &super::Expression) -> Result<Self, NotComparable> {
        if document.is_ambiguous() {
            return Err(NotComparable::Ambiguous);
        }
        let value = expression.value(document).ok_or_else(|| NotComparable::NothingSelected(expression.clone()))?;
        Ok(self.part(b'x', expression.to_string().as_bytes()).part(b'j', &value))
    }

    fn selected_of(self, part: &[u8], document: &Document, selection: &Selection) -> Result<Self, NotComparable> {
        let Some(values) = values(document, selection)? else { return Ok(self.bytes(part)) };
        // Includes the number of values, so that a shorter list is never the beginning of a longer one.
        let parts = self.part(b's', &(values.len() as u64).to_be_bytes());
        Ok(selection.all().iter().zip(values).fold(parts, |parts, (Selected { pointer, .. }, value)| {
            let parts = parts.pointer(pointer);
            match value {
                Some(value) => parts.part(b'j', &value.canonical()),
                None => parts.part(b'n', b""),
            }
        }))
    }

    fn pointer(self, pointer: &Pointer) -> Self {
        let tokens = |parts: Self, tokens: &[String]| {
            tokens.iter().fold(parts, |parts, token| parts.part(b't', token.as_bytes()))
        };
        let parts = tokens(self.part(b'p', b""), pointer.first());
        pointer.in_strings().fold(parts, |parts, in_string| tokens(parts.part(b'i', b""), in_string))
    }

    /// Returns the fingerprint of all parts.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let mut bytes = [Fingerprint::VERSION; Fingerprint::BYTES];
        bytes[1..].copy_from_slice(&self.0.finalize());
        Fingerprint(bytes)
    }

    fn part(mut self, kind: u8, part: &[u8]) -> Self {
        self.0.update([kind]);
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
        self
    }
}

/// The selected values, with `None` for each absent optional value; `None` as a whole if the document is ambiguous on
/// the path to a value.
fn values<'d>(document: &'d Document, selection: &Selection) -> Result<Option<Vec<Option<&'d Node>>>, NotComparable> {
    let mut values = Vec::with_capacity(selection.all().len());
    for Selected { pointer, optional } in selection.all() {
        values.push(match document.at(pointer) {
            Pointed::Value(value) => Some(value),
            Pointed::Nothing if *optional => None,
            Pointed::Nothing => return Err(NotComparable::Missing(pointer.clone())),
            Pointed::NotJson => return Err(NotComparable::NotJson(pointer.clone())),
            Pointed::Ambiguous if pointer.in_strings().next().is_some() => return Err(NotComparable::Ambiguous),
            Pointed::Ambiguous => return Ok(None),
        });
    }
    if values.iter().all(Option::is_none) {
        return Err(NotComparable::Nothing);
    }
    Ok(Some(values))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_bytes_between_parts_makes_another_fingerprint() {
        let of = |a: &[u8], b: &[u8]| Fingerprinter::new().bytes(a).bytes(b).finish();
        assert_ne!(of(b"ab", b"c"), of(b"a", b"bc"));
        assert_ne!(of(b"", b"abc"), of(b"abc", b""));
    }

    #[test]
    fn bytes_that_look_like_a_canonical_form_are_not_taken_for_it() {
        assert_ne!(Fingerprinter::new().bytes(b"{}").finish(), Fingerprinter::new().value(b"{}").finish());
    }

    fn at(pointer: &str) -> Pointer {
        Pointer::new(pointer).unwrap()
    }

    fn of(body: &str, compare: &Compare) -> Result<Fingerprint, NotComparable> {
        let fingerprint = Fingerprinter::new().json(body.as_bytes(), compare).map(Fingerprinter::finish);
        if let Ok(document) = Document::parse(body.as_bytes()) {
            let read_before = Fingerprinter::new().document(body.as_bytes(), &document, compare);
            assert_eq!(read_before.map(Fingerprinter::finish), fingerprint);
        }
        fingerprint
    }

    #[test]
    fn each_choice_tells_apart_what_it_says() {
        let selected = Compare::Selected(Selection::of_optional(at("/amount")).and_optional(at("/to")));
        let same = |compare: &Compare, a: &str, b: &str| of(a, compare).unwrap() == of(b, compare).unwrap();
        let (first, spaced) = (r#"{"amount":1,"sent":5}"#, r#"{ "sent": 5, "amount": 1 }"#);
        assert!(same(&Compare::Value, first, spaced) && same(&selected, first, spaced));
        assert!(!same(&Compare::Bytes, first, spaced));
        let sent_later = r#"{"amount":1,"sent":6}"#;
        assert!(same(&selected, first, sent_later) && !same(&Compare::Value, first, sent_later));
        assert!(!same(&selected, first, r#"{"amount":2,"sent":5}"#));
        assert!(!same(&selected, first, r#"{"amount":1,"to":null}"#), "absent is not null");
        assert!(!same(&selected, r#"{"amount":"x"}"#, r#"{"to":"x"}"#), "a value belongs to its pointer");
        assert!(!same(&selected, r#"{"amount":1,"amount":2}"#, r#"{"amount":2,"amount":1}"#), "ambiguous: by bytes");
        assert!(!same(&selected, "{a", "{a "), "not JSON: by bytes");
    }

    #[test]
    fn a_body_that_lacks_what_it_is_compared_by_equals_no_other() {
        let of_all = Compare::Selected(Selection::of(at("/amount")).and_optional(at("/to")));
        for body in ["{}", r#"{"amuont":1}"#, r#"{"to":"x"}"#, "[]", "7"] {
            assert_eq!(of(body, &of_all), Err(NotComparable::Missing(at("/amount"))), "{body}");
        }
        let optional = Compare::Selected(Selection::of_optional(at("/amount")).and_optional(at("/to")));
        assert_eq!(of(r#"{"amuont":1}"#, &optional), Err(NotComparable::Nothing));
    }

    #[test]
    fn values_in_documents_that_strings_hold_are_compared() {
        let amount = at("/Message").in_string("/amount").unwrap();
        let compare = Compare::Selected(Selection::of(amount.clone()));
        let envelope = |id: u8, message: &str| serde_json::json!({ "MessageId": id, "Message": message }).to_string();
        let first = of(&envelope(1, r#"{"amount":1,"sent":5}"#), &compare);
        assert_eq!(of(&envelope(2, r#"{ "sent":6, "amount":1 }"#), &compare), first);
        assert!(first.is_ok() && of(&envelope(1, r#"{"amount":2,"sent":5}"#), &compare) != first);
        let plain = Compare::Selected(Selection::of(at("/Message/amount")));
        assert_ne!(of(r#"{"Message":{"amount":1}}"#, &plain), first, "a value belongs to its pointer");
        for (message, error) in [
            (r#"{"sent":5}"#, NotComparable::Missing(amount.clone())),
            ("text", NotComparable::NotJson(amount.clone())),
            (r#"{"amount":1,"amount":2}"#, NotComparable::Ambiguous),
        ] {
            assert_eq!(of(&envelope(1, message), &compare), Err(error), "{message}");
        }
    }

    fn in_hexadecimal(fingerprint: Fingerprint) -> String {
        fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_fingerprint_of_selected_values_is_stable_across_releases() {
        let fingerprint = of(r#"{"a":{"b":1}}"#, &Compare::Selected(Selection::of(at("/a/b")))).unwrap();
        assert_eq!(in_hexadecimal(fingerprint), "01774dbfb2af82f9f86057d450e9deec61ddbce0579d5940f3076da109ce667b2d");
    }

    #[test]
    fn the_fingerprint_is_stable_across_releases() {
        // If this value changed, every retry in progress during a deployment would be refused.
        let fingerprint = Fingerprinter::new().bytes(b"POST").value(br#"{"b":1,"a":[true,null]}"#).finish();
        assert_eq!(in_hexadecimal(fingerprint), "01f8720579461b8a1797ca9542345a46a5c6810dd28eb52408d0aa3ac6bc9f09ec");
    }
}
