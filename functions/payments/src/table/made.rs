//! Payments with their refunds and records, for searches by people.

use idempotency::protocol::RecordId;
use uuid::Uuid;

use super::{
    Table, TableError, failed,
    item::{Attributes, optional_text},
    key::Key,
    record,
};
use crate::{Clearing, Payment, PaymentId, Refund, RefundId};

/// A payment or a refund with the record of the request that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made<T> {
    /// The payment or refund.
    pub made: T,
    /// The id of its record, which may have expired; `None` if an older version made it.
    pub record: Option<RecordId>,
}

/// Some refunds of a payment, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refunds {
    /// The refunds that were read.
    pub refunds: Vec<Made<Refund>>,
    /// Whether there are others after them.
    pub more: bool,
}

impl Table {
    /// A payment with its record (a consistent read).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn made_payment(&self, id: PaymentId) -> Result<Option<Made<Payment>>, TableError> {
        self.made(Key::payment(id), record::read_payment).await
    }

    /// A refund of a payment, with its record (a consistent read).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the item is malformed.
    pub async fn made_refund(&self, payment: PaymentId, id: RefundId) -> Result<Option<Made<Refund>>, TableError> {
        self.made(Key::refund_of(payment, id), record::read_refund).await
    }

    async fn made<T>(
        &self,
        key: Key,
        read: fn(&Attributes) -> Result<T, TableError>,
    ) -> Result<Option<Made<T>>, TableError> {
        let request = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = request.send().await.map_err(failed)?.item;
        item.map(|item| made(&item, read)).transpose()
    }

    /// Up to `limit` refunds of a payment after this one (a consistent query).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item is malformed.
    pub async fn refunds(
        &self,
        payment: PaymentId,
        after: Option<RefundId>,
        limit: usize,
    ) -> Result<Refunds, TableError> {
        let start = after.map(|after| Key::refund_of(payment, after).into());
        // One more than requested, to detect whether there are more.
        let mut items = self
            .below(Key::refunds(payment))
            .set_exclusive_start_key(start)
            .limit(i32::try_from(limit + 1).unwrap_or(i32::MAX))
            .into_paginator()
            .items()
            .send();
        let mut refunds = Vec::new();
        while refunds.len() <= limit
            && let Some(item) = items.next().await
        {
            refunds.push(made(&item.map_err(failed)?, record::read_refund)?);
        }
        let more = refunds.len() > limit;
        refunds.truncate(limit);
        Ok(Refunds { refunds, more })
    }

    /// The payment to which a posted event belongs: the clearing entry's place derives from the event alone. `None`
    /// before the event is posted, and for a terminal's sale.
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or the entry is malformed.
    pub async fn payment_of_posted(&self, event: Uuid) -> Result<Option<PaymentId>, TableError> {
        let key = Key::entry(&Clearing::of(event), event);
        let read = self.client.get_item().table_name(&self.name).set_key(Some(key.into())).consistent_read(true);
        let item = read.send().await.map_err(failed)?.item.unwrap_or_default();
        optional_text(&item, "payment", PaymentId::parse)
    }
}

fn made<T>(item: &Attributes, read: fn(&Attributes) -> Result<T, TableError>) -> Result<Made<T>, TableError> {
    Ok(Made { made: read(item)?, record: record::read_record(item)? })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{commit, table};
    use super::*;
    use crate::{Amount, Event, PaymentRequest, Posting, samples};

    #[tokio::test]
    async fn a_payment_is_found_with_its_refunds_and_their_records_and_by_what_was_posted() {
        let table = table().await;
        let body = br#"{"account":"acct_1","amount":1200,"currency":"eur","payment_method":"pm_card_visa"}"#;
        let request = PaymentRequest::from_json(body).unwrap();
        let payment = Payment::new(samples::transaction(1), samples::principal("ann"), &request, "pi_1".into(), 5);
        let refund = |number| {
            let amount = Amount::new(100).unwrap();
            Refund::new(samples::transaction(number), &payment, amount, None, format!("re_{number}"), 6)
        };
        let record = |text: &str| RecordId::from_stored(text.to_owned());
        assert_eq!(table.made_payment(payment.id).await.unwrap(), None);
        commit(&table, table.created(&payment, Some(&record("r1")), None)).await.unwrap();
        commit(&table, table.refunded(&payment, &refund(3), Some(&record("r3")), None)).await.unwrap();
        // The item as an older version wrote it.
        commit(&table, table.refunded(&payment, &refund(2), None, None)).await.unwrap();
        let found = table.made_payment(payment.id).await.unwrap().unwrap();
        assert_eq!((found.made.refunded, &found.record), (200, &Some(record("r1"))));
        let both = [Made { made: refund(2), record: None }, Made { made: refund(3), record: Some(record("r3")) }];
        let read = async |after, limit| {
            let Refunds { refunds, more } = table.refunds(payment.id, after, limit).await.unwrap();
            (refunds, more)
        };
        assert_eq!(read(None, 2).await, (both.to_vec(), false), "oldest first");
        assert_eq!(read(None, 1).await, (both[..1].to_vec(), true));
        assert_eq!(read(Some(refund(2).id), 1).await, (both[1..].to_vec(), false));
        assert_eq!(table.made_refund(payment.id, refund(3).id).await.unwrap().as_ref(), Some(&both[1]));
        assert_eq!(table.made_refund(payment.id, refund(4).id).await.unwrap(), None);

        let posted = Event::refunded(&payment, &refund(3));
        assert_eq!(table.payment_of_posted(posted.id).await.unwrap(), None);
        commit(&table, table.posted(&Posting::of(&posted))).await.unwrap();
        assert_eq!(table.payment_of_posted(posted.id).await.unwrap(), Some(payment.id));
    }
}
