use serde::Deserialize;

use crate::{Event, Invalid, Sale};

/// What the ledger's queue carries: told apart by the member `type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Something happened to a payment.
    Event(Event),
    /// A terminal sold something.
    Sale(Sale),
}

impl Message {
    /// What makes two messages the same, by JSON pointer: all that either kind has, and not the trace of the sender.
    pub const COMPARED: [&'static str; 8] =
        ["/type", "/event", "/payment", "/terminal", "/sequence", "/account", "/amount", "/currency"];

    /// Reads a message.
    ///
    /// # Errors
    ///
    /// All that is wrong with it. What is neither a sale nor an event is read as an event, whose error says so.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        #[derive(Deserialize)]
        struct Typed<'a> {
            #[serde(rename = "type", borrow)]
            kind: std::borrow::Cow<'a, str>,
        }
        match serde_json::from_slice::<Typed<'_>>(json) {
            Ok(typed) if typed.kind == Sale::TYPE => Sale::from_message(json).map(Self::Sale),
            Ok(_) | Err(_) => Event::from_message(json).map(Self::Event),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_tells_a_sale_from_an_event() {
        let sale = r#"{"type":"terminal.sale","terminal":"t","sequence":1,"account":"a","amount":1,"currency":"EUR"}"#;
        assert!(matches!(Message::from_json(sale.as_bytes()), Ok(Message::Sale(_))));
        let escaped = sale.replace("terminal.sale", r"terminal\u002esale");
        assert!(matches!(Message::from_json(escaped.as_bytes()), Ok(Message::Sale(_))));
        let event = sale.replace("terminal.sale", "payment.succeeded");
        let error = Message::from_json(event.as_bytes()).unwrap_err().to_string();
        assert!(error.contains("event: is required") && error.contains("terminal: is not known here"), "{error}");
        for poison in ["", "[]", "{}", r#"{"type":1}"#, r#"{"type":"terminal.sale"}"#] {
            assert!(Message::from_json(poison.as_bytes()).is_err(), "{poison}");
        }
    }
}
