use idempotency::protocol::Document;

use crate::{AccountId, Amount, Currency, Invalid, Money, PaymentMethod, Reference, members::Members};

/// The body of `POST /payments`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRequest {
    /// The account to credit.
    pub account: AccountId,
    /// The money to charge.
    pub money: Money,
    /// The payment method to charge.
    pub payment_method: PaymentMethod,
    /// The client's text.
    pub reference: Option<Reference>,
}

impl PaymentRequest {
    /// Parses `{"account","amount","currency","payment_method","reference"?}`.
    ///
    /// # Errors
    ///
    /// All its problems: each member that is missing, repeated, unknown or outside its type's limits.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        Self::of_members(Members::from_json(json)?)
    }

    /// Parses a document that is already parsed as JSON; see [`PaymentRequest::from_json`].
    ///
    /// # Errors
    ///
    /// All its problems.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        Self::of_members(Members::of(document)?)
    }

    fn of_members(mut members: Members) -> Result<Self, Invalid> {
        let account = members.required("account", AccountId::from_json);
        let amount = members.required("amount", Amount::from_json);
        let currency = members.required("currency", Currency::chargeable_from_json);
        let payment_method = members.required("payment_method", PaymentMethod::from_json);
        let reference = members.optional("reference", Reference::from_json);
        members.finish(|| {
            let money = Money { amount: amount?, currency: currency? };
            Some(Self { account: account?, money, payment_method: payment_method?, reference })
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn valid() -> Value {
        json!({"account": "acct_1", "amount": 1200, "currency": "eur", "payment_method": "pm_card_visa", "reference": "order 17"})
    }

    fn read(json: &Value) -> Result<PaymentRequest, Invalid> {
        PaymentRequest::from_json(json.to_string().as_bytes())
    }

    fn fields(json: &Value) -> Vec<String> {
        read(json).unwrap_err().problems().iter().map(|problem| problem.field.clone().unwrap_or_default()).collect()
    }

    #[test]
    fn a_full_request_is_read() {
        let request = read(&valid()).unwrap();
        assert_eq!(request.account.as_str(), "acct_1");
        assert_eq!(request.money.to_string(), "1200 EUR");
        assert_eq!(request.payment_method.as_str(), "pm_card_visa");
        assert_eq!(request.reference.unwrap().as_str(), "order 17");
    }

    #[test]
    fn only_the_reference_may_be_absent() {
        for name in ["account", "amount", "currency", "payment_method", "reference"] {
            let mut json = valid();
            json.as_object_mut().unwrap().remove(name);
            if name == "reference" {
                assert_eq!(read(&json).unwrap().reference, None);
            } else {
                assert_eq!(fields(&json), [name]);
            }
        }
    }

    #[test]
    fn every_wrong_member_is_named_with_what_is_allowed() {
        for (name, wrong) in [
            ("account", json!("a b")),
            ("account", json!(1)),
            ("amount", json!(0)),
            ("amount", json!(-5)),
            ("amount", json!(1.5)),
            ("amount", json!("1200")),
            ("amount", json!(100_000_000)),
            ("currency", json!("XTS")),
            ("currency", json!("euro")),
            ("payment_method", json!("")),
            ("reference", json!("")),
            ("reference", json!(null)),
        ] {
            let mut json = valid();
            json[name] = wrong;
            let invalid = read(&json).unwrap_err();
            assert_eq!(fields(&json), [name], "{json}");
            assert!(invalid.problems()[0].detail.starts_with("must be "), "{invalid}");
        }
    }

    #[test]
    fn all_wrong_members_are_named_at_once() {
        assert_eq!(
            fields(&json!({"account": "", "amount": 1.5, "curency": "EUR", "payment_method": 1})),
            ["account", "amount", "currency", "payment_method", "curency"]
        );
    }

    #[test]
    fn problems_serialise_for_a_problem_document() {
        let invalid =
            read(&json!({"account": "a", "amount": 0, "currency": "EUR", "payment_method": "pm"})).unwrap_err();
        assert_eq!(
            serde_json::to_value(&invalid).unwrap(),
            json!([{"field": "amount", "detail": "must be an integer number of minor units, from 1 to 99999999, written in digits only"}])
        );
        assert_eq!(
            serde_json::to_value(PaymentRequest::from_json(b"7").unwrap_err()).unwrap(),
            json!([{"detail": "must be one JSON object"}])
        );
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes: Vec<u8>, text: String) {
            let _ = PaymentRequest::from_json(&bytes);
            let _ = PaymentRequest::from_json(text.as_bytes());
        }
    }
}
