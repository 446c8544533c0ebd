mod request;

pub use request::RefundRequest;

use idempotency::protocol::TransactionId;
use serde::{Serialize, Serializer};

use crate::{Amount, Money, Payment, PaymentId, Reason, RefundId};

/// A refund that was made. Only a reversal that succeeded at the provider becomes a refund.
///
/// Serialises to the API's representation, the same bytes for the same refund: `{"id","payment","amount","currency",
/// "reason"?,"status","created"}`, with `created` as RFC 3339 in UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// Derived from the transaction id.
    pub id: RefundId,
    /// The refunded payment.
    pub payment: PaymentId,
    /// The refunded amount.
    pub money: Money,
    /// The client's text.
    pub reason: Option<Reason>,
    /// The provider's id of the refund (`re_…`).
    pub reversal: String,
    /// When it was made, in epoch milliseconds.
    pub created: u64,
}

impl Refund {
    /// The refund that a reversal made of a request. A repetition under the same transaction id makes the same refund
    /// again.
    pub fn new(
        transaction: TransactionId,
        payment: &Payment,
        amount: Amount,
        reason: Option<Reason>,
        reversal: String,
        created: u64,
    ) -> Self {
        let money = Money { amount, currency: payment.money.currency };
        Self { id: RefundId::of(transaction), payment: payment.id, money, reason, reversal, created }
    }
}

impl Serialize for Refund {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Representation<'a> {
            id: RefundId,
            payment: PaymentId,
            #[serde(flatten)]
            money: Money,
            #[serde(skip_serializing_if = "Option::is_none")]
            reason: &'a Option<Reason>,
            status: &'static str,
            #[serde(serialize_with = "crate::time::as_rfc3339")]
            created: u64,
        }

        let Self { id, payment, money, reason, reversal: _, created } = self;
        Representation { id: *id, payment: *payment, money: *money, reason, status: "succeeded", created: *created }
            .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PaymentRequest, samples};

    #[test]
    fn a_repeat_makes_the_same_refund_in_the_same_bytes() {
        let json = br#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        let request = PaymentRequest::from_json(json).unwrap();
        let payment = Payment::new(samples::transaction(1), samples::principal("alice"), &request, "pi_1".into(), 0);
        let refund = || {
            let (amount, reason) = (Amount::new(200).unwrap(), Reason::parse("too late"));
            Refund::new(samples::transaction(2), &payment, amount, reason, "re_1".into(), 1_795_494_059_000)
        };
        assert_eq!(refund(), refund());
        assert_eq!(
            serde_json::to_string(&refund()).unwrap(),
            r#"{"id":"ref_00000000000000000000000000000002","payment":"pay_00000000000000000000000000000001","amount":200,"currency":"EUR","reason":"too late","status":"succeeded","created":"2026-11-24T04:20:59Z"}"#
        );
    }
}
