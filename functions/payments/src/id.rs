use std::fmt;

use idempotency::protocol::TransactionId;
use serde::{Serialize, Serializer};
use uuid::Uuid;

/// An id type: its prefix and the 32 hexadecimal digits of the transaction id.
macro_rules! id {
    ($(#[$documentation:meta])* $name:ident, $prefix:literal) => {
        $(#[$documentation])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(TransactionId);

        impl $name {
            /// The id of what this transaction creates: always the same one.
            pub fn of(transaction: TransactionId) -> Self {
                Self(transaction)
            }

            /// Reads the spelling that `Display` writes, and no other.
            pub fn parse(text: &str) -> Option<Self> {
                let uuid = Uuid::try_parse(text.strip_prefix($prefix)?).ok()?;
                let id = Self(TransactionId::from_bytes(uuid.into_bytes()));
                (id.to_string() == text).then_some(id)
            }

            /// The transaction that created it.
            pub fn transaction(self) -> TransactionId {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.uuid().simple())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    };
}

id!(
    /// The id of a payment: `pay_` and the transaction id.
    PaymentId,
    "pay_"
);

id!(
    /// The id of a refund: `ref_` and the transaction id.
    RefundId,
    "ref_"
);

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction() -> TransactionId {
        TransactionId::from_bytes(Uuid::now_v7().into_bytes())
    }

    #[test]
    fn a_transaction_always_makes_the_same_id() {
        let transaction = transaction();
        let id = PaymentId::of(transaction);
        assert_eq!(id, PaymentId::of(transaction));
        assert_eq!(id.to_string(), format!("pay_{}", transaction.uuid().simple()));
        assert_eq!(PaymentId::parse(&id.to_string()), Some(id));
        assert_eq!(RefundId::of(transaction).to_string(), format!("ref_{}", transaction.uuid().simple()));
    }

    #[test]
    fn an_id_has_one_spelling() {
        let transaction = transaction();
        let text = PaymentId::of(transaction).to_string();
        let others = [
            text.to_uppercase(),
            format!("pay_{transaction}"),
            format!("pay_{}", transaction.uuid().simple().to_string().to_uppercase()),
            format!("pay_{{{transaction}}}"),
            format!("ref_{}", transaction.uuid().simple()),
            format!("{text} "),
            "pay_".into(),
            String::new(),
        ];
        for other in others {
            assert_eq!(PaymentId::parse(&other), None, "{other}");
        }
    }
}
