use serde::{Deserialize, Serialize};

use crate::{AccountId, Amount, Currency, Invalid, Money, PaymentId, PaymentRequest, RefundRequest};

/// A request's subject, stored in its record from the claim on: enough to look up its outcome when the request itself
/// is gone, and to show an operator the amount at stake.
///
/// Written as compact JSON: `{"account":"acct_1","amount":1200,"currency":"EUR"}` for a payment,
/// `{"payment":"pay_…","amount":200}` for a refund, without `amount` if everything left is refunded, and
/// `{"valid":false}` for an invalid request.
///
/// Every request of the API has one. It and the operation's name distinguish its records from those of other
/// applications in a shared table ([`operations`](crate::operations)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `POST /payments`.
    Payment {
        /// The account to credit.
        account: AccountId,
        /// The money to charge.
        money: Money,
    },
    /// `POST /payments/{id}/refunds`.
    Refund {
        /// The payment to refund.
        payment: PaymentId,
        /// The amount; `None` for everything left.
        amount: Option<Amount>,
    },
    /// An invalid request of either operation: nothing is sent for it.
    Invalid,
}

#[derive(Default, Serialize, Deserialize)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    valid: Option<bool>,
}

impl Subject {
    /// The subject of `POST /payments`.
    pub fn of_payment(order: &Result<PaymentRequest, Invalid>) -> Self {
        match order {
            Ok(PaymentRequest { account, money, .. }) => Self::Payment { account: account.clone(), money: *money },
            Err(_) => Self::Invalid,
        }
    }

    /// The subject of `POST /payments/{id}/refunds`; `payment` is `None` if the path has no valid payment id.
    pub fn of_refund(payment: Option<PaymentId>, order: &Result<RefundRequest, Invalid>) -> Self {
        match (payment, order) {
            (Some(payment), Ok(RefundRequest { amount, .. })) => Self::Refund { payment, amount: *amount },
            (None, _) | (_, Err(_)) => Self::Invalid,
        }
    }

    /// Parses the text in a record; `None` if it is not in this application's format.
    pub fn parse(text: &str) -> Option<Self> {
        let Stored { account, payment, amount, currency, valid } = serde_json::from_str(text).ok()?;
        let amount = amount.map(Amount::new);
        match (account, payment, currency, valid) {
            (None, None, None, Some(false)) if amount.is_none() => Some(Self::Invalid),
            (Some(account), None, Some(currency), None) => Some(Self::Payment {
                account: AccountId::parse(&account)?,
                money: Money { amount: amount??, currency: Currency::from_code(&currency)? },
            }),
            (None, Some(payment), None, None) => Some(Self::Refund {
                payment: PaymentId::parse(&payment)?,
                amount: match amount {
                    Some(amount) => Some(amount?),
                    None => None,
                },
            }),
            _ => None,
        }
    }

    /// The text for the record.
    pub fn to_text(&self) -> String {
        let stored = match self {
            Self::Payment { account, money } => Stored {
                account: Some(account.to_string()),
                amount: Some(money.amount.get()),
                currency: Some(money.currency.to_string()),
                ..Stored::default()
            },
            Self::Refund { payment, amount } => {
                Stored { payment: Some(payment.to_string()), amount: amount.map(Amount::get), ..Stored::default() }
            }
            Self::Invalid => Stored { valid: Some(false), ..Stored::default() },
        };
        // A plain struct of strings and numbers always serialises.
        serde_json::to_string(&stored).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYMENT: &str = "pay_01935b4a7c0070008000000000000001";

    #[test]
    fn a_subject_is_read_back_from_its_words() {
        let body = br#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        let payment = Subject::of_payment(&PaymentRequest::from_json(body));
        assert_eq!(payment.to_text(), r#"{"account":"acct_1","amount":1200,"currency":"EUR"}"#);
        let refund = |body: &[u8]| Subject::of_refund(PaymentId::parse(PAYMENT), &RefundRequest::from_json(body));
        let part = refund(br#"{"amount":200}"#);
        assert_eq!(part.to_text(), format!(r#"{{"payment":"{PAYMENT}","amount":200}}"#));
        let rest = refund(b"{}");
        let invalid = Subject::of_payment(&PaymentRequest::from_json(b"{}"));
        assert_eq!(invalid.to_text(), r#"{"valid":false}"#);
        for subject in [payment, part, rest, invalid] {
            assert_eq!(Subject::parse(&subject.to_text()), Some(subject));
        }
    }

    #[test]
    fn the_longest_subject_fits_a_record() {
        let account = "a".repeat(64);
        let body =
            format!(r#"{{"account":"{account}","amount":99999999,"currency":"EUR","payment_method":"pm_card_visa"}}"#);
        assert!(Subject::of_payment(&PaymentRequest::from_json(body.as_bytes())).to_text().len() <= 256);
    }

    #[test]
    fn what_is_no_subject_of_ours_is_nothing() {
        for text in [
            "",
            "{}",
            "null",
            r#"{"account":"a b","amount":1,"currency":"EUR"}"#,
            r#"{"payment":"x"}"#,
            r#"{"valid":true}"#,
            r#"{"valid":false,"amount":1}"#,
            r#"{"account":"acct_1","amount":1,"currency":"EUR","valid":false}"#,
        ] {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
    }
}
