use std::fmt;

use idempotency::protocol::{Document, Trace};
use serde_json::Value;
use uuid::Uuid;

use crate::{
    AccountId, Amount, Currency, Invalid, Money, Payment, PaymentId, Refund,
    members::{Members, Parsed},
};

/// An event for the ledger: an item of the outbox, written in the same transaction as the payment or refund, delivered
/// by the table's stream and the pipe, and read by the worker from its queue.
///
/// As a message it is `{"type","event","payment","account","amount","currency","traceparent"}`. The members are the
/// item's attributes, which the pipe's template inserts between quotes; none of them can contain a character that needs
/// escaping. A pipe cannot set message attributes, so the trace in which the event was made is in the body. It is not
/// part of the event, and it is empty if no trace is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The transaction that made it: unique per event, and the idempotency key of the message (JSON pointer `/event`).
    pub id: Uuid,
    /// What happened.
    pub kind: EventKind,
    /// The payment.
    pub payment: PaymentId,
    /// The account whose balance changes.
    pub account: AccountId,
    /// The amount, always positive; the kind determines the direction.
    pub money: Money,
}

/// What happened to the money; the `type` of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `payment.succeeded`: a charge came in.
    PaymentSucceeded,
    /// `payment.refunded`: a charge, or part of it, went back.
    PaymentRefunded,
}

impl Event {
    /// The event for a payment.
    pub fn succeeded(payment: &Payment) -> Self {
        Self {
            id: payment.id.transaction().uuid(),
            kind: EventKind::PaymentSucceeded,
            payment: payment.id,
            account: payment.account.clone(),
            money: payment.money,
        }
    }

    /// The event for a refund of this payment.
    pub fn refunded(payment: &Payment, refund: &Refund) -> Self {
        Self {
            id: refund.id.transaction().uuid(),
            kind: EventKind::PaymentRefunded,
            payment: payment.id,
            account: payment.account.clone(),
            money: refund.money,
        }
    }

    /// Parses the message. The amount may be an integer or a string of digits, which is what the pipe sends.
    ///
    /// # Errors
    ///
    /// All its problems. Strict, even about unknown members: posting a message that is not fully understood would be
    /// worse than leaving it in the queue, which moves it to the dead-letter queue, from where it can be redriven.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        let mut members = Members::of(document)?;
        let kind = members.required("type", EventKind::from_json);
        let id = members.required("event", event_id);
        let payment = members.required("payment", payment_id);
        let account = members.required("account", AccountId::from_json);
        let amount = members.required("amount", Amount::from_message);
        let currency = members.required("currency", Currency::from_json);
        members.optional(Trace::NAME, |value| value.is_string().then_some(()).ok_or("must be a string"));
        members.finish(|| {
            let money = Money { amount: amount?, currency: currency? };
            Some(Self { id: id?, kind: kind?, payment: payment?, account: account?, money })
        })
    }
}

impl EventKind {
    /// The event's `type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PaymentSucceeded => "payment.succeeded",
            Self::PaymentRefunded => "payment.refunded",
        }
    }

    fn from_json(value: &Value) -> Parsed<Self> {
        [Self::PaymentSucceeded, Self::PaymentRefunded]
            .into_iter()
            .find(|kind| value == kind.as_str())
            .ok_or("must be payment.succeeded or payment.refunded")
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Accepts only the spelling in which it was written: it is the message's idempotency key, and two spellings would be
/// two keys.
fn event_id(value: &Value) -> Parsed<Uuid> {
    let read = |text: &str| Uuid::try_parse(text).ok().filter(|id| id.to_string() == text);
    value.as_str().and_then(read).ok_or("must be a UUID in lower case, with hyphens")
}

fn payment_id(value: &Value) -> Parsed<PaymentId> {
    value.as_str().and_then(PaymentId::parse).ok_or("must be the id of a payment")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ID: &str = "01935b4a-7c00-7000-8000-000000000001";

    fn valid() -> Value {
        json!({
            "type": "payment.succeeded",
            "event": ID,
            "payment": "pay_01935b4a7c0070008000000000000001",
            "account": "acct_1",
            "amount": "1200",
            "currency": "EUR",
        })
    }

    fn read(json: &Value) -> Result<Event, Invalid> {
        Event::of(&Document::parse(json.to_string().as_bytes()).unwrap())
    }

    #[test]
    fn the_pipes_message_is_read() {
        let event = read(&valid()).unwrap();
        assert_eq!(event.id.to_string(), ID);
        assert_eq!(event.kind, EventKind::PaymentSucceeded);
        assert_eq!(event.money.to_string(), "1200 EUR");

        for (member, value) in [
            ("amount", json!(1200)),
            ("traceparent", json!("")),
            ("traceparent", json!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")),
        ] {
            let mut same = valid();
            same[member] = value;
            assert_eq!(read(&same).unwrap(), event, "{same}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_named() {
        for (name, wrong) in [
            ("type", json!("terminal.sale")),
            ("type", json!(1)),
            ("event", json!(ID.to_uppercase())),
            ("event", json!(ID.replace('-', ""))),
            ("payment", json!(ID)),
            ("account", json!("provider:clearing")),
            ("amount", json!("12.00")),
            ("amount", json!(12.0)),
            ("amount", json!("")),
            ("amount", json!("-1")),
            ("currency", json!("EURO")),
            ("traceparent", json!(1)),
        ] {
            let mut json = valid();
            json[name] = wrong;
            let invalid = read(&json).unwrap_err();
            assert_eq!(invalid.problems().len(), 1, "{invalid}");
            assert_eq!(invalid.problems()[0].field.as_deref(), Some(name), "{invalid}");
        }
        assert_eq!(
            Event::of(&Document::parse(b"\"hello\"").unwrap()).unwrap_err().to_string(),
            "must be one JSON object"
        );
    }

    #[test]
    fn a_payment_in_a_currency_no_longer_charged_is_still_posted() {
        let mut json = valid();
        json["currency"] = json!("HRK");
        assert!(read(&json).is_ok());
    }
}
