mod approval;
mod audit;
mod heartbeat;
mod item;
mod key;
mod made;
mod own;
mod postings;
mod preview;
mod proposal;
mod record;
mod write;

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    operation::query::builders::QueryFluentBuilder,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};

use idempotency::engine::EffectRefusal;
use idempotency::protocol::{PrincipalDigest, RecordId, Trace};
use uuid::Uuid;

pub use heartbeat::RAN;
pub use made::{Made, Refunds};
pub use postings::Posted;

use crate::{
    Account, AccountId, Balance, Clearing, Event, LedgerEntry, Opening, Payment, PaymentId, Posting, Refund, Sale,
    TerminalId,
};
use key::Key;

/// The Payments table: payments, refunds, the outbox and the ledger.
///
/// It executes reads itself. Writes are returned to the caller, who commits them in one transaction with the request's
/// record. Each write has its own condition, so that even without the record (expired, or restored from a backup of
/// another hour) nothing is created, refunded or posted twice: the transaction is refused as a whole, with the item
/// that broke the condition. Only operators' preparations are written directly: previews, requests for approval, and
/// audit entries of actions that change no record.
///
/// | what | `pk` | `sk` |
/// |---|---|---|
/// | payment | `payment#<payment>` | `payment` |
/// | refund | `payment#<payment>` | `refund#<refund>` |
/// | event of the outbox | `payment#<payment>` | `event#<event>` |
/// | account owner | `owner#<account>` | `owner` |
/// | balance | `account#<account>` | `balance#<currency>` |
/// | entry | `account#<account>` | `entry#<event>` |
/// | clearing entry; a sale's has a digest of the sale | `account#provider:clearing#<part>` | `entry#<event>` |
/// | audit entry | `audit` | `<epoch ms>#<entry>` |
/// | preview | `preview#<token>` | `preview` |
/// | approval | `approvals` | `<approval>` |
/// | checkpoint of the reconciler, which writes it itself | `reconciler` | `reconciler` |
/// | highest sequence number of a terminal | `terminal#<terminal>` | `sequence` |
///
/// Two postings can contend only for the customer's balance in one currency, and for the terminal's sequence number.
/// The balance is moved by a relative update, which needs no read and never loses to another; it is never alone, so it
/// cannot be applied twice.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// A read or a write failed.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table could not be read.
    #[error("the payments table could not be read")]
    Read(#[source] Box<aws_sdk_dynamodb::Error>),
    /// The write failed; whether it took effect is unknown.
    #[error("the payments table could not be written")]
    Write(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An attribute is missing or malformed.
    #[error("an item of the payments table cannot be read: {0}")]
    Malformed(&'static str),
}

impl Table {
    /// The table with this name. Timeouts and retries are the client's.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// The name of the table.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the item with a terminal's highest sequence number. Its content and its conditions belong to the
    /// sequence gate.
    pub fn terminal(terminal: &TerminalId) -> HashMap<String, AttributeValue> {
        Key::terminal(terminal).into()
    }

    /// The current payment (a consistent read). The caller decides by [`Payment::owner`] who may see it.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn payment(&self, id: PaymentId) -> Result<Option<Payment>, TableError> {
        let key = Key::payment(id);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(record::read_payment).transpose()
    }

    /// The items of a partition whose sort keys begin so (consistent reads).
    fn below(&self, (partition, prefix): (String, String)) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :partition AND begins_with(sk, :prefix)")
            .expression_attribute_values(":partition", AttributeValue::S(partition))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix))
            .consistent_read(true)
    }

    /// The current account (a consistent read); `None` before anything was posted to it. The caller decides by
    /// [`Table::owner`] and [`Table::appoint`] who may see it.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item is malformed.
    pub async fn account(&self, account: &AccountId) -> Result<Option<Account>, TableError> {
        let mut pages = self.below(Key::balances(account)).into_paginator().items().send();
        let (mut balances, mut openings): (Vec<Balance>, Vec<Opening>) = (Vec::new(), Vec::new());
        while let Some(item) = pages.next().await {
            let item = item.map_err(failed)?;
            balances.push(record::read_balance(&item)?);
            openings.push(record::read_opening(&item)?);
        }
        if balances.is_empty() {
            return Ok(None);
        }
        balances.sort_by_key(|balance| balance.currency.code());
        Ok(Some(Account { account: account.clone(), balances, opened_by: Opening::of_account(&openings) }))
    }

    /// The owner of an account (a consistent read); `None` if it has none, or if its owner was never asked for.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn owner(&self, account: &AccountId) -> Result<Option<PrincipalDigest>, TableError> {
        let key = Key::owner(account);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(record::read_owner).transpose()
    }

    /// Appoints the owner of an account that has none: the principal of the payment that opened it. `None` if no
    /// payment opened it.
    ///
    /// This happens at the first request for the account, so that payments need no extra write; and once, by an item
    /// that never changes. Two concurrent requests both get what the first one wrote, and an earlier payment that is
    /// posted later does not change the owner.
    ///
    /// # Errors
    ///
    /// When the table cannot be read or written, or an item is malformed.
    pub async fn appoint(&self, account: &Account) -> Result<Option<PrincipalDigest>, TableError> {
        let Some(opener) = account.opened_by else { return Ok(None) };
        let payment = self.payment(opener).await?.filter(|payment| payment.account == account.account);
        let Some(Payment { owner, .. }) = payment else { return Ok(None) };
        let put = self
            .client
            .put_item()
            .table_name(&self.name)
            .set_item(Some(record::owner(&account.account, &owner, opener)))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let Err(error) = put.send().await else { return Ok(Some(owner)) };
        match aws_sdk_dynamodb::Error::from(error) {
            // Written by another request, or by this one, whose reply was lost.
            aws_sdk_dynamodb::Error::ConditionalCheckFailedException(refused) => {
                refused.item().map(record::read_owner).transpose()
            }
            other => Err(TableError::Write(Box::new(other))),
        }
    }

    /// The ledger entries of an event (consistent reads): the customer's and the clearing entry, or none before it is
    /// posted.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item is malformed.
    pub async fn entries(&self, account: &AccountId, event: Uuid) -> Result<Vec<LedgerEntry>, TableError> {
        let mut entries = Vec::new();
        for key in [Key::entry(account, event), Key::entry(&Clearing::of(event), event)] {
            let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
            let item = read.send().await.map_err(failed)?.item;
            entries.extend(item.as_ref().map(record::read_entry).transpose()?);
        }
        Ok(entries)
    }

    /// The writes of a payment: the payment and its event, both of which must be new. The payment names the request's
    /// record, and the event carries its trace.
    pub fn created(
        &self,
        payment: &Payment,
        record: Option<&RecordId>,
        trace: Option<Trace>,
    ) -> Vec<TransactWriteItem> {
        let event = Event::succeeded(payment);
        vec![
            write::insert(&self.name, record::payment(payment, record)),
            write::insert(&self.name, record::event(&event, trace, payment.created)),
        ]
    }

    /// The writes of a refund: the payment's refunded sum, which may not exceed its amount, and the refund and its
    /// event, both of which must be new. The refund names the request's record, and the event carries its trace.
    pub fn refunded(
        &self,
        payment: &Payment,
        refund: &Refund,
        record: Option<&RecordId>,
        trace: Option<Trace>,
    ) -> Vec<TransactWriteItem> {
        let event = Event::refunded(payment, refund);
        vec![
            write::raise_refunded(&self.name, payment, refund),
            write::insert(&self.name, record::refund(refund, record)),
            write::insert(&self.name, record::event(&event, trace, refund.created)),
        ]
    }

    /// A terminal's sale: its clearing entry, which the sequence gate writes, and the other writes.
    pub(crate) fn sold(&self, sale: &Sale) -> (HashMap<String, AttributeValue>, Vec<TransactWriteItem>) {
        let posting = Posting::of_sale(sale);
        let writes = vec![
            write::insert(&self.name, record::customer_entry(&posting)),
            write::move_balance(&self.name, &posting),
        ];
        (record::clearing_entry(&posting), writes)
    }

    /// The writes of a posting: its two entries, both of which must be new, and the customer's balance, which must stay
    /// within [`Balance::LIMIT`].
    pub fn posted(&self, posting: &Posting) -> Vec<TransactWriteItem> {
        vec![
            write::insert(&self.name, record::customer_entry(posting)),
            write::insert(&self.name, record::clearing_entry(posting)),
            write::move_balance(&self.name, posting),
        ]
    }

    /// The meaning of a customer's entry that already exists when a posting is written.
    pub(crate) fn refused_posting(posting: &Posting, found: Option<&HashMap<String, AttributeValue>>) -> EffectRefusal {
        match found {
            Some(found) if *found == record::customer_entry(posting) => EffectRefusal::AppliedBefore,
            Some(_) => EffectRefusal::Conflict,
            None => EffectRefusal::Unexpected,
        }
    }
}

fn failed(error: impl Into<aws_sdk_dynamodb::Error>) -> TableError {
    TableError::Read(Box::new(error.into()))
}

#[cfg(test)]
mod tests;
