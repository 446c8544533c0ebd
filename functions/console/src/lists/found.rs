//! A payment and an account, with what belongs to them.

use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{Account, AccountId, LedgerEntry, Made, Payment, PaymentId, Posted, Refund};

use crate::error::ConsoleError;
use crate::lists::unknown::{Filter, Item, PAGE};
use crate::state::Console;

/// A payment with its refunds, its posting, and its record if that is still there.
pub(crate) struct PaymentDetails {
    pub(crate) payment: Made<Payment>,
    pub(crate) record: Option<Record>,
    pub(crate) refunds: Vec<Made<Refund>>,
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

/// How many entries of an account are shown.
pub(crate) const POSTINGS: i32 = 25;

impl Console {
    pub(crate) async fn payment_details(&self, id: &str) -> Result<PaymentDetails, ConsoleError> {
        let id = PaymentId::parse(id).ok_or_else(ConsoleError::no_payment)?;
        let made = self.table.payment_and_refunds(id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        let (payment, refunds) = made.ok_or_else(ConsoleError::no_payment)?;
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
        let (record, entries) = tokio::try_join!(record, entries)?;
        Ok(PaymentDetails { payment, record, refunds, entries })
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
