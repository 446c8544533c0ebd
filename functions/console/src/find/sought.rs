use idempotency::protocol::{Key, Principal, RecordId, TransactionId};
use payments::{AccountId, NAMESPACE, PaymentId, RefundId};
use uuid::Uuid;

use super::Question;
use crate::record::id_of;

/// The kinds of ids that a searched text may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// The record of a client's key.
    Key(RecordId),
    Record(RecordId),
    /// The beginning of a record's id, as older log lines have it.
    Digest(String),
    Payment(PaymentId),
    Refund(RefundId),
    /// The provider's id of a charge.
    Intent(String),
    Transaction(TransactionId),
    Account(AccountId),
}

impl Sought {
    /// Everything that the text may be; an error if it can be nothing.
    pub(super) fn of(question: &Question) -> Result<Vec<Self>, String> {
        let [text, principal, key] = [&question.text, &question.principal, &question.key].map(|text| text.trim());
        match (principal.is_empty(), key.is_empty(), text.split_once(char::is_whitespace)) {
            (true, true, Some((principal, key))) => Self::key(principal, key).map(|key| vec![key]),
            (true, true, None) => match Self::of_id(text) {
                sought if sought.is_empty() => Err("This is not an id that can be found here.".to_owned()),
                sought => Ok(sought),
            },
            (false, false, _) => Self::key(principal, key).map(|key| vec![key]),
            (true, false, _) | (false, true, _) => Err("A key is found together with its principal.".to_owned()),
        }
    }

    /// A client may send its key with quotation marks or without.
    fn key(principal: &str, key: &str) -> Result<Self, String> {
        let key = key.trim();
        let key = key.strip_prefix('"').and_then(|key| key.strip_suffix('"')).unwrap_or(key);
        let key = Key::new(key).map_err(|error| format!("The key is invalid: {error}."))?;
        let principal = Principal::new(principal).map_err(|error| format!("The principal is invalid: {error}."))?;
        Ok(Self::Key(RecordId::new(NAMESPACE, &principal, &key)))
    }

    fn of_id(text: &str) -> Vec<Self> {
        let lower = text.to_ascii_lowercase();
        if let Some(payment) = PaymentId::parse(&lower) {
            return vec![Self::Payment(payment)];
        }
        if let Some(refund) = RefundId::parse(&lower) {
            return vec![Self::Refund(refund)];
        }
        // An account may have the form of either.
        let account = AccountId::parse(text).map(Self::Account);
        if let Ok(id) = Uuid::try_parse(text) {
            let transaction = Self::Transaction(TransactionId::from_bytes(id.into_bytes()));
            return [Some(transaction), account].into_iter().flatten().collect();
        }
        let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'));
        if text.starts_with("pi_") && text.len() <= 255 && is_word(text) {
            return [Some(Self::Intent(text.to_owned())), account].into_iter().flatten().collect();
        }
        let record = id_of(text.strip_prefix(RecordId::PREFIX).unwrap_or(text)).map(Self::Record);
        let digest = (text.len() == 12 && is_word(text)).then(|| Self::Digest(text.to_owned()));
        [record, digest, account].into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<Vec<Sought>, String> {
        Sought::of(&Question { text: text.to_owned(), ..Question::default() })
    }

    #[test]
    fn a_text_is_taken_for_what_it_can_be() {
        let transaction = TransactionId::from_bytes([7; 16]);
        let hexadecimal = "07".repeat(16);
        let digest = "XJ568vhlfrkA";
        let id = format!("{digest}qgiJ1lwG7cAu3HbJ9O4MwOwbEoomGgU");
        let record = Sought::Record(RecordId::from_stored(format!("idempotency:{id}")));
        let account = |text: &str| Sought::Account(AccountId::parse(text).unwrap());
        for (text, expected) in [
            (&*format!("pay_{hexadecimal}"), vec![Sought::Payment(PaymentId::of(transaction))]),
            (&format!(" ref_{hexadecimal}\n"), vec![Sought::Refund(RefundId::of(transaction))]),
            (
                &transaction.to_string().to_uppercase(),
                vec![Sought::Transaction(transaction), account(&transaction.to_string().to_uppercase())],
            ),
            (&hexadecimal, vec![Sought::Transaction(transaction), account(&hexadecimal)]),
            ("pi_3Nabc", vec![Sought::Intent("pi_3Nabc".to_owned()), account("pi_3Nabc")]),
            (&id, vec![record.clone(), account(&id)]),
            (&format!("idempotency:{id}"), vec![record]),
            (digest, vec![Sought::Digest(digest.to_owned()), account(digest)]),
            ("acct-1", vec![account("acct-1")]),
        ] {
            assert_eq!(of(text).as_ref(), Ok(&expected), "{text}");
        }
        for nothing in ["", "  ", "pi_../x", "a/b", "<script>", &"x".repeat(65)] {
            assert!(of(nothing).is_err(), "{nothing}");
        }
    }

    #[test]
    fn a_key_is_sought_with_its_principal_with_quotation_marks_or_without() {
        let key = |principal: &str, key: &str| {
            let (principal, key) = (Principal::new(principal).unwrap(), Key::new(key).unwrap());
            Ok(vec![Sought::Key(RecordId::new("payments", &principal, &key))])
        };
        assert_eq!(of("ann order-17"), key("ann", "order-17"));
        assert_eq!(of("auth0|5f7c  \"order 17\""), key("auth0|5f7c", "order 17"));
        let fields = |principal: &str, key: &str| {
            let (principal, key) = (principal.to_owned(), key.to_owned());
            Sought::of(&Question { text: String::new(), principal, key })
        };
        assert_eq!(fields("ann and bob", "order-17"), key("ann and bob", "order-17"));
        assert!(fields("", "order-17").is_err() && fields("ann", "").is_err());
        assert!(of("ann undefined").is_err(), "that is no key");
    }
}
