use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::members::Parsed;

/// The amount of one charge or refund: a positive whole number of the currency's minor units (cents, yen, fils).
///
/// At most 99 999 999, the eight digits that the provider accepts for most currencies. The limit also keeps every sum
/// in this application far from overflow. An amount never passes through a floating-point number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Amount(u64);

impl Amount {
    /// The largest amount.
    pub const MAX: Self = Self(99_999_999);

    const RULE: &'static str = "must be an integer number of minor units, from 1 to 99999999, written in digits only";

    /// Creates an amount; `None` for 0 and for more than [`Amount::MAX`].
    pub fn new(minor_units: u64) -> Option<Self> {
        (1..=Self::MAX.0).contains(&minor_units).then_some(Self(minor_units))
    }

    /// The number of minor units.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number of minor units as a signed integer.
    pub fn signed(self) -> i64 {
        self.0 as i64 // at most MAX
    }

    /// Refuses `1.0` and `1e2` as well as `1.5`: they show that a client calculates in floating-point numbers.
    pub(crate) fn from_json(value: &Value) -> Parsed<Self> {
        value.as_u64().and_then(Self::new).ok_or(Self::RULE)
    }

    /// Like [`Amount::from_json`], but also accepts a string of digits, the form of DynamoDB's numbers.
    pub(crate) fn from_message(value: &Value) -> Parsed<Self> {
        match value.as_str() {
            Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().and_then(Self::new).ok_or(Self::RULE)
            }
            _ => Self::from_json(value),
        }
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An ISO 4217 currency, written as its code in upper case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    const RULE: &'static str = "must be the three-letter ISO 4217 code of a currency that cards are charged in";

    /// Parses any ISO 4217 code, in any case. For values that were accepted before: they must stay readable after the
    /// standard retires their currency.
    pub fn from_code(code: &str) -> Option<Self> {
        iso_currency::Currency::from_code(&code.to_ascii_uppercase()).map(Self)
    }

    /// The code, in upper case.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of digits after the decimal point; 0 if ISO 4217 does not define it.
    pub fn minor_digits(self) -> usize {
        self.0.exponent().map_or(0, usize::from)
    }

    /// Whether a card can be charged in it, and an amount means the same to the provider as in ISO 4217.
    ///
    /// This excludes funds, metals, test codes and "no currency" (`CHE`, `XAU`, `XTS`, `XXX`), in which nobody pays;
    /// currencies that another one replaced (`HRK`); and `ISK`, `UGX` and `MGA`: the provider counts the first two in
    /// hundredths and the third in whole units, ISO 4217 the other way round, so that a hundredth or a hundred times
    /// the intended amount would be charged.
    pub fn is_chargeable(self) -> bool {
        let counted_otherwise = matches!(self.code(), "ISK" | "UGX" | "MGA");
        self.0.exponent().is_some() && self.0.flags().is_empty() && !counted_otherwise
    }

    pub(crate) fn from_json(value: &Value) -> Parsed<Self> {
        value.as_str().and_then(Self::from_code).ok_or(Self::RULE)
    }

    pub(crate) fn chargeable_from_json(value: &Value) -> Parsed<Self> {
        Self::from_json(value).and_then(|currency| currency.is_chargeable().then_some(currency).ok_or(Self::RULE))
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Currency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

/// An amount in one currency. Serialised as the members `amount` and `currency`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    /// The amount, in minor units of the currency.
    pub amount: Amount,
    /// The currency.
    pub currency: Currency,
}

impl Money {
    /// Whether it is below two units of its currency, as the amounts are with which stolen cards are tested.
    pub fn is_small(self) -> bool {
        self.amount.get() < 2 * 10_u64.pow(u32::try_from(self.currency.minor_digits()).unwrap_or_default())
    }
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.amount, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn amount(json: &str) -> Option<u64> {
        Amount::from_json(&serde_json::from_str(json).unwrap()).ok().map(Amount::get)
    }

    fn message_amount(json: &str) -> Option<u64> {
        Amount::from_message(&serde_json::from_str(json).unwrap()).ok().map(Amount::get)
    }

    #[test]
    fn only_whole_positive_numbers_within_the_limit_are_amounts() {
        assert_eq!(amount("1"), Some(1));
        assert_eq!(amount("99999999"), Some(99_999_999));
        let refused = ["0", "-0", "-1", "1.5", "1.0", "100.00", "1e2", "1E0", "100000000", "18446744073709551616"];
        for json in refused.into_iter().chain([r#""1""#, "null", "true", "[1]", "{}"]) {
            assert_eq!(amount(json), None, "{json}");
        }
    }

    #[test]
    fn a_message_may_carry_its_amount_as_digits() {
        assert_eq!(message_amount(r#""1200""#), Some(1200));
        assert_eq!(message_amount("1200"), Some(1200));
        for json in [r#""""#, r#""+1""#, r#""-1""#, r#"" 1""#, r#""1.0""#, r#""1e2""#, r#""100000000""#, r#""١""#] {
            assert_eq!(message_amount(json), None, "{json}");
        }
    }

    #[test]
    fn currency_codes_are_read_in_any_case_and_written_in_upper_case() {
        for code in ["EUR", "eur", "eUr"] {
            assert_eq!(Currency::from_code(code).unwrap().to_string(), "EUR");
        }
        for code in ["", "EU", "EURO", "AAA", " EUR", "ЕUR"] {
            assert_eq!(Currency::from_code(code), None, "{code}");
        }
    }

    #[test]
    fn an_amount_below_two_units_of_its_currency_is_small() {
        let is_small = |amount, code| {
            Money { amount: Amount::new(amount).unwrap(), currency: Currency::from_code(code).unwrap() }.is_small()
        };
        assert!(is_small(199, "EUR") && !is_small(200, "EUR"));
        assert!(is_small(1, "JPY") && !is_small(2, "JPY"));
        assert!(is_small(1999, "KWD") && !is_small(2000, "KWD"));
    }

    #[test]
    fn only_currencies_that_mean_the_same_to_the_provider_are_charged() {
        for code in ["EUR", "USD", "JPY", "KWD", "GBP"] {
            assert!(Currency::from_code(code).unwrap().is_chargeable(), "{code}");
        }
        for code in ["XXX", "XTS", "XAU", "XDR", "CHE", "USN", "HRK", "ISK", "UGX", "MGA"] {
            assert!(!Currency::from_code(code).unwrap().is_chargeable(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn an_amount_is_read_exactly_or_not_at_all(number: i64) {
            let expected = u64::try_from(number).ok().filter(|n| (1..=99_999_999).contains(n));
            prop_assert_eq!(amount(&number.to_string()), expected);
        }

        #[test]
        fn every_amount_is_written_as_it_is_read(number in 1_u64..=99_999_999) {
            let amount = Amount::new(number).unwrap();
            prop_assert_eq!(serde_json::to_string(&amount).unwrap(), number.to_string());
            prop_assert_eq!(message_amount(&format!("\"{number}\"")), Some(number));
        }

        #[test]
        fn no_fraction_or_exponent_is_an_amount(whole in 0_u32..1000, fraction in 0_u32..1000, exponent in 0_u32..5) {
            prop_assert_eq!(amount(&format!("{whole}.{fraction}")), None);
            prop_assert_eq!(amount(&format!("{whole}e{exponent}")), None);
        }
    }
}
