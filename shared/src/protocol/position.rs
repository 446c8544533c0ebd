//! The position of a record in its partition.

use std::fmt;

/// A whole number from 0, of up to [`Position::MAX_DIGITS`] digits, compared as a number.
///
/// Kinesis' sequence numbers have 56 digits, too many for a machine integer or a DynamoDB number (38 digits). As text
/// with leading zeros, they keep their order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(String);

impl Position {
    /// The maximum number of digits, which is that of the longest sequence number in Kinesis' API.
    pub const MAX_DIGITS: usize = 129;

    /// Parses a number that consists only of decimal digits.
    ///
    /// # Errors
    /// [`InvalidPosition`] if the text is empty, too long, or has another character.
    pub fn new(digits: &str) -> Result<Self, InvalidPosition> {
        let number = digits.trim_start_matches('0');
        if digits.is_empty() || number.len() > Self::MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidPosition);
        }
        Ok(Self(format!("{number:0>width$}", width = Self::MAX_DIGITS)))
    }

    /// The approximate value.
    pub(super) fn magnitude(&self) -> f64 {
        self.0.trim_start_matches('0').parse().unwrap_or(0.0)
    }

    /// The number with leading zeros, as it is stored.
    #[must_use]
    pub fn padded(&self) -> &str {
        &self.0
    }
}

impl From<u64> for Position {
    fn from(number: u64) -> Self {
        Self(format!("{number:0>width$}", width = Self::MAX_DIGITS))
    }
}

/// Writes the number without leading zeros.
impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.trim_start_matches('0') {
            "" => formatter.write_str("0"),
            number => formatter.write_str(number),
        }
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Position({self})")
    }
}

/// The text is not a position: it is empty, too long, or has a character that is not a digit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a position has 1 to {max} decimal digits", max = Position::MAX_DIGITS)]
pub struct InvalidPosition;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn positions_compare_as_numbers_and_not_as_texts(one: u128, other: u128) {
            let position = |number: u128| Position::new(&number.to_string()).unwrap();
            prop_assert_eq!(position(one).cmp(&position(other)), one.cmp(&other));
            prop_assert_eq!(position(one).to_string(), one.to_string());
        }

        #[test]
        fn no_text_but_digits_is_a_position(text: String) {
            let valid = !text.is_empty() && text.len() <= 129 && text.bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(Position::new(&text).is_ok(), valid);
        }
    }

    #[test]
    fn numbers_of_56_digits_keep_their_order() {
        let shorter = Position::new("9590338271490256608559692538361571095921575989136588898").unwrap();
        let lower = Position::new("49590338271490256608559692538361571095921575989136588898").unwrap();
        let higher = Position::new("49590338271490256608559692538361571095921575989136588899").unwrap();
        assert!(shorter < lower && lower < higher);
        assert!(Position::from(7) < shorter && Position::from(0) < Position::from(7));
        assert_eq!(Position::new("0007").unwrap(), Position::from(7));
        assert!(Position::new(&"9".repeat(129)).is_ok() && Position::new(&"9".repeat(130)).is_err());
    }
}
