use serde::{Deserialize, Serialize};

use crate::{AccountId, Amount, Currency, Money, PaymentId, PaymentRequest, RefundRequest};

/// What a request is about, as its record says it from the claim on: enough to look for its outcome when the request
/// itself is gone, and to tell an operator how much is at stake.
///
/// Written as compact JSON: `{"account":"acct_1","amount":1200,"currency":"EUR"}` of a payment,
/// `{"payment":"pay_…","amount":200}` of a refund, without `amount` if all that is left is given back.
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
}

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amount: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
}

impl Subject {
    /// What a request of the API is about, by its path and body; nothing if it is no valid one.
    pub fn of_request(path: &str, body: &[u8]) -> Option<Self> {
        match path.trim_matches('/').split('/').collect::<Vec<_>>().as_slice() {
            ["payments"] => {
                let PaymentRequest { account, money, .. } = PaymentRequest::from_json(body).ok()?;
                Some(Self::Payment { account, money })
            }
            ["payments", id, "refunds"] => {
                let amount = RefundRequest::from_json(body).ok()?.amount;
                Some(Self::Refund { payment: PaymentId::parse(id)?, amount })
            }
            _ => None,
        }
    }

    /// The subject behind a record's words; nothing if they are not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let Stored { account, payment, amount, currency } = serde_json::from_str(text).ok()?;
        let amount = amount.map(Amount::new);
        match (account, payment, currency) {
            (Some(account), None, Some(currency)) => Some(Self::Payment {
                account: AccountId::parse(&account)?,
                money: Money { amount: amount??, currency: Currency::from_code(&currency)? },
            }),
            (None, Some(payment), None) => Some(Self::Refund {
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
                payment: None,
                amount: Some(money.amount.get()),
                currency: Some(money.currency.to_string()),
            },
            Self::Refund { payment, amount } => Stored {
                account: None,
                payment: Some(payment.to_string()),
                amount: amount.map(Amount::get),
                currency: None,
            },
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
        for subject in [payment, part, rest] {
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
        for text in ["", "{}", "null", r#"{"account":"a b","amount":1,"currency":"EUR"}"#, r#"{"payment":"x"}"#] {
            assert_eq!(Subject::parse(text), None, "{text}");
        }
        assert_eq!(Subject::of_request("/payments", b"{}"), None);
        assert_eq!(Subject::of_request("/other", b"{}"), None);
    }
}
