use serde::{Deserialize, Serialize};

use crate::{AccountId, Amount, Currency, Money, PaymentId, PaymentRequest, RefundRequest};

/// What a request is about, as its record says it from the claim on: enough to look for its outcome when the request
/// itself is gone, and to tell an operator how much is at stake.
///
/// Written as compact JSON: `{"account":"acct_1","amount":1200,"currency":"EUR"}` of a payment,
/// `{"payment":"pay_…","amount":200}` of a refund, without `amount` if all that is left is given back,
/// `{"valid":false}` of a request that is not valid.
///
/// Every request of the API has one: by it, and by the operation's name, its records are told from those of others in a
/// table that is shared ([`operations`](crate::operations)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// `POST /payments`.
    Payment {
        /// Whose balance it goes to.
        account: AccountId,
        /// What is to be charged.
        money: Money,
    },
    /// `POST /payments/{id}/refunds`.
    Refund {
        /// What is to be given back from.
        payment: PaymentId,
        /// How much; nothing for all that is left.
        amount: Option<Amount>,
    },
    /// Of either operation, but not valid: nothing is sent for it.
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
    /// What a request of the API is about, by its path and body; nothing if it is for another path.
    pub fn of_request(path: &str, body: &[u8]) -> Option<Self> {
        match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            ["payments"] => Some(match PaymentRequest::from_json(body) {
                Ok(PaymentRequest { account, money, .. }) => Self::Payment { account, money },
                Err(_) => Self::Invalid,
            }),
            ["payments", id, "refunds"] => Some(match (PaymentId::parse(id), RefundRequest::from_json(body)) {
                (Some(payment), Ok(RefundRequest { amount, .. })) => Self::Refund { payment, amount },
                (None, _) | (_, Err(_)) => Self::Invalid,
            }),
            _ => None,
        }
    }

    /// The subject behind a record's words; nothing if they are not ours.
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

    /// The words for the record.
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
        // A plain struct of texts and numbers: serde_json has nothing to refuse in it.
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
        let payment = Subject::of_request("/payments", body).unwrap();
        assert_eq!(payment.to_text(), r#"{"account":"acct_1","amount":1200,"currency":"EUR"}"#);
        let path = format!("/payments/{PAYMENT}/refunds");
        let part = Subject::of_request(&path, br#"{"amount":200}"#).unwrap();
        assert_eq!(part.to_text(), format!(r#"{{"payment":"{PAYMENT}","amount":200}}"#));
        let rest = Subject::of_request(&path, b"{}").unwrap();
        let invalid = Subject::of_request("/payments", b"{}").unwrap();
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
        assert!(Subject::of_request("/payments", body.as_bytes()).unwrap().to_text().len() <= 256);
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
        assert_eq!(Subject::of_request("/other", b"{}"), None);
    }

    #[test]
    fn a_request_that_is_not_valid_is_one_of_ours_all_the_same() {
        for (path, body) in [
            ("/payments", "not JSON"),
            ("/payments", r#"{"account":"acct_1","amount":0,"currency":"EUR","payment_method":"pm_card_visa"}"#),
            ("/payments/none/refunds", "{}"),
            (&format!("/payments/{PAYMENT}/refunds"), r#"{"amount":-1}"#),
        ] {
            assert_eq!(Subject::of_request(path, body.as_bytes()), Some(Subject::Invalid), "{path} {body}");
        }
    }
}
