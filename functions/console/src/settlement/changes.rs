use idempotency::protocol::Record;
use payments::{Action, PaymentId, RefundId};

use crate::record::subject::SubjectSummary;

/// One thing that an action changes, for people.
pub(crate) struct Change {
    pub(crate) what: &'static str,
    pub(crate) before: String,
    pub(crate) after: String,
}

/// Everything that an action changes: the writes, and the answers to callers.
pub(crate) fn changes(action: &Action, record: &Record) -> Vec<Change> {
    let transaction = record.transaction;
    let subject = SubjectSummary::of(record).unwrap_or_default();
    let created = match subject.payment {
        Some(_) => format!("refund {}", RefundId::of(transaction)),
        None => format!("payment {}", PaymentId::of(transaction)),
    };
    let money = subject.money().map(|money| format!(" of {money}")).unwrap_or_default();
    let status = record.state.status().as_str().to_owned();
    let retry = "503 outcome-unknown, or the provider is asked".to_owned();
    let change = |what, before: &str, after: &str| Change { what, before: before.to_owned(), after: after.to_owned() };
    match action {
        Action::Succeed { reference, .. } => vec![
            change("Status", &status, "SUCCESS"),
            change("The client’s retry gets", &retry, &format!("201 with the {created}")),
            change(
                "Payments",
                "nothing for this transaction",
                &format!("{created}{money}, at the provider {reference}"),
            ),
            change("Ledger", "nothing for this transaction", "posted once, through the queue"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
        Action::Fail { .. } => vec![
            change("Status", &status, "FAILED"),
            change("The client’s retry gets", &retry, "422 settled-as-failed"),
            change("Payments", "nothing for this transaction", "nothing"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
        Action::Release => vec![
            change("Status", &status, "PROCESSING, released"),
            change("The client’s retry gets", &retry, "it runs again, and may charge"),
            change("Transaction id", &transaction.to_string(), "a new one, which the provider does not know"),
            change("Record is kept", "until it is settled", "for 24 hours"),
        ],
    }
}
