//! What every successful payment or refund writes and answers, whether the request itself, a reconciler or an operator
//! settles it.

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use lambda_http::{Body, Response};

use crate::{Payment, Refund, Table, reply};

/// Adds the writes of a payment to the attempt that settles it, and returns the answer.
pub fn record_payment(table: &Table, payment: &Payment, attempt: &Attempt<TransactWriteItem>) -> Response<Body> {
    table.created(payment, attempt.trace()).into_iter().for_each(|write| attempt.add_effect(write));
    reply::payment(payment)
}

/// Adds the writes of a refund of this payment to the attempt that settles it, and returns the answer.
pub fn record_refund(
    table: &Table,
    payment: &Payment,
    refund: &Refund,
    attempt: &Attempt<TransactWriteItem>,
) -> Response<Body> {
    table.refunded(payment, refund, attempt.trace()).into_iter().for_each(|write| attempt.add_effect(write));
    reply::refund(payment, refund)
}
