use idempotency::protocol::Document;

use crate::{Amount, Invalid, Payment, Reason, invalid::Problem, members::Members};

/// The body of `POST /payments/{id}/refunds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// The amount; `None` for everything left.
    pub amount: Option<Amount>,
    /// The client's text.
    pub reason: Option<Reason>,
}

impl RefundRequest {
    /// Parses `{"amount"?,"reason"?}`. `{}` and an empty body refund everything left; `"amount":null` is refused,
    /// because a client that lost its amount must not refund everything.
    ///
    /// # Errors
    ///
    /// All its problems: each member that is repeated, unknown or outside its type's limits.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        if json.is_empty() {
            return Ok(Self { amount: None, reason: None });
        }
        Self::of_members(Members::from_json(json)?)
    }

    /// Parses a document that is already parsed as JSON; see [`RefundRequest::from_json`].
    ///
    /// # Errors
    ///
    /// All its problems.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        Self::of_members(Members::of(document)?)
    }

    fn of_members(mut members: Members) -> Result<Self, Invalid> {
        let amount = members.optional("amount", Amount::from_json);
        let reason = members.optional("reason", Reason::from_json);
        members.finish(|| Some(Self { amount, reason }))
    }

    /// The amount to refund of this payment.
    ///
    /// # Errors
    ///
    /// On `amount`, if it exceeds what is left, or nothing is left.
    pub fn amount_of(&self, payment: &Payment) -> Result<Amount, Invalid> {
        let Some(left) = payment.refundable() else {
            return Err(Problem::field("amount", "the payment was refunded in full").into());
        };
        match self.amount {
            Some(amount) if amount > left => {
                Err(Problem::field("amount", format!("must be at most {left}, which is what is left to refund")).into())
            }
            Some(amount) => Ok(amount),
            None => Ok(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PaymentRequest, samples};

    fn refused(json: &str) -> String {
        RefundRequest::from_json(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn amount_reason_and_the_whole_body_may_be_absent_but_not_null() {
        for json in ["", "{}"] {
            let everything = RefundRequest { amount: None, reason: None };
            assert_eq!(RefundRequest::from_json(json.as_bytes()).unwrap(), everything, "{json}");
        }
        assert!(refused(r#"{"amount":null}"#).starts_with("amount: must be "));
        assert!(refused(r#"{"amount":1.0}"#).starts_with("amount: must be "));
        assert!(refused(r#"{"ammount":100}"#).starts_with("ammount: is not known"));
        for json in ["null", " ", "[]"] {
            assert!(refused(json).starts_with("must be one JSON object"), "{json}");
        }
    }

    #[test]
    fn no_more_is_given_back_than_is_left() {
        let json = br#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        let request = PaymentRequest::from_json(json).unwrap();
        let mut payment =
            Payment::new(samples::transaction(1), samples::principal("alice"), &request, "pi_1".into(), 0);
        let asked = |amount| RefundRequest { amount, reason: None };

        payment.refunded = 1000;
        assert_eq!(asked(None).amount_of(&payment).unwrap().get(), 200);
        assert_eq!(asked(Amount::new(200)).amount_of(&payment).unwrap().get(), 200);
        let refused = asked(Amount::new(201)).amount_of(&payment).unwrap_err().to_string();
        assert_eq!(refused, "amount: must be at most 200, which is what is left to refund");

        payment.refunded = 1200;
        for amount in [None, Amount::new(1)] {
            let refused = asked(amount).amount_of(&payment).unwrap_err().to_string();
            assert_eq!(refused, "amount: the payment was refunded in full");
        }
    }
}
