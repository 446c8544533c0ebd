//! What makes two requests "the same request".

use std::fmt;

use sha2::{Digest, Sha256};

use super::json::select;
use super::{Compare, Pointer, canonical_json};

/// A hash over what makes two requests the same: an algorithm version and a SHA-256.
///
/// The version is stored with the hash, so that a later algorithm is recognised as another one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; Self::BYTES]);

impl Fingerprint {
    /// How many bytes a fingerprint has: the version and the hash.
    pub const BYTES: usize = 33;

    const VERSION: u8 = 1;

    /// The fingerprint behind stored bytes, of whatever version.
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

/// Collects the parts of a request into a [`Fingerprint`].
///
/// Each part is hashed behind its kind and length, so that no two different lists of parts share an input.
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
#[derive(Clone, Default)]
pub struct Fingerprinter(Sha256);

impl Fingerprinter {
    /// No part yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a part that is compared byte by byte.
    #[must_use]
    pub fn bytes(self, part: &[u8]) -> Self {
        self.part(b'b', part)
    }

    /// Adds a part that is compared as JSON by value (see [`canonical_json`]), or byte by byte if it is not JSON.
    #[must_use]
    pub fn value(self, part: &[u8]) -> Self {
        match canonical_json(part) {
            Ok(canonical) => self.part(b'j', &canonical),
            Err(_) => self.bytes(part),
        }
    }

    /// Adds a JSON part of which only the selected values are compared; byte by byte if it is not JSON, or ambiguous.
    #[must_use]
    pub fn selected(self, part: &[u8], pointers: &[Pointer]) -> Self {
        let Ok(values) = select(part, pointers) else { return self.bytes(part) };
        // The number of values, so that a shorter list is never the beginning of a longer one.
        let parts = self.part(b's', &(values.len() as u64).to_be_bytes());
        pointers.iter().zip(values).fold(parts, |parts, (pointer, value)| {
            let tokens = pointer.tokens().iter();
            let parts = tokens.fold(parts.part(b'p', b""), |parts, token| parts.part(b't', token.as_bytes()));
            match value {
                Some(value) => parts.part(b'j', &value),
                None => parts.part(b'n', b""),
            }
        })
    }

    /// Adds a JSON part that is compared as chosen.
    #[must_use]
    pub fn json(self, part: &[u8], compare: &Compare) -> Self {
        match compare {
            Compare::Value => self.value(part),
            Compare::Bytes => self.bytes(part),
            Compare::Selected(pointers) => self.selected(part, pointers),
        }
    }

    /// The fingerprint of all parts.
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

    fn of(body: &str, compare: &Compare) -> Fingerprint {
        Fingerprinter::new().json(body.as_bytes(), compare).finish()
    }

    #[test]
    fn each_choice_tells_apart_what_it_says() {
        let selected = Compare::Selected(vec![Pointer::new("/amount").unwrap(), Pointer::new("/to").unwrap()]);
        let same = |compare: &Compare, a: &str, b: &str| of(a, compare) == of(b, compare);
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
    fn the_fingerprint_of_selected_values_is_stable_across_releases() {
        let fingerprint = of(r#"{"a":{"b":1}}"#, &Compare::Selected(vec![Pointer::new("/a/b").unwrap()]));
        let hex: String = fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01774dbfb2af82f9f86057d450e9deec61ddbce0579d5940f3076da109ce667b2d");
    }

    #[test]
    fn the_fingerprint_is_stable_across_releases() {
        // A change of this value would refuse every retry that is under way during a deployment.
        let fingerprint = Fingerprinter::new().bytes(b"POST").value(br#"{"b":1,"a":[true,null]}"#).finish();
        let hex: String = fingerprint.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "01f8720579461b8a1797ca9542345a46a5c6810dd28eb52408d0aa3ac6bc9f09ec");
    }
}
