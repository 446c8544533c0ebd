//! The writes and the answer of every successful payment or refund, whether the request itself, a reconciler or an
//! operator settles it; and the writes of a ledger message.

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use lambda_http::{Body, Response};

use crate::{Payment, Posting, Refund, Table, reply};

/// Adds the writes of a payment to the attempt that settles it, and returns the answer.
pub fn record_payment(table: &Table, payment: &Payment, attempt: &Attempt<TransactWriteItem>) -> Response<Body> {
    table
        .created(payment, attempt.record_id(), attempt.trace())
        .into_iter()
        .for_each(|write| attempt.add_effect(write));
    reply::payment(payment)
}

/// Adds the writes of a refund of this payment to the attempt that settles it, and returns the answer.
pub fn record_refund(
    table: &Table,
    payment: &Payment,
    refund: &Refund,
    attempt: &Attempt<TransactWriteItem>,
) -> Response<Body> {
    table
        .refunded(payment, refund, attempt.record_id(), attempt.trace())
        .into_iter()
        .for_each(|write| attempt.add_effect(write));
    reply::refund(payment, refund)
}

/// Adds the writes of a posting to the attempt that settles its message. The customer's entry is the first: if it
/// already exists, it shows whether the event was posted before, whatever the state of the message's record.
pub fn record_posting(table: &Table, posting: &Posting, attempt: &Attempt<TransactWriteItem>) {
    let mut writes = table.posted(posting).into_iter();
    if let Some(customer) = writes.next() {
        let posting = posting.clone();
        attempt.add_guarded_effect(customer, move |found| Table::refused_posting(&posting, found));
    }
    attempt.add_effects(writes);
}
