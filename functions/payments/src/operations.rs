use std::sync::LazyLock;

use idempotency::Operation;
use idempotency::protocol;
use idempotency::reconcile::Operations;

use crate::Subject;

/// In which the keys of the API's clients are chosen. Part of each record's id: never change it while records live.
pub const NAMESPACE: &str = "payments";

/// The operation of a payment, and its route.
pub const PAY: &str = "POST /payments";
/// The operation of a refund, and its route.
pub const REFUND: &str = "POST /payments/{id}/refunds";

/// The operations of this application whose outcome the provider knows: whoever reconciles them, settles them by hand
/// or protects them takes them from here.
///
/// A record of any other name, or one that does not say what it is about in the words of [`Subject`], is another
/// application's, and none of our business, whatever state it is in.
pub fn operations() -> &'static Operations {
    static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| {
        Operations::new()
            .with(Operation::new(NAMESPACE, PAY), is_payment)
            .with(Operation::new(NAMESPACE, REFUND), is_refund)
    });
    &OPERATIONS
}

fn is_payment(subject: &protocol::Subject) -> bool {
    match Subject::parse(subject.as_str()) {
        Some(Subject::Payment { .. } | Subject::Invalid) => true,
        Some(Subject::Refund { .. }) | None => false,
    }
}

fn is_refund(subject: &protocol::Subject) -> bool {
    match Subject::parse(subject.as_str()) {
        Some(Subject::Refund { .. } | Subject::Invalid) => true,
        Some(Subject::Payment { .. }) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{
        EpochMs, Fingerprinter, History, Key, Principal, Record, RecordId, State, TransactionId,
    };

    use super::*;

    const PAYMENT: &str = r#"{"account":"acct_1","amount":1200,"currency":"EUR"}"#;
    const GIVEN_BACK: &str = r#"{"payment":"pay_01935b4a7c0070008000000000000001","amount":200}"#;
    const INVALID: &str = r#"{"valid":false}"#;

    fn is_ours(operation: &str, subject: Option<&str>) -> bool {
        let record = Record {
            id: RecordId::new(NAMESPACE, &Principal::new("p").unwrap(), &Key::new("k").unwrap()),
            operation: operation.into(),
            fingerprint: Fingerprinter::new().finish(),
            transaction: TransactionId::new(EpochMs(1), [0; 10]),
            attempt: 1,
            created: EpochMs(1),
            updated: EpochMs(2),
            trace: None,
            principal: None,
            subject: subject.map(|text| protocol::Subject::new(text).unwrap()),
            ended_by: None,
            history: History::default(),
            state: State::Unknown(None),
        };
        operations().of(&record).is_some_and(|found| found.name() == operation)
    }

    #[test]
    fn a_record_is_ours_by_its_operation_and_its_subject_together() {
        for (operation, subject) in [(PAY, PAYMENT), (PAY, INVALID), (REFUND, GIVEN_BACK), (REFUND, INVALID)] {
            assert!(is_ours(operation, Some(subject)), "{operation} {subject}");
        }
        for (operation, subject) in [
            (PAY, None),
            (REFUND, None),
            (PAY, Some(GIVEN_BACK)),
            (REFUND, Some(PAYMENT)),
            (PAY, Some(r#"{"order":"17"}"#)),
            ("POST /orders", None),
            ("POST /orders", Some(PAYMENT)),
            ("post to the ledger", Some(PAYMENT)),
            ("lock reconciler", None),
        ] {
            assert!(!is_ours(operation, subject), "{operation} {subject:?}");
        }
    }
}
