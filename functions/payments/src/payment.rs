mod request;

pub use request::PaymentRequest;

use idempotency::protocol::{PrincipalDigest, TransactionId};
use serde::{Serialize, Serializer};

use crate::{AccountId, Amount, Money, PaymentId, PaymentMethod, Reference};

/// A payment that was made. Only a successful charge becomes one, so its status is always `succeeded`.
///
/// Serialises to the API's representation, the same bytes for the same payment: `{"id","account","amount","currency",
/// "payment_method","reference"?,"status","refunded","created"}`, with `created` as RFC 3339 in UTC. Owner and intent
/// are not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Derived from the transaction id.
    pub id: PaymentId,
    /// The principal who made it; no other may read or refund it.
    pub owner: PrincipalDigest,
    /// The account that it credits.
    pub account: AccountId,
    /// What was charged.
    pub money: Money,
    /// The payment method that was charged; `None` if the payment was recorded without the provider's answer.
    pub payment_method: Option<PaymentMethod>,
    /// The client's text.
    pub reference: Option<Reference>,
    /// The provider's id of the charge (`pi_…`).
    pub intent: String,
    /// The amount refunded so far, in minor units; at most the amount.
    pub refunded: u64,
    /// When it was made, in epoch milliseconds.
    pub created: u64,
}

/// The text of a payment method that is not known.
const UNKNOWN_METHOD: &str = "unknown";

impl Payment {
    /// The payment that a charge made of a request. A repetition under the same transaction id makes the same payment
    /// again.
    pub fn new(
        transaction: TransactionId,
        owner: PrincipalDigest,
        request: &PaymentRequest,
        intent: String,
        created: u64,
    ) -> Self {
        let PaymentRequest { account, money, payment_method, reference } = request.clone();
        Self {
            id: PaymentId::of(transaction),
            owner,
            account,
            money,
            payment_method: Some(payment_method),
            reference,
            intent,
            refunded: 0,
            created,
        }
    }

    /// A payment that operators record without the provider's answer.
    pub fn unverified(
        transaction: TransactionId,
        owner: PrincipalDigest,
        account: AccountId,
        money: Money,
        intent: String,
        created: u64,
    ) -> Self {
        let (id, payment_method, reference) = (PaymentId::of(transaction), None, None);
        Self { id, owner, account, money, payment_method, reference, intent, refunded: 0, created }
    }

    /// The payment method as it is shown and stored.
    pub(crate) fn payment_method_text(&self) -> &str {
        self.payment_method.as_ref().map_or(UNKNOWN_METHOD, PaymentMethod::as_str)
    }

    /// The payment method behind its text.
    pub(crate) fn read_payment_method(text: &str) -> Option<Option<PaymentMethod>> {
        if text == UNKNOWN_METHOD { Some(None) } else { PaymentMethod::parse(text).map(Some) }
    }

    /// The amount left to refund; `None` if everything was refunded.
    pub fn refundable(&self) -> Option<Amount> {
        self.money.amount.get().checked_sub(self.refunded).and_then(Amount::new)
    }
}

impl Serialize for Payment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Representation<'a> {
            id: PaymentId,
            account: &'a AccountId,
            #[serde(flatten)]
            money: Money,
            payment_method: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            reference: &'a Option<Reference>,
            status: &'static str,
            refunded: u64,
            #[serde(serialize_with = "crate::time::as_rfc3339")]
            created: u64,
        }

        let Self { id, owner: _, account, money, payment_method: _, reference, intent: _, refunded, created } = self;
        Representation {
            id: *id,
            account,
            money: *money,
            payment_method: self.payment_method_text(),
            reference,
            status: "succeeded",
            refunded: *refunded,
            created: *created,
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn payment(transaction: TransactionId, reference: &str) -> Payment {
        let json = format!(
            r#"{{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"{reference}}}"#
        );
        let request = PaymentRequest::from_json(json.as_bytes()).unwrap();
        Payment::new(transaction, samples::principal("alice"), &request, "pi_1".into(), 1_795_494_059_250)
    }

    #[test]
    fn a_repeat_makes_the_same_payment_in_the_same_bytes() {
        let transaction = samples::transaction(0x0193_5b4a_7c00_7000_8000_0000_0000_0001);
        let (first, second) = (payment(transaction, ""), payment(transaction, ""));
        assert_eq!(first, second);
        let json = serde_json::to_string(&first).unwrap();
        assert_eq!(json, serde_json::to_string(&second).unwrap());
        assert_eq!(
            json,
            r#"{"id":"pay_01935b4a7c0070008000000000000001","account":"acct_1","amount":1200,"currency":"EUR","payment_method":"pm_card_visa","status":"succeeded","refunded":0,"created":"2026-11-24T04:20:59.25Z"}"#
        );
    }

    #[test]
    fn the_reference_is_shown_and_owner_and_intent_are_not() {
        let json = serde_json::to_string(&payment(samples::transaction(1), r#","reference":"order \"17\"""#)).unwrap();
        assert!(json.contains(r#""reference":"order \"17\"""#), "{json}");
        assert!(!json.contains("pi_1") && !json.contains(&samples::principal("alice").to_string()), "{json}");
    }

    #[test]
    fn what_is_left_to_refund_is_what_was_not_refunded() {
        let mut payment = payment(samples::transaction(1), "");
        assert_eq!(payment.refundable(), Amount::new(1200));
        payment.refunded = 1199;
        assert_eq!(payment.refundable(), Amount::new(1));
        payment.refunded = 1200;
        assert_eq!(payment.refundable(), None);
    }
}
