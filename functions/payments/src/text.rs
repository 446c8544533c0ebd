//! Validated text types.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use crate::members::Parsed;

/// Defines a text type: its documentation, name, maximum number of characters, allowed characters, and the rule as
/// text.
macro_rules! text {
    ($(#[$documentation:meta])* $name:ident, $most:literal, $allowed:expr, $rule:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Validates a text; `None` if it breaks the rule above.
            pub fn parse(text: &str) -> Option<Self> {
                let characters = text.chars().count();
                let valid = (1..=$most).contains(&characters) && text.chars().all($allowed);
                valid.then(|| Self(text.to_owned()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            pub(crate) fn from_json(value: &Value) -> Parsed<Self> {
                value.as_str().and_then(Self::parse).ok_or($rule)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text!(
    /// A customer's account: 1 to 64 characters of `A-Z a-z 0-9 _ -`. No others, so that it needs no escaping in keys
    /// and in the pipe's template, and no customer can use the name of one of the ledger's own accounts.
    AccountId,
    64,
    |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    "must be a string of 1 to 64 characters out of A-Z, a-z, 0-9, _ and -"
);

text!(
    /// A terminal that sells offline: 1 to 64 characters of `A-Z a-z 0-9 _ -`, like an account.
    TerminalId,
    64,
    |c| c.is_ascii_alphanumeric() || c == '_' || c == '-',
    "must be a string of 1 to 64 characters out of A-Z, a-z, 0-9, _ and -"
);

text!(
    /// The provider's id of a payment method: 1 to 255 characters of `A-Z a-z 0-9 _`. The client gets this token from
    /// the provider in exchange for the card data, which never reach this application.
    PaymentMethod,
    255,
    |c| c.is_ascii_alphanumeric() || c == '_',
    "must be a string of 1 to 255 characters out of A-Z, a-z, 0-9 and _"
);

text!(
    /// The client's own text on a payment: 1 to 140 printable characters.
    Reference,
    140,
    is_printable,
    "must be a string of 1 to 140 printable characters"
);

text!(
    /// Why a refund was made: 1 to 140 printable characters.
    Reason,
    140,
    is_printable,
    "must be a string of 1 to 140 printable characters"
);

/// An operator's text, a reason or evidence: 10 to 500 printable characters and line breaks. Surrounding white space is
/// removed and not counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Statement(String);

impl Statement {
    /// Validates a text; `None` if it breaks the rule above. Browsers send line breaks as CR LF, of which one character
    /// is kept.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.replace("\r\n", "\n").trim().to_owned();
        let valid = (10..=500).contains(&text.chars().count()) && text.chars().all(|c| is_printable(c) || c == '\n');
        valid.then_some(Self(text))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Neither control characters nor line separators, nor the marks that reverse the text direction: with them a reference
/// could be displayed differently from what is stored.
fn is_printable(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_names_cannot_leave_their_key() {
        for name in ["a", "acct_1", "A-z_09", &"x".repeat(64)] {
            assert!(AccountId::parse(name).is_some(), "{name}");
        }
        for name in ["", "a#b", "provider:clearing", "a b", "ä", "a\"", "a\n", &"x".repeat(65)] {
            assert!(AccountId::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn references_are_printable_in_any_script() {
        for text in ["order 17", "Rechnung № 5 – Grüße 🎉", &"ß".repeat(140)] {
            assert!(Reference::parse(text).is_some(), "{text}");
        }
        for text in ["", "a\nb", "a\0", "\u{7f}", "\u{85}", "a\u{202e}b", "a\u{2028}b", &"ß".repeat(141)] {
            assert!(Reference::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_statement_says_something() {
        assert_eq!(Statement::parse("  the bank\r\nsays no ").unwrap().to_string(), "the bank\nsays no");
        for text in
            ["", "too short", "          x          ", "ten characters\0", "nine char\u{202e}", &"x".repeat(501)]
        {
            assert_eq!(Statement::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn payment_methods_are_the_providers_tokens() {
        assert!(PaymentMethod::parse("pm_card_visa").is_some());
        for text in ["", "pm card", "pm-card", "pm_ü", &"x".repeat(256)] {
            assert!(PaymentMethod::parse(text).is_none(), "{text}");
        }
    }
}
