//! Payments with what was made of them, as people look for them.

use aws_sdk_dynamodb::types::AttributeValue;
use idempotency::protocol::RecordId;
use uuid::Uuid;

use super::{Table, TableError, failed, item::optional_text, key::Key, record};
use crate::{Clearing, Payment, PaymentId, Refund};

/// A payment or a refund with the record of the request that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made<T> {
    /// The payment or refund.
    pub made: T,
    /// The id of its record, which may have expired; `None` if an older version made it.
    pub record: Option<RecordId>,
}

impl Table {
    /// A payment with its refunds, oldest first (one consistent query of the payment's partition).
    ///
    /// # Errors
    ///
    /// When the table cannot be read, or an item is malformed.
    pub async fn payment_and_refunds(
        &self,
        id: PaymentId,
    ) -> Result<Option<(Made<Payment>, Vec<Made<Refund>>)>, TableError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("pk = :payment")
            .expression_attribute_values(":payment", AttributeValue::S(Key::of_payment(id)))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let (mut payment, mut refunds) = (None, Vec::new());
        while let Some(item) = pages.next().await {
            let item = item.map_err(failed)?;
            let record = record::read_record(&item)?;
            match item.get("kind").and_then(|kind| kind.as_s().ok()).map(String::as_str) {
                Some("payment") => payment = Some(Made { made: record::read_payment(&item)?, record }),
                Some("refund") => refunds.push(Made { made: record::read_refund(&item)?, record }),
                _ => {}
            }
        }
        refunds.sort_by_key(|refund| refund.made.id);
        Ok(payment.map(|payment| (payment, refunds)))
    }

    /// The payment to which a posted event belongs: the clearing entry's place derives from the event alone. `None` before
    /// the event is posted, and for a terminal's sale.
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
        assert_eq!(table.payment_and_refunds(payment.id).await.unwrap(), None);
        commit(&table, table.created(&payment, Some(&record("r1")), None)).await.unwrap();
        commit(&table, table.refunded(&payment, &refund(3), Some(&record("r3")), None)).await.unwrap();
        // As an older version wrote it.
        commit(&table, table.refunded(&payment, &refund(2), None, None)).await.unwrap();
        let (found, refunds) = table.payment_and_refunds(payment.id).await.unwrap().unwrap();
        assert_eq!((found.made.refunded, &found.record), (200, &Some(record("r1"))));
        let refunds: Vec<_> = refunds.into_iter().map(|refund| (refund.made, refund.record)).collect();
        assert_eq!(refunds, [(refund(2), None), (refund(3), Some(record("r3")))]);

        let posted = Event::refunded(&payment, &refund(3));
        assert_eq!(table.payment_of_posted(posted.id).await.unwrap(), None);
        commit(&table, table.posted(&Posting::of(&posted))).await.unwrap();
        assert_eq!(table.payment_of_posted(posted.id).await.unwrap(), Some(payment.id));
    }
}
