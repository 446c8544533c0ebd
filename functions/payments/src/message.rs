use idempotency::protocol::{Document, InvalidPointer, Pointer, Selection, Trace};
use idempotency::sqs::KeySource;
use serde::Deserialize;

use crate::{Event, Invalid, Sale};

/// A message of the ledger's queue; the member `type` contains its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something happened to a payment.
    Event(Event),
    /// A terminal made a sale.
    Sale(Sale),
}

impl Message {
    /// Where a message contains its idempotency key: an event's id, or a sale's terminal and number.
    ///
    /// # Errors
    ///
    /// If a pointer here is invalid, which a test would detect.
    pub fn key() -> Result<KeySource, InvalidPointer> {
        let sale = [Pointer::new("/terminal")?, Pointer::new("/sequence")?];
        Ok(KeySource::pointer(Pointer::new("/event")?).or(KeySource::pointers(Pointer::new("/type")?, sale)))
    }

    /// What makes two messages the same: all members that both kinds have and all that only one has, except the
    /// sender's trace. The order must not change, and no value may be removed.
    ///
    /// # Errors
    ///
    /// If a pointer here is invalid, which a test would detect.
    pub fn compared() -> Result<Selection, InvalidPointer> {
        Ok(Selection::of(Pointer::new("/type")?)
            .and_optional(Pointer::new("/event")?)
            .and_optional(Pointer::new("/payment")?)
            .and_optional(Pointer::new("/terminal")?)
            .and_optional(Pointer::new("/sequence")?)
            .and(Pointer::new("/account")?)
            .and(Pointer::new("/amount")?)
            .and(Pointer::new("/currency")?))
    }

    /// Where an event contains the trace in which it was made.
    ///
    /// # Errors
    ///
    /// If a pointer here is invalid, which a test would detect.
    pub fn traceparent() -> Result<Pointer, InvalidPointer> {
        Pointer::new(&format!("/{}", Trace::NAME))
    }

    /// Parses a message.
    ///
    /// # Errors
    ///
    /// All its problems. A message that is neither a sale nor an event is parsed as an event.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(rename = "type")]
            kind: &'a str,
        }
        match Typed::deserialize(document) {
            Ok(typed) if typed.kind == Sale::TYPE => Sale::of(document).map(Self::Sale),
            Ok(_) | Err(_) => Event::of(document).map(Self::Event),
        }
    }
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{Compare, Fingerprinter};

    use super::*;

    fn read(json: &str) -> Result<Message, Invalid> {
        Message::of(&Document::parse(json.as_bytes()).unwrap())
    }

    /// If these changed, every message that is delivered again across a deployment would be returned.
    #[test]
    fn the_fingerprints_of_both_kinds_are_stable_across_releases() {
        let of = |body: &str| {
            let compare = Compare::Selected(Message::compared().unwrap());
            let fingerprint = Fingerprinter::new().json(body.as_bytes(), &compare).map(Fingerprinter::finish);
            fingerprint.map(|it| it.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        };
        let event = r#"{"type":"payment.succeeded","event":"01935b4a-7c00-7000-8000-000000000001",
            "payment":"pay_01935b4a7c0070008000000000000001","account":"acct_1","amount":"1200","currency":"EUR",
            "traceparent":""}"#;
        assert_eq!(of(event).as_deref(), Ok("019f04e27681fee6e83560ccc3d6cd2b08620a7758c5f910266e29b986080f34fb"));
        let sale = r#"{"type":"terminal.sale","terminal":"till-1","sequence":17,"account":"acct_1","amount":1200,
            "currency":"EUR"}"#;
        assert_eq!(of(sale).as_deref(), Ok("016aba829efea82d588906363585a6efb50f5023539d76566f7ba543e38bc4f6d8"));
        assert!(Message::key().is_ok() && Message::traceparent().is_ok());
        for member in ["type", "account", "amount", "currency"] {
            assert!(of(&sale.replace(member, "other")).is_err(), "without {member} none is compared");
        }
    }

    #[test]
    fn the_type_tells_a_sale_from_an_event() {
        let sale = r#"{"type":"terminal.sale","terminal":"t","sequence":1,"account":"a","amount":1,"currency":"EUR"}"#;
        assert!(matches!(read(sale), Ok(Message::Sale(_))));
        let escaped = sale.replace("terminal.sale", r"terminal\u002esale");
        assert!(matches!(read(&escaped), Ok(Message::Sale(_))));
        let event = sale.replace("terminal.sale", "payment.succeeded");
        let error = read(&event).unwrap_err().to_string();
        assert!(error.contains("event: is required") && error.contains("terminal: is not known here"), "{error}");
        for poison in ["1", "[]", "{}", r#"{"type":1}"#, r#"{"type":"terminal.sale"}"#] {
            assert!(read(poison).is_err(), "{poison}");
        }
    }
}
