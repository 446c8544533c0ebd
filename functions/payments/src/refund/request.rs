use idempotency::protocol::Document;

use crate::{Amount, Invalid, Payment, Reason, invalid::Problem, members::Members};

/// What a client asks for with `POST /payments/{id}/refunds`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    /// How much; absent for all that is left.
    pub amount: Option<Amount>,
    /// The client's words.
    pub reason: Option<Reason>,
}

impl RefundRequest {
    /// Reads `{"amount"?,"reason"?}`. `{}` asks for all that is left; `"amount":null` is refused, because a client
    /// that lost its amount must not give everything back.
    ///
    /// # Errors
    ///
    /// All that is wrong with it: a member that is repeated, unknown or outside its type's limits.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        Self::of_members(Members::from_json(json)?)
    }

    /// Reads a document that was parsed already; see [`RefundRequest::from_json`].
    ///
    /// # Errors
    ///
    /// All that is wrong with it.
    pub fn of(document: &Document) -> Result<Self, Invalid> {
        Self::of_members(Members::of(document)?)
    }

    fn of_members(mut members: Members) -> Result<Self, Invalid> {
        let amount = members.optional("amount", Amount::from_json);
        let reason = members.optional("reason", Reason::from_json);
        members.finish(|| Some(Self { amount, reason }))
    }

    /// How much to give back of this payment.
    ///
    /// # Errors
    ///
    /// On `amount`, when more is asked for than is left, or nothing is left.
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
    use uuid::Uuid;

    use super::*;
    use crate::{Owner, PaymentRequest};

    fn refused(json: &str) -> String {
        RefundRequest::from_json(json.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn amount_and_reason_may_be_absent_but_not_null() {
        assert_eq!(RefundRequest::from_json(b"{}").unwrap(), RefundRequest { amount: None, reason: None });
        assert!(refused(r#"{"amount":null}"#).starts_with("amount: must be "));
        assert!(refused(r#"{"amount":1.0}"#).starts_with("amount: must be "));
        assert!(refused(r#"{"ammount":100}"#).starts_with("ammount: is not known"));
        assert!(refused("").starts_with("must be one JSON object"));
    }

    #[test]
    fn no_more_is_given_back_than_is_left() {
        let json = br#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        let request = PaymentRequest::from_json(json).unwrap();
        let mut payment = Payment::new(Uuid::now_v7(), Owner::of("alice"), &request, "pi_1".into(), 0);
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
