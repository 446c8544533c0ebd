//! Reading and writing byte forms.

use std::fmt;

/// Stored bytes that cannot be read: of a later version, or damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the stored bytes are of another version, or damaged")
    }
}

impl std::error::Error for Unreadable {}

/// Takes numbers from the front of bytes.
#[derive(Debug)]
pub(crate) struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Reads bytes that begin with this version.
    pub(crate) fn versioned(bytes: &'b [u8], version: u8) -> Result<Self, Unreadable> {
        match bytes.split_first() {
            Some((found, rest)) if *found == version => Ok(Self { rest }),
            Some(_) | None => Err(Unreadable),
        }
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(Unreadable)?;
        self.rest = rest;
        Ok(*array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Unreadable> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    /// A number that is finite and not negative.
    pub(crate) fn f32(&mut self) -> Result<f32, Unreadable> {
        let number = f32::from_be_bytes(self.array()?);
        if number.is_finite() && number >= 0.0 { Ok(number) } else { Err(Unreadable) }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// How finely [`to_u16`] divides.
const STEPS: f32 = 3_000.0;

/// A count in two bytes: exact to about 0.02 %, up to three thousand million.
pub(crate) fn to_u16(count: f32) -> u16 {
    // A conversion from a float is cut to the range.
    (count.max(0.0).ln_1p() * STEPS).round() as u16
}

pub(crate) fn from_u16(stored: u16) -> f32 {
    (f32::from(stored) / STEPS).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_bytes_keep_a_count_well_enough_to_add_one() {
        let mut count = 0.0;
        for _ in 0..1_000 {
            count = from_u16(to_u16(count + 1.0));
        }
        assert!((990.0..1_010.0).contains(&count), "{count}");
        assert!(from_u16(u16::MAX) > 2e9);
    }
}
