use std::{sync::LazyLock, time::Duration};

use idempotency::Operation;
use idempotency::protocol;
use idempotency::reconcile::Operations;

use crate::Subject;

/// The namespace of the API clients' idempotency keys. Part of each record's id: never change it while records exist.
pub const NAMESPACE: &str = "payments";

/// The operation of a payment, and its route.
pub const PAY: &str = "POST /payments";
/// The operation of a refund, and its route.
pub const REFUND: &str = "POST /payments/{id}/refunds";

/// How long a payment or a refund may take, most of which is the provider's time to answer, and how long a
/// reconciliation may. A slower one ends as an unknown outcome, which the next retry reconciles.
///
/// A sandbox that dies holds its key for this time and the engine's margin, together 7 s: less than the 10 s for which
/// the most impatient of the usual HTTP clients waits in all.
const RUN_WITHIN: Duration = Duration::from_secs(5);

/// The operations of this application whose outcome the provider knows. The API, the reconciler and the console all use
/// this list.
///
/// A record of any other operation, or one whose subject is not a [`Subject`], belongs to another application and is
/// never touched, whatever its state.
pub fn operations() -> &'static Operations {
    static OPERATIONS: LazyLock<Operations> = LazyLock::new(|| {
        Operations::new()
            .with(Operation::new(NAMESPACE, PAY).run_within(RUN_WITHIN), is_payment)
            .with(Operation::new(NAMESPACE, REFUND).run_within(RUN_WITHIN), is_refund)
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
    use idempotency::protocol::Record;

    use super::*;

    const PAYMENT: &str = r#"{"account":"acct_1","amount":1200,"currency":"EUR"}"#;
    const GIVEN_BACK: &str = r#"{"payment":"pay_01935b4a7c0070008000000000000001","amount":200}"#;
    const INVALID: &str = r#"{"valid":false}"#;

    fn is_ours(operation: &str, subject: Option<&str>) -> bool {
        let record = Record {
            operation: operation.into(),
            subject: subject.map(|text| protocol::Subject::new(text).unwrap()),
            ..Record::sample()
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
