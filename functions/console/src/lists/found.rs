//! A payment and an account, with what belongs to them.

use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{Account, AccountId, LedgerEntry, Made, Payment, PaymentId, Posted, RefundId, Refunds};
use serde::Deserialize;

use crate::error::ConsoleError;
use crate::lists::unknown::{Filter, Item, PAGE};
use crate::state::Console;

/// A payment with some of its refunds, its posting, and its record if that still exists.
pub(crate) struct PaymentDetails {
    pub(crate) payment: Made<Payment>,
    pub(crate) record: Option<Record>,
    pub(crate) refunds: Refunds,
    /// The refund after which the shown refunds begin, if they are not the oldest.
    pub(crate) after: Option<RefundId>,
    pub(crate) entries: Vec<LedgerEntry>,
}

/// An account with its latest entries and what is unresolved about it.
pub(crate) struct AccountDetails {
    pub(crate) id: AccountId,
    /// `None` before anything was posted to it.
    pub(crate) account: Option<Account>,
    pub(crate) postings: Vec<Posted>,
    /// The oldest of them.
    pub(crate) unresolved: Vec<Item>,
    pub(crate) unresolved_count: usize,
    pub(crate) at_least: bool,
}

/// How many refunds of a payment are shown at a time.
pub(crate) const REFUNDS: usize = 50;

/// How many entries of an account are shown.
pub(crate) const POSTINGS: i32 = 25;

impl PaymentDetails {
    /// The refund after which the next page begins, if there are more.
    pub(crate) fn next(&self) -> Option<RefundId> {
        self.refunds.refunds.last().filter(|_| self.refunds.more).map(|refund| refund.made.id)
    }
}

/// The place in a list of refunds, as in the URL.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RefundsFrom {
    pub(crate) after: Option<String>,
}

impl Console {
    /// A payment's details; `after` is the refund after which the shown refunds begin.
    pub(crate) async fn payment_details(&self, id: &str, after: Option<&str>) -> Result<PaymentDetails, ConsoleError> {
        let id = PaymentId::parse(id).ok_or_else(ConsoleError::no_payment)?;
        let after =
            after.map(|after| RefundId::parse(after).ok_or_else(|| ConsoleError::invalid("after is not a refund id")));
        let after = after.transpose()?;
        let payment = self.table.made_payment(id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        let payment = payment.ok_or_else(ConsoleError::no_payment)?;
        let refunds = async {
            let refunds = self.table.refunds(id, after, REFUNDS).await;
            refunds.map_err(|error| ConsoleError::unavailable(&error))
        };
        let record = async {
            match &payment.record {
                Some(id) => self.store.read(id).await.map_err(|error| ConsoleError::unavailable(&error)),
                None => Ok(None),
            }
        };
        let entries = async {
            let entries = self.table.entries(&payment.made.account, id.transaction().uuid()).await;
            entries.map_err(|error| ConsoleError::unavailable(&error))
        };
        let (record, refunds, entries) = tokio::try_join!(record, refunds, entries)?;
        Ok(PaymentDetails { payment, record, refunds, after, entries })
    }

    pub(crate) async fn account_details(&self, id: &str) -> Result<AccountDetails, ConsoleError> {
        let id = AccountId::parse(id).ok_or_else(ConsoleError::no_account)?;
        let filter = Filter { account: id.to_string(), ..Filter::default() };
        let account = async { self.table.account(&id).await.map_err(|error| ConsoleError::unavailable(&error)) };
        let postings = async {
            let postings = self.table.latest_postings(&id, POSTINGS).await;
            postings.map_err(|error| ConsoleError::unavailable(&error))
        };
        let (account, postings, window) = tokio::try_join!(account, postings, self.unknown_window(&filter))?;
        if account.is_none() && window.items.is_empty() {
            return Err(ConsoleError::no_account());
        }
        let (unresolved_count, at_least) = (window.items.len(), window.more);
        let unresolved = window.items.into_iter().take(PAGE).collect();
        Ok(AccountDetails { id, account, postings, unresolved, unresolved_count, at_least })
    }
}
