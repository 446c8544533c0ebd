mod approval;
mod audit;
mod item;
mod key;
mod preview;
mod proposal;
mod record;
mod write;

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem},
};

use idempotency::protocol::{PrincipalDigest, Trace};
use uuid::Uuid;

use crate::{
    Account, AccountId, Balance, Clearing, Event, LedgerEntry, Opening, Payment, PaymentId, Posting, Refund, Sale,
    TerminalId,
};
use key::Key;

/// The Payments table: payments, refunds, the outbox and the ledger.
///
/// It reads by itself. What it writes it hands out, for the caller to commit in one transaction with the record that
/// remembers the request. Each of these writes has a condition of its own, so that even with the record gone (expired,
/// or restored from a backup of another hour) nothing is made, given back or posted twice: the transaction is refused
/// as a whole, and the item that was in the way comes back with the refusal. Only what operators prepare it writes by
/// itself: previews, requests for approval, and the audit's entries on what changes no record.
///
/// | what | `pk` | `sk` |
/// |---|---|---|
/// | payment | `payment#<payment>` | `payment` |
/// | refund | `payment#<payment>` | `refund#<refund>` |
/// | event of the outbox | `payment#<payment>` | `event#<event>` |
/// | owner of an account | `owner#<account>` | `owner` |
/// | balance | `account#<account>` | `balance#<currency>` |
/// | entry | `account#<account>` | `entry#<event>` |
/// | entry of the other side; of a sale it has a digest of what was sold | `account#provider:clearing#<part>` | `entry#<event>` |
/// | entry of the audit | `audit` | `<epoch ms>#<entry>` |
/// | preview of an operator's action | `preview#<token>` | `preview` |
/// | approval that an operator asks another for | `approvals` | `<approval>` |
/// | highest sequence number of a terminal | `terminal#<terminal>` | `sequence` |
///
/// The only items that two postings can contend for are the customer's own balance in one currency, and the number of
/// the terminal that sold. The balance is moved by a relative update, which needs no read before and cannot lose to
/// another; it never goes alone, so it cannot be applied twice.
#[derive(Clone, Debug)]
pub struct Table {
    client: Client,
    name: String,
}

/// A read or a write that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The table could not be read.
    #[error("the payments table could not be read")]
    Read(#[source] Box<aws_sdk_dynamodb::Error>),
    /// The table could not be written; whether it was is not known.
    #[error("the payments table could not be written")]
    Write(#[source] Box<aws_sdk_dynamodb::Error>),
    /// An attribute is missing, or not what this program writes there.
    #[error("an item of the payments table cannot be read: {0}")]
    Malformed(&'static str),
}

impl Table {
    /// The table of this name. Timeouts and repeats of reads are the client's.
    pub fn new(client: Client, name: impl Into<String>) -> Self {
        Self { client, name: name.into() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key of the item that holds the highest sequence number of a terminal. What it holds, and under which
    /// condition it moves, is the sequence gate's.
    pub fn terminal(terminal: &TerminalId) -> HashMap<String, AttributeValue> {
        Key::terminal(terminal).into()
    }

    /// The payment as it is now (a consistent read), or nothing when there is none. Whether the asker may see it is
    /// for the caller to decide, by [`Payment::owner`].
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item makes no sense.
    pub async fn payment(&self, id: PaymentId) -> Result<Option<Payment>, TableError> {
        let key = Key::payment(id);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(record::read_payment).transpose()
    }

    /// The account as it is now (a consistent read), or nothing before anything was posted to it. Whether the asker may
    /// see it is for the caller to decide, by [`Table::owner`] and [`Table::appoint`].
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item makes no sense.
    pub async fn account(&self, account: &AccountId) -> Result<Option<Account>, TableError> {
        let (partition, prefix) = Key::balances(account);
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :partition AND begins_with(sk, :prefix)")
            .expression_attribute_values(":partition", AttributeValue::S(partition))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
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

    /// Whose an account is (a consistent read); nothing if it is nobody's, or nobody has asked for it yet.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item makes no sense.
    pub async fn owner(&self, account: &AccountId) -> Result<Option<PrincipalDigest>, TableError> {
        let key = Key::owner(account);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item;
        item.as_ref().map(record::read_owner).transpose()
    }

    /// Says whose an account is that has no owner yet: who made the payment that opened it. Nothing if no payment did.
    ///
    /// This is done when somebody first asks for the account, so that no payment pays for it; and once, by an item that
    /// is never changed. Of two who ask at once, both get what the first one wrote, and a payment of an earlier hour
    /// that is posted later moves no account to somebody else.
    ///
    /// # Errors
    ///
    /// When the table cannot be read or written, or an item makes no sense.
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
            // By somebody else who asks, or by this request, whose reply was lost.
            aws_sdk_dynamodb::Error::ConditionalCheckFailedException(refused) => {
                refused.item().map(record::read_owner).transpose()
            }
            other => Err(TableError::Write(Box::new(other))),
        }
    }

    /// What was posted of an event (consistent reads): its entry in the customer's account and the one of the other
    /// side, or nothing as long as it was not posted.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item makes no sense.
    pub async fn entries(&self, account: &AccountId, event: Uuid) -> Result<Vec<LedgerEntry>, TableError> {
        let mut entries = Vec::new();
        for key in [Key::entry(account, event), Key::entry(&Clearing::of(event), event)] {
            let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
            let item = read.send().await.map_err(failed)?.item;
            entries.extend(item.as_ref().map(record::read_entry).transpose()?);
        }
        Ok(entries)
    }

    /// The writes of a payment: itself and its event, neither of which may be there. The event carries the trace of the
    /// request that made the payment.
    pub fn created(&self, payment: &Payment, trace: Option<Trace>) -> Vec<TransactWriteItem> {
        let event = Event::succeeded(payment);
        vec![
            write::insert(&self.name, record::payment(payment)),
            write::insert(&self.name, record::event(&event, trace, payment.created)),
        ]
    }

    /// The writes of a refund: the payment's refunded sum, which may not rise above its amount, and the refund and its
    /// event, neither of which may be there. The event carries the trace of the request that made the refund.
    pub fn refunded(&self, payment: &Payment, refund: &Refund, trace: Option<Trace>) -> Vec<TransactWriteItem> {
        let event = Event::refunded(payment, refund);
        vec![
            write::raise_refunded(&self.name, payment, refund),
            write::insert(&self.name, record::refund(refund)),
            write::insert(&self.name, record::event(&event, trace, refund.created)),
        ]
    }

    /// The writes of a terminal's sale but for its entry of the other side, and that: it is the sequence gate's to write.
    pub(crate) fn sold(&self, sale: &Sale) -> (HashMap<String, AttributeValue>, Vec<TransactWriteItem>) {
        let posting = Posting::of_sale(sale);
        let writes = vec![
            write::insert(&self.name, record::customer_entry(&posting)),
            write::move_balance(&self.name, &posting),
        ];
        (record::clearing_entry(&posting), writes)
    }

    /// The writes of a posting: its two entries, neither of which may be there, and the customer's balance, which may
    /// not leave [`Balance::LIMIT`].
    pub fn posted(&self, posting: &Posting) -> Vec<TransactWriteItem> {
        vec![
            write::insert(&self.name, record::customer_entry(posting)),
            write::insert(&self.name, record::clearing_entry(posting)),
            write::move_balance(&self.name, posting),
        ]
    }
}

fn failed(error: impl Into<aws_sdk_dynamodb::Error>) -> TableError {
    TableError::Read(Box::new(error.into()))
}

#[cfg(test)]
mod tests;
