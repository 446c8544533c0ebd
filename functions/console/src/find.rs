//! Finding what an id belongs to. Wherever the schema gives it, that is a read by key; see docs/console.md for what
//! each costs, and for what cannot be found.

mod sought;

use std::time::Duration;

use idempotency::protocol::{RecordId, TransactionId};
use idempotency::store::Store;
use payments::{AccountId, PaymentId, RefundId, TableError};
use serde::Deserialize;

use crate::error::ConsoleError;
use crate::lists::unknown::{Filter, MAX_READ, UnknownRecords, Window};
use crate::state::Console;
use sought::Sought;

/// What a person or a script looks for: an id, or a client's key with its principal.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Question {
    /// Any id; or a principal and a key, with a space between them.
    pub(crate) text: String,
    pub(crate) principal: String,
    pub(crate) key: String,
}

/// The search results, and hints on where else to look.
#[derive(Debug, Default)]
pub(crate) struct Finding {
    pub(crate) found: Vec<Found>,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Record(RecordId),
    Payment(PaymentId),
    Account(AccountId),
}

/// The time-out of a lookup at the provider.
const TIMEOUT: Duration = Duration::from_secs(3);

/// One search, which tries everything that the text may be.
#[derive(Default)]
struct Search {
    finding: Finding,
    /// The unresolved records; read once, when they are first needed.
    unknown: Option<UnknownRecords>,
}

impl Search {
    fn add(&mut self, found: Found) {
        if !self.finding.found.contains(&found) {
            self.finding.found.push(found);
        }
    }

    fn note(&mut self, note: impl Into<String>) {
        self.finding.notes.push(note.into());
    }
}

impl Console {
    pub(crate) async fn find(&self, question: &Question) -> Result<Finding, ConsoleError> {
        let sought = Sought::of(question).map_err(ConsoleError::invalid)?;
        let mut search = Search::default();
        for sought in sought {
            self.find_one(sought, &mut search).await?;
        }
        Ok(search.finding)
    }

    async fn find_one(&self, sought: Sought, search: &mut Search) -> Result<(), ConsoleError> {
        match sought {
            Sought::Key(id) => {
                if !self.find_record(id, search).await? {
                    search.note(
                        "There is no record of this key and principal: it has expired, or no request with them arrived.",
                    );
                }
            }
            Sought::Record(id) => {
                if !self.find_record(id, search).await? {
                    search.note("There is no record with this id: it has expired, or never existed.");
                }
            }
            Sought::Digest(digest) => self.find_digest(&digest, search).await?,
            Sought::Payment(id) => match self.table.payment(id).await.map_err(unavailable)? {
                Some(_) => search.add(Found::Payment(id)),
                None => self.find_unresolved(id.transaction(), search).await?,
            },
            Sought::Refund(id) => self.find_transaction(id.transaction(), search).await?,
            Sought::Transaction(transaction) => self.find_transaction(transaction, search).await?,
            Sought::Intent(intent) => match self.provider.transaction_of(&intent, TIMEOUT).await {
                Ok(Some(transaction)) => {
                    search.note(format!("The provider has it under the transaction {transaction}."));
                    self.find_transaction(transaction, search).await?;
                }
                Ok(None) => search.note("The provider has it, but without a transaction id of ours."),
                Err(error) => search.note(format!("The provider did not return its transaction: {error}.")),
            },
            Sought::Account(account) => self.find_account(account, search).await?,
        }
        Ok(())
    }

    /// Whether there is such a record.
    async fn find_record(&self, id: RecordId, search: &mut Search) -> Result<bool, ConsoleError> {
        let record = self.store.read(&id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        let is_there = record.is_some();
        if is_there {
            search.add(Found::Record(id));
        }
        Ok(is_there)
    }

    /// The ids of payment and event derive from the transaction id, and both name the payment, or the payment that was
    /// refunded. The payment names its record, which may have expired.
    async fn find_transaction(&self, transaction: TransactionId, search: &mut Search) -> Result<(), ConsoleError> {
        let own = PaymentId::of(transaction);
        let posted = self.table.payment_of_posted(transaction.uuid()).await.map_err(unavailable)?;
        let id = posted.unwrap_or(own);
        let payment = self.table.made_payment(id).await.map_err(unavailable)?;
        let Some(payment) = payment else { return self.find_unresolved(transaction, search).await };
        let record = if id == own {
            payment.record
        } else {
            let refund = self.table.made_refund(id, RefundId::of(transaction)).await.map_err(unavailable)?;
            refund.and_then(|refund| refund.record)
        };
        let is_there = match record {
            Some(record) => self.find_record(record, search).await?,
            None => false,
        };
        if !is_there {
            search.add(Found::Payment(id));
        }
        Ok(())
    }

    /// Searches the unresolved records, because no index maps a transaction id to its record.
    async fn find_unresolved(&self, transaction: TransactionId, search: &mut Search) -> Result<(), ConsoleError> {
        let filter = Filter { transaction: transaction.to_string(), ..Filter::default() };
        let window = self.unknown_in(search, &filter).await?;
        if window.items.is_empty() {
            search.note(format!(
                "Neither a payment nor a posting nor one of the oldest {MAX_READ} unresolved records has the transaction \
                 {transaction}. One that was declined, prevented or released, or is still running, is found by its record: \
                 the request log has its id beside the transaction."
            ));
        }
        window.items.into_iter().for_each(|item| search.add(Found::Record(item.record.id)));
        Ok(())
    }

    /// The unresolved records that match.
    async fn unknown_in(&self, search: &mut Search, filter: &Filter) -> Result<Window, ConsoleError> {
        let read = match search.unknown.take() {
            Some(read) => read,
            None => self.unknown_records().await?,
        };
        self.matching(search.unknown.insert(read), filter).await
    }

    /// Twelve characters are not a complete key, so they are compared with the ids of the unresolved records.
    async fn find_digest(&self, digest: &str, search: &mut Search) -> Result<(), ConsoleError> {
        let window = self.unknown_in(search, &Filter::default()).await?;
        let same = window.items.into_iter().map(|item| item.record.id).filter(|id| id.digest() == digest);
        let before = search.finding.found.len();
        same.for_each(|id| search.add(Found::Record(id)));
        if search.finding.found.len() == before {
            search.note(format!(
                "None of the oldest {MAX_READ} unresolved records begins with these twelve characters. Others are found by all \
                 43, which newer log lines have."
            ));
        }
        Ok(())
    }

    async fn find_account(&self, account: AccountId, search: &mut Search) -> Result<(), ConsoleError> {
        let is_posted = self.table.account(&account).await.map_err(unavailable)?.is_some();
        let filter = Filter { account: account.to_string(), ..Filter::default() };
        if is_posted || !self.unknown_in(search, &filter).await?.items.is_empty() {
            search.add(Found::Account(account));
        } else {
            let name = account.to_string();
            search.note(match name.starts_with("pay_") || name.starts_with("ref_") {
                true => "The id of a payment or refund has 32 hexadecimal digits after pay_ or ref_. There is no account of this name.",
                false => {
                    "Nothing is posted to an account of this name, and it has no unresolved records. A client's key is found \
                     with its principal before it: ann order-17."
                }
            });
        }
        Ok(())
    }
}

fn unavailable(error: TableError) -> ConsoleError {
    ConsoleError::unavailable(&error)
}
