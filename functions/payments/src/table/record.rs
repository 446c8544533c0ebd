//! The items of payments, refunds, events and the ledger, and how they are read.

use std::fmt;

use idempotency::protocol::{PrincipalDigest, RecordId, Trace};

use super::{
    TableError,
    item::{Attributes, Item, any, number, optional_text, text},
    key::Key,
};
use crate::{
    AccountId, Amount, Balance, Currency, Entry, Event, LedgerEntry, Money, Opening, Origin, Payment, PaymentId,
    Posting, Reason, Reference, Refund, RefundId,
};

/// How long an event stays in the table, in seconds: a week. It is delivered within the day for which the stream keeps
/// it; after that it is kept for operators.
const EVENT_RETENTION: u64 = 7 * 24 * 60 * 60;

/// The payment or terminal of a balance's first posting.
pub(super) const OPENED_BY: &str = "opened_by";

/// How many of a balance's entries were posted since [`OPENED_BY`] is recorded.
pub(super) const NOTED: &str = "noted";

/// The record of the request that made a payment or a refund.
const RECORD: &str = "record";

/// The item of a payment. `record` is the id of the request's record, by which operators find the record while it
/// exists.
pub(super) fn payment(payment: &Payment, record: Option<&RecordId>) -> Attributes {
    let Payment { id, owner, account, money, payment_method: _, reference, intent, refunded, created } = payment;
    Item::new(Key::payment(*id), "payment")
        .text("payment", id)
        .text("owner", owner)
        .text("account", account)
        .number("amount", money.amount)
        .text("currency", money.currency)
        .text("payment_method", payment.payment_method_text())
        .optional_text("reference", reference.as_ref())
        .text("status", "succeeded")
        .text("intent", intent)
        .number("refunded", refunded)
        .number("created", created)
        .optional_text(RECORD, record.map(RecordId::as_str).as_ref())
        .attributes()
}

pub(super) fn read_payment(item: &Attributes) -> Result<Payment, TableError> {
    Ok(Payment {
        id: text(item, "payment", PaymentId::parse)?,
        owner: text(item, "owner", digest)?,
        account: text(item, "account", AccountId::parse)?,
        money: read_money(item)?,
        payment_method: text(item, "payment_method", Payment::read_payment_method)?,
        reference: optional_text(item, "reference", Reference::parse)?,
        intent: text(item, "intent", |text| Some(text.to_owned()))?,
        refunded: number(item, "refunded")?,
        created: number(item, "created")?,
    })
}

/// The item of a refund, with `record` as in [`payment`].
pub(super) fn refund(refund: &Refund, record: Option<&RecordId>) -> Attributes {
    let Refund { id, payment, money, reason, reversal, created } = refund;
    Item::new(Key::refund(refund), "refund")
        .text("refund", id)
        .text("payment", payment)
        .number("amount", money.amount)
        .text("currency", money.currency)
        .optional_text("reason", reason.as_ref())
        .text("status", "succeeded")
        .text("reversal", reversal)
        .number("created", created)
        .optional_text(RECORD, record.map(RecordId::as_str).as_ref())
        .attributes()
}

pub(super) fn read_refund(item: &Attributes) -> Result<Refund, TableError> {
    Ok(Refund {
        id: text(item, "refund", RefundId::parse)?,
        payment: text(item, "payment", PaymentId::parse)?,
        money: read_money(item)?,
        reason: optional_text(item, "reason", Reason::parse)?,
        reversal: text(item, "reversal", any)?,
        created: number(item, "created")?,
    })
}

/// The record that a payment or refund names. An older version did not write it.
pub(super) fn read_record(item: &Attributes) -> Result<Option<RecordId>, TableError> {
    optional_text(item, RECORD, |text| Some(RecordId::from_stored(text.to_owned())))
}

fn read_money(item: &Attributes) -> Result<Money, TableError> {
    Ok(Money {
        amount: Amount::new(number(item, "amount")?).ok_or(TableError::Malformed("amount"))?,
        currency: text(item, "currency", Currency::from_code)?,
    })
}

/// The pipe's template names these attributes; see the `Outbox` resource.
pub(super) fn event(event: &Event, trace: Option<Trace>, created: u64) -> Attributes {
    let Event { id, kind, payment, account, money } = event;
    Item::new(Key::event(*payment, *id), "event")
        .text("type", kind)
        .text("event", id)
        .text("payment", payment)
        .text("account", account)
        .number("amount", money.amount)
        .text("currency", money.currency)
        // Always present: how a pipe treats a missing attribute is not documented.
        .text(Trace::NAME, trace.map(|trace| trace.to_string()).unwrap_or_default())
        .number("expiration", created / 1000 + EVENT_RETENTION)
        .attributes()
}

pub(super) fn customer_entry(posting: &Posting) -> Attributes {
    entry(posting, &posting.customer)
}

pub(super) fn clearing_entry(posting: &Posting) -> Attributes {
    entry(posting, &posting.clearing)
}

fn entry<A: fmt::Display>(posting: &Posting, entry: &Entry<A>) -> Attributes {
    let item = Item::new(Key::entry(&entry.account, posting.event), "entry")
        .text("type", posting.origin.kind())
        .text("event", posting.event);
    let item = match &posting.origin {
        Origin::Payment { payment, .. } => item.text("payment", payment),
        Origin::Sale(sale) => item.text("terminal", &sale.terminal).number("sequence", sale.sequence),
    };
    item.text("account", &entry.account).number("amount", entry.amount).text("currency", posting.currency).attributes()
}

pub(super) fn read_entry(item: &Attributes) -> Result<LedgerEntry, TableError> {
    Ok(LedgerEntry {
        account: text(item, "account", |text| Some(text.to_owned()))?,
        amount: number(item, "amount")?,
        currency: text(item, "currency", Currency::from_code)?,
    })
}

/// The owner of an account, and the payment that made them its owner.
pub(super) fn owner(account: &AccountId, owner: &PrincipalDigest, payment: PaymentId) -> Attributes {
    Item::new(Key::owner(account), "owner")
        .text("account", account)
        .text("owner", owner)
        .text("payment", payment)
        .attributes()
}

pub(super) fn read_owner(item: &Attributes) -> Result<PrincipalDigest, TableError> {
    text(item, "owner", digest)
}

/// Reads a principal's digest: 64 hexadecimal digits in lower case.
fn digest(text: &str) -> Option<PrincipalDigest> {
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * index..2 * index + 2)?, 16).ok()?;
    }
    let digest = PrincipalDigest(digest);
    (digest.to_string() == text).then_some(digest)
}

/// The origin of a balance. An older version did not record it, and its entries are not counted in `noted`; then
/// `opened_by` may name a later posting.
pub(super) fn read_opening(item: &Attributes) -> Result<Opening, TableError> {
    let (Some(opened_by), Some(_)) = (item.get(OPENED_BY), item.get(NOTED)) else { return Ok(Opening::Other) };
    let (noted, entries): (u64, u64) = (number(item, NOTED)?, number(item, "entries")?);
    let payment = opened_by.as_s().ok().and_then(|text| PaymentId::parse(text));
    Ok(match payment.filter(|_| noted == entries) {
        Some(payment) => Opening::Payment(payment),
        None => Opening::Other,
    })
}

pub(super) fn read_balance(item: &Attributes) -> Result<Balance, TableError> {
    Ok(Balance {
        currency: text(item, "currency", Currency::from_code)?,
        balance: number(item, "balance")?,
        entries: number(item, "entries")?,
    })
}
