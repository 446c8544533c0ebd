use std::num::NonZeroU64;

use idempotency::protocol::{Document, Fingerprint, Fingerprinter};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{
    AccountId, Amount, Currency, Invalid, Money, TerminalId,
    members::{Members, Parsed},
};

/// A sale that a terminal made, perhaps offline, and sent later:
/// `{"type":"terminal.sale","terminal","sequence","account","amount","currency"}`.
///
/// The terminal numbers its sales from 1 without gaps. It sends each one until its arrival is confirmed, through a
/// queue or a stream, so a sale may arrive any number of times and in any order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sale {
    /// The terminal.
    pub terminal: TerminalId,
    /// Its number, from 1.
    pub sequence: NonZeroU64,
    /// The account whose balance changes.
    pub account: AccountId,
    /// The amount.
    pub money: Money,
}

impl Sale {
    pub(crate) const TYPE: &'static str = "terminal.sale";

    /// Parses the message.
    ///
    /// # Errors
    ///
    /// All its problems, including unknown members.
    pub fn from_message(json: &[u8]) -> Result<Self, Invalid> {
        Self::of_members(Members::from_json(json)?)
    }

    /// Parses a message that is already parsed as JSON; see [`Sale::from_message`].
    ///
    /// # Errors
    ///
    /// All its problems.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        Self::of_members(Members::of(document)?)
    }

    fn of_members(mut members: Members) -> Result<Self, Invalid> {
        let kind = members.required("type", |value| (value == Self::TYPE).then_some(()).ok_or("must be terminal.sale"));
        let terminal = members.required("terminal", TerminalId::from_json);
        let sequence = members.required("sequence", sequence);
        let account = members.required("account", AccountId::from_json);
        let amount = members.required("amount", Amount::from_message);
        let currency = members.required("currency", Currency::from_json);
        members.finish(|| {
            kind?;
            let money = Money { amount: amount?, currency: currency? };
            Some(Self { terminal: terminal?, sequence: sequence?, account: account?, money })
        })
    }

    /// The ledger's id of the sale: always the same one for a number of a terminal.
    ///
    /// A UUIDv8 (RFC 9562) of the SHA-256 over both; no terminal's name contains a `#`.
    pub fn id(&self) -> Uuid {
        let digest = Sha256::digest(format!("{}#{}#{}", Self::TYPE, self.terminal, self.sequence));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        uuid::Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// A digest by which two sales with the same number are compared: it covers all values of the sale. It is stored
    /// with the sale's entry, and is the same whichever channel the sale came through.
    pub fn content(&self) -> Fingerprint {
        let Self { terminal, sequence, account, money } = self;
        Fingerprinter::new()
            .bytes(Self::TYPE.as_bytes())
            .bytes(terminal.as_str().as_bytes())
            .bytes(sequence.to_string().as_bytes())
            .bytes(account.as_str().as_bytes())
            .bytes(money.amount.to_string().as_bytes())
            .bytes(money.currency.code().as_bytes())
            .finish()
    }
}

/// An integer from 1. A string is refused, because it would be another idempotency key for the same sale.
fn sequence(value: &Value) -> Parsed<NonZeroU64> {
    value.as_u64().and_then(NonZeroU64::new).ok_or("must be an integer from 1")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn valid() -> Value {
        json!({
            "type": "terminal.sale", "terminal": "till-1", "sequence": 17,
            "account": "acct_1", "amount": 1200, "currency": "EUR",
        })
    }

    fn other(name: &str, value: Value) -> Sale {
        let mut json = valid();
        json[name] = value;
        read(&json).unwrap()
    }

    fn read(json: &Value) -> Result<Sale, Invalid> {
        Sale::from_message(json.to_string().as_bytes())
    }

    #[test]
    fn a_sale_is_read() {
        let sale = read(&valid()).unwrap();
        assert_eq!((sale.terminal.as_str(), sale.sequence.get(), sale.account.as_str()), ("till-1", 17, "acct_1"));
        assert_eq!(sale.money.to_string(), "1200 EUR");
    }

    #[test]
    fn what_is_wrong_with_a_sale_is_named() {
        for (name, wrong) in [
            ("type", json!("payment.succeeded")),
            ("terminal", json!("till#1")),
            ("terminal", json!("")),
            ("sequence", json!(0)),
            ("sequence", json!(-1)),
            ("sequence", json!(1.0)),
            ("sequence", json!("17")),
            ("account", json!("provider:clearing")),
            ("amount", json!(0)),
            ("currency", json!("EURO")),
        ] {
            let mut json = valid();
            json[name] = wrong;
            let invalid = read(&json).unwrap_err();
            assert_eq!(invalid.problems().len(), 1, "{invalid}");
            assert_eq!(invalid.problems()[0].field.as_deref(), Some(name), "{invalid}");
        }
        let mut unknown = valid();
        unknown["event"] = json!("e-1");
        assert!(read(&unknown).is_err());
    }

    #[test]
    fn a_number_of_a_terminal_is_always_the_same_event_and_no_other_is() {
        let sale = read(&valid()).unwrap();
        assert_eq!(
            sale.id().to_string(),
            "aeeb9670-5a95-89f2-93f8-79e8c5b9f79b",
            "pinned: entries outlive deployments"
        );
        assert_eq!(other("amount", json!(5)).id(), sale.id(), "whatever else it says");
        assert_ne!(other("sequence", json!(18)).id(), sale.id());
        assert_ne!(other("terminal", json!("till-11")).id(), sale.id());
    }

    #[test]
    fn the_digest_of_a_sale_is_pinned_and_another_for_whatever_is_changed() {
        let sale = read(&valid()).unwrap();
        let hex: String = sale.content().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            hex, "01882b0c211deb608fb4df9ab9988a2c5d0f814d84301614ec58ea1b88ad1d817b",
            "entries outlive deployments"
        );
        assert_eq!(other("amount", json!("1200")).content(), sale.content(), "however it is spelt");
        for (name, value) in [
            ("terminal", json!("till-2")),
            ("sequence", json!(18)),
            ("account", json!("acct_2")),
            ("amount", json!(1201)),
            ("currency", json!("USD")),
        ] {
            assert_ne!(other(name, value).content(), sale.content(), "{name}");
        }
    }
}
