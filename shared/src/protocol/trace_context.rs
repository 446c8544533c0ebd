//! The position in a distributed trace, for people; nothing depends on it.

use std::fmt;

/// A span of a trace: what [W3C Trace Context](https://www.w3.org/TR/trace-context/) calls a parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Trace {
    id: TraceId,
    span: [u8; 8],
    sampled: bool,
}

/// The id of a trace. X-Ray writes the same 32 digits as `1-`, 8 of them, `-`, and the other 24.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

impl Trace {
    /// The length of the stored form in bytes.
    pub const BYTES: usize = 25;

    /// The name of the header, attribute or member that carries the parent.
    pub const NAME: &'static str = "traceparent";

    /// Creates a span of a trace; `None` if one of the ids is zero, which is invalid.
    #[must_use]
    pub fn new(id: [u8; 16], span: [u8; 8], sampled: bool) -> Option<Self> {
        (id != [0; 16] && span != [0; 8]).then_some(Self { id: TraceId(id), span, sampled })
    }

    /// Parses a `traceparent`: `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`. For versions above 00, only
    /// the known fields are read.
    #[must_use]
    pub fn from_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let ([version], id, span, [flags]) =
            (bytes(parts.next()?)?, bytes(parts.next()?)?, bytes(parts.next()?)?, bytes(parts.next()?)?);
        let is_whole = version != 0 || parts.next().is_none();
        Self::new(id, span, flags & 1 == 1).filter(|_| version != u8::MAX && is_whole)
    }

    /// Parses an X-Ray header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    #[must_use]
    pub fn from_xray(text: &str) -> Option<Self> {
        let member = |name: &str| text.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
        let (seconds, random) = member("Root")?.strip_prefix("1-")?.split_once('-')?;
        let (seconds, random): ([u8; 4], [u8; 12]) = (bytes(seconds)?, bytes(random)?);
        let mut id = [0; 16];
        id[..4].copy_from_slice(&seconds);
        id[4..].copy_from_slice(&random);
        Self::new(id, bytes(member("Parent")?)?, member("Sampled") == Some("1"))
    }

    /// Creates a trace from stored bytes; `None` if one of the ids is zero.
    #[must_use]
    pub fn from_bytes(stored: [u8; Self::BYTES]) -> Option<Self> {
        let (mut id, mut span) = ([0; 16], [0; 8]);
        id.copy_from_slice(&stored[..16]);
        span.copy_from_slice(&stored[16..24]);
        Self::new(id, span, stored[24] == 1)
    }

    /// The stored bytes.
    #[must_use]
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut stored = [0; Self::BYTES];
        stored[..16].copy_from_slice(&self.id.0);
        stored[16..24].copy_from_slice(&self.span);
        stored[24] = u8::from(self.sampled);
        stored
    }

    /// The id of the trace.
    #[must_use]
    pub const fn id(self) -> TraceId {
        self.id
    }

    /// The id of the span.
    #[must_use]
    pub const fn span(self) -> [u8; 8] {
        self.span
    }

    /// Whether the span is sampled.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.sampled
    }
}

impl TraceId {
    /// The id as bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

/// Writes the trace as a `traceparent`.
impl fmt::Display for Trace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "00-{}-{:016x}-{:02x}", self.id, u64::from_be_bytes(self.span), u8::from(self.sampled))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Decodes exactly two lower-case hexadecimal digits per byte.
fn bytes<const N: usize>(digits: &str) -> Option<[u8; N]> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != 2 * N || !digits.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; N];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_as_the_recommendation_says() {
        let trace = Trace::from_traceparent(PARENT).unwrap();
        assert_eq!(trace.id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!((trace.span(), trace.is_sampled()), ([0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7], true));
        assert!(!Trace::from_traceparent(&PARENT.replace("-01", "-00")).unwrap().is_sampled());
        assert!(Trace::from_traceparent(&format!("cc{}-later", &PARENT[2..])).is_some(), "of a later version");
        for wrong in [
            "",
            "00",
            &PARENT[..54],
            &format!("{PARENT}-x"),
            &format!("ff{}", &PARENT[2..]),
            &PARENT.to_uppercase(),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(Trace::from_traceparent(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_xray_header_is_the_same_trace_in_another_spelling() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1;Lineage=a:0";
        let trace = Trace::from_xray(header).unwrap();
        assert_eq!(trace.to_string(), "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        let unsampled = Trace::from_xray(&header.replace("Sampled=1", "Sampled=0")).unwrap();
        assert_eq!((unsampled.id(), unsampled.is_sampled()), (trace.id(), false));
        for wrong in ["", "Root=1-5759e988-bd862e3fe1be46a994272793", &header[5..], &header.replace("1-", "2-"), PARENT]
        {
            assert_eq!(Trace::from_xray(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_trace_is_read_back_from_its_text_and_from_its_bytes(id: [u8; 16], span: [u8; 8], sampled: bool) {
            let trace = Trace::new(id, span, sampled);
            prop_assert_eq!(trace.and_then(|trace| Trace::from_traceparent(&trace.to_string())), trace);
            prop_assert_eq!(trace.and_then(|trace| Trace::from_bytes(trace.to_bytes())), trace);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = (Trace::from_traceparent(&text), Trace::from_xray(&text));
        }
    }
}
