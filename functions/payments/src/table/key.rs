use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::{AccountId, Currency, PaymentId, Refund, RefundId, TerminalId};

/// The key of an item. Every key of the table is made here.
///
/// The parts are unambiguous: no id, account or currency has a `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    partition: String,
    sort: String,
}

impl Key {
    pub(super) fn payment(id: PaymentId) -> Self {
        Self::new(Self::of_payment(id), "payment")
    }

    pub(super) fn refund(refund: &Refund) -> Self {
        Self::refund_of(refund.payment, refund.id)
    }

    pub(super) fn refund_of(payment: PaymentId, id: RefundId) -> Self {
        let (partition, prefix) = Self::refunds(payment);
        Self::new(partition, format!("{prefix}{id}"))
    }

    /// The partition of a payment and the prefix of its refunds. Their ids begin with a time, so that they sort by it.
    pub(super) fn refunds(payment: PaymentId) -> (String, String) {
        (Self::of_payment(payment), "refund#".to_owned())
    }

    pub(super) fn event(payment: PaymentId, event: Uuid) -> Self {
        Self::new(Self::of_payment(payment), format!("event#{event}"))
    }

    pub(super) fn balance(account: &AccountId, currency: Currency) -> Self {
        let (partition, prefix) = Self::balances(account);
        Self::new(partition, format!("{prefix}{currency}"))
    }

    /// The partition of an account and the prefix of its balances.
    pub(super) fn balances(account: &AccountId) -> (String, String) {
        (Self::of_account(account), "balance#".to_owned())
    }

    /// The partition of an account and the prefix of its entries.
    pub(super) fn entries(account: &AccountId) -> (String, String) {
        (Self::of_account(account), Self::ENTRY.to_owned())
    }

    /// The owner of an account. It has a separate partition because IAM permissions are per partition: a role that may
    /// write owners may not post.
    pub(super) fn owner(account: &AccountId) -> Self {
        Self::new(format!("owner#{account}"), "owner")
    }

    /// The entry of an event in an account, the customer's or the clearing's.
    pub(super) fn entry(account: &impl fmt::Display, event: Uuid) -> Self {
        Self::new(Self::of_account(account), format!("{}{event}", Self::ENTRY))
    }

    const ENTRY: &str = "entry#";

    /// Whether a partition has items that operators write: audit entries, previews and approvals.
    pub(super) fn is_of_operators(partition: &str) -> bool {
        partition == Self::AUDIT || partition == Self::APPROVALS || partition.starts_with(Self::PREVIEW)
    }

    /// The partition of the audit.
    pub(super) const AUDIT: &str = "audit";

    /// The entry of the audit that has this id. Thirteen digits of milliseconds, so that entries sort by time.
    pub(super) fn audit(at: u64, id: Uuid) -> Self {
        Self::new(Self::AUDIT.to_owned(), format!("{}{}", Self::audit_from(at), id.simple()))
    }

    /// Sorts before every entry of this time.
    pub(super) fn audit_from(at: u64) -> String {
        format!("{at:013}#")
    }

    /// Time and id from the sort key of an entry.
    pub(super) fn read_audit(sort: &str) -> Option<(u64, Uuid)> {
        let (at, id) = sort.split_once('#')?;
        Some((at.parse().ok()?, Uuid::try_parse(id).ok()?))
    }

    pub(super) fn preview(token: Uuid) -> Self {
        Self::new(format!("{}{}", Self::PREVIEW, token.simple()), "preview")
    }

    const PREVIEW: &str = "preview#";

    /// The partition of approvals.
    pub(super) const APPROVALS: &str = "approvals";

    /// Ids are UUIDv7, so that approvals sort by time.
    pub(super) fn approval(id: Uuid) -> Self {
        Self::new(Self::APPROVALS.to_owned(), id.simple().to_string())
    }

    /// Sorts before every approval since this time, in epoch milliseconds: the first 48 bits of an id are its time.
    pub(super) fn approvals_from(at: u64) -> String {
        format!("{at:012x}")
    }

    /// The checkpoint of the reconciler, which also makes this key.
    pub(super) fn checkpoint() -> Self {
        Self::new("reconciler".to_owned(), "reconciler")
    }

    /// The highest sequence number of a terminal.
    pub(super) fn terminal(terminal: &TerminalId) -> Self {
        Self::new(format!("terminal#{terminal}"), "sequence")
    }

    fn of_payment(id: PaymentId) -> String {
        format!("payment#{id}")
    }

    fn of_account(account: &impl fmt::Display) -> String {
        format!("account#{account}")
    }

    fn new(partition: String, sort: impl Into<String>) -> Self {
        Self { partition, sort: sort.into() }
    }
}

impl From<Key> for HashMap<String, AttributeValue> {
    fn from(key: Key) -> Self {
        Self::from([
            ("pk".to_owned(), AttributeValue::S(key.partition)),
            ("sk".to_owned(), AttributeValue::S(key.sort)),
        ])
    }
}
