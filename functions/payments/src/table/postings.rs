//! The postings of an account, for searches by people.

use uuid::Uuid;

use super::{
    Table, TableError, failed,
    item::{any, optional_text, text, uuid},
    key::Key,
    record,
};
use crate::{AccountId, LedgerEntry, PaymentId};

/// An entry of a customer's account, with the payment or terminal that it was posted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// The event or sale.
    pub event: Uuid,
    /// The entry.
    pub entry: LedgerEntry,
    /// The payment that was made or refunded.
    pub payment: Option<PaymentId>,
    /// The terminal that made the sale, if it is a sale's entry.
    pub terminal: Option<String>,
}

impl Table {
    /// The latest entries of an account, newest first (one consistent query). Entries sort by the time of the first
    /// attempt at their payment or refund.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an entry is malformed.
    pub async fn latest_postings(&self, account: &AccountId, limit: i32) -> Result<Vec<Posted>, TableError> {
        let query = self.below(Key::entries(account)).scan_index_forward(false).limit(limit);
        let answer = query.send().await.map_err(failed)?;
        let read = |item| {
            Ok(Posted {
                event: text(item, "event", uuid)?,
                entry: record::read_entry(item)?,
                payment: optional_text(item, "payment", PaymentId::parse)?,
                terminal: optional_text(item, "terminal", any)?,
            })
        };
        answer.items().iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{commit, table};
    use super::*;
    use crate::{Event, Payment, PaymentRequest, Posting, samples};

    #[tokio::test]
    async fn the_latest_entries_of_an_account_come_first_and_no_others() {
        let table = table().await;
        let body = |account: &str| {
            format!(r#"{{"account":"{account}","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}}"#)
        };
        for (number, account) in [(1, "acct_1"), (2, "acct_1"), (3, "acct_12")] {
            let request = PaymentRequest::from_json(body(account).as_bytes()).unwrap();
            let owner = samples::principal("ann");
            let payment = Payment::new(samples::transaction(number), owner, &request, "pi_1".into(), 5);
            commit(&table, table.posted(&Posting::of(&Event::succeeded(&payment)))).await.unwrap();
        }
        let account = AccountId::parse("acct_1").unwrap();
        let latest = table.latest_postings(&account, 25).await.unwrap();
        let payments: Vec<_> = latest.iter().map(|posted| posted.payment).collect();
        assert_eq!(payments, [2, 1].map(|number| Some(PaymentId::of(samples::transaction(number)))));
        assert_eq!(table.latest_postings(&account, 1).await.unwrap(), latest[..1]);
    }
}
