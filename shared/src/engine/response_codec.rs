//! The encoding of a stored answer, which is compressed if that makes it shorter.

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;

use super::{Answer, UnreadableAnswer};

/// The first byte of a compressed answer (raw DEFLATE, RFC 1951). No answer form of the library itself begins with it.
const COMPRESSED: u8 = 0x80;

/// An item with a shorter answer already costs only one write unit, so compression would gain nothing.
const WORTHWHILE_BYTES: usize = 400;

/// Favours speed over size, because compression delays the first answer.
const LEVEL: u8 = 1;

/// The longest answer that is compressed, and so the limit for decompression: twice the maximum size of a Lambda
/// response (6 MB).
const LONGEST_BYTES: usize = 12 * 1024 * 1024;

/// Encodes the answer into at most `max_response_bytes` bytes, in its short form if it does not fit even compressed.
pub(super) fn pack(answer: &impl Answer, max_response_bytes: usize) -> Vec<u8> {
    let packed = compressed(answer.write(LONGEST_BYTES));
    if packed.len() <= max_response_bytes { packed } else { compressed(answer.write(max_response_bytes)) }
}

fn compressed(plain: Vec<u8>) -> Vec<u8> {
    // An answer that happens to begin with the marker byte is always compressed, so that it is not mistaken for one.
    let ambiguous = plain.first() == Some(&COMPRESSED);
    if plain.len() < WORTHWHILE_BYTES && !ambiguous {
        return plain;
    }
    let deflated = compress_to_vec(&plain, LEVEL);
    if deflated.len() + 1 < plain.len() || ambiguous { [&[COMPRESSED], &deflated[..]].concat() } else { plain }
}

/// Reads a stored answer, compressed or not.
pub(super) fn unpack<T: Answer>(stored: &[u8]) -> Result<T, UnreadableAnswer> {
    match stored {
        [COMPRESSED, deflated @ ..] => {
            let plain = decompress_to_vec_with_limit(deflated, LONGEST_BYTES)
                .map_err(|error| UnreadableAnswer::OtherForm(error.to_string()))?;
            T::read(&plain)
        }
        plain => T::read(plain),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer of arbitrary bytes, whose short form is empty.
    #[derive(Debug, PartialEq)]
    struct Bytes(Vec<u8>);

    impl Answer for Bytes {
        fn write(&self, limit_bytes: usize) -> Vec<u8> {
            if self.0.len() <= limit_bytes { self.0.clone() } else { Vec::new() }
        }

        fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer> {
            Ok(Self(bytes.to_vec()))
        }
    }

    /// Bytes that do not compress.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = |state: &mut u64| {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            state.to_le_bytes()[3]
        };
        (0..length).map(|_| next(&mut state)).collect()
    }

    #[test]
    fn a_small_answer_is_stored_as_it_is_and_a_long_one_shorter() {
        let small = vec![b'x'; WORTHWHILE_BYTES - 1];
        assert_eq!(pack(&Bytes(small.clone()), 1_000_000), small);
        let long = Bytes(b"{\"name\":\"value\"},".repeat(1000));
        let packed = pack(&long, 1_000_000);
        assert!(packed.len() < 1000, "{}", packed.len());
        assert_eq!(unpack::<Bytes>(&packed).unwrap(), long);
    }

    /// Records outlive deployments: answers that an earlier release, or another compressor, compressed must stay
    /// readable.
    #[test]
    fn the_compressed_form_is_stable_across_releases() {
        let stored = b"\x80\x63\x54\x2a\x48\xcc\x4c\x51\x18\x25\x46\x14\xa1\x04\x00";
        assert_eq!(unpack::<String>(stored).unwrap(), "paid ".repeat(100));
    }

    #[test]
    fn what_does_not_get_shorter_is_stored_as_it_is() {
        let answer = noise(50_000);
        assert_eq!(pack(&Bytes(answer.clone()), 1_000_000), answer);
    }

    #[test]
    fn what_is_packed_can_be_unpacked_however_well_it_compresses() {
        let longest = Bytes(vec![b'x'; LONGEST_BYTES]);
        assert!(unpack::<Bytes>(&pack(&longest, 1_000_000)).unwrap() == longest);
        assert_eq!(pack(&Bytes(vec![b'x'; LONGEST_BYTES + 1]), 1_000_000), Vec::<u8>::new(), "its short form");
    }

    #[test]
    fn what_fits_only_compressed_is_stored_whole_and_what_never_fits_in_its_short_form() {
        let compressible = Bytes(vec![b'x'; 100_000]);
        assert_eq!(unpack::<Bytes>(&pack(&compressible, 10_000)).unwrap(), compressible);
        let long = Bytes(noise(10_000));
        assert_eq!(unpack::<Bytes>(&pack(&long, 10_000)).unwrap(), long);
        assert_eq!(pack(&long, 9_999), Vec::<u8>::new());
    }

    proptest! {
        #[test]
        fn every_answer_is_read_back_whatever_its_first_byte(first: u8, rest in prop::collection::vec(any::<u8>(), 0..2000)) {
            let answer = Bytes([&[first], &rest[..]].concat());
            prop_assert_eq!(unpack::<Bytes>(&pack(&answer, 1_000_000)).unwrap(), answer);
        }

        #[test]
        fn no_stored_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack::<Bytes>(&[&[COMPRESSED], &bytes[..]].concat());
        }
    }
}
