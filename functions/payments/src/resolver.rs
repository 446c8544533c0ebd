use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::Record;
use idempotency::reconcile::{Evidence, Resolver};

use crate::{
    Charged, Currency, Decline, Payment, PaymentId, PaymentRequest, Provider, ProviderRejection, ProviderStatus,
    Refund, Refunded, Subject, Table, record_payment, record_refund, reply,
};

/// Asks the provider for the outcome of a payment or a refund that is UNKNOWN.
///
/// 1. Search for our transaction id. A result settles the record: the payment and its event are written with it, as the
///    request itself would have done. A charge that waits for an action that never comes is cancelled.
/// 2. An empty result is not evidence: the search lags behind, and a sandbox that is only frozen may still send the
///    request when it thaws. So put a tombstone under the request's idempotency key ([`Provider::tombstone_key`]). If
///    that succeeds, the charge did not happen and no longer can.
/// 3. If the key was used before, a request was made under it, and a later search will find it. Until then the outcome
///    stays unknown. It also stays unknown if the provider saved an internal error under the key and has nothing
///    to show: only people can find out what became of that.
/// 4. Once the provider may have forgotten the key, a tombstone is no evidence: what a search does not find then stays
///    unknown.
#[derive(Clone, Debug)]
pub struct ProviderResolver {
    provider: Provider,
    table: Table,
}

/// Why the outcome stays unknown.
type Unclear = Box<dyn std::error::Error + Send + Sync>;

type Resolved = Result<Evidence<HttpAnswer>, Unclear>;

impl Resolver<TransactWriteItem, HttpAnswer> for ProviderResolver {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        let resolved = match record.subject.as_ref().map(|subject| Subject::parse(subject.as_str())) {
            // Nothing was sent for an invalid request. That is not evidence either: its key gets a tombstone like any
            // other, and if a charge is found nevertheless, the outcome stays unclear.
            None | Some(Some(Subject::Payment { .. } | Subject::Invalid)) => self.payment(record, &attempt).await,
            Some(Some(Subject::Refund { payment, .. })) => self.refund(record, payment, &attempt).await,
            Some(None) => Err("the record's subject is not one of this application's".into()),
        };
        resolved.unwrap_or_else(|unclear| Evidence::Unclear(unclear.into()))
    }
}

impl ProviderResolver {
    /// A resolver that asks this provider, and reads and writes this table.
    pub const fn new(provider: Provider, table: Table) -> Self {
        Self { provider, table }
    }

    async fn payment(&self, record: &Record, attempt: &Attempt<TransactWriteItem>) -> Resolved {
        let status = self.provider.find_charge(record.transaction, attempt.remaining()).await?;
        self.evidence(record, status, None, attempt).await
    }

    async fn refund(&self, record: &Record, payment: PaymentId, attempt: &Attempt<TransactWriteItem>) -> Resolved {
        // A refund of a payment that does not exist, or is another principal's, is answered without the provider. So
        // nothing was sent for either, and the two look the same.
        let is_own = |payment: &Payment| record.principal.is_none_or(|principal| payment.owner == principal);
        match self.table.payment(payment).await?.filter(is_own) {
            Some(payment) => {
                let time = attempt.remaining();
                let status = self.provider.find_refund(record.transaction, &payment.intent, time).await?;
                self.evidence(record, status, Some(&payment), attempt).await
            }
            None => self.evidence(record, ProviderStatus::NotFound, None, attempt).await,
        }
    }

    /// What follows from the provider's status for a record of a payment, or of a refund of `refunded`.
    async fn evidence(
        &self,
        record: &Record,
        status: ProviderStatus,
        refunded: Option<&Payment>,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Resolved {
        match status {
            ProviderStatus::Charged(charged) => {
                let payment = Self::payment_of(record, *charged)?;
                Ok(Evidence::Happened(HttpAnswer::new(record_payment(&self.table, &payment, attempt))))
            }
            ProviderStatus::Refunded(found) => {
                let payment = refunded.ok_or("a refund was found for a record of a payment")?;
                let Refunded { reversal, amount, reason, created } = *found;
                let refund = Refund::new(record.transaction, payment, amount, reason, reversal, created);
                Ok(Evidence::Happened(HttpAnswer::new(record_refund(&self.table, payment, &refund, attempt))))
            }
            ProviderStatus::Declined(decline) => Ok(Evidence::Refused(HttpAnswer::new(reply::declined(&decline)))),
            ProviderStatus::RefundFailed => Ok(Evidence::Refused(HttpAnswer::new(reply::refused(&refund_failed())))),
            ProviderStatus::Cancelled => Ok(Evidence::Prevented),
            ProviderStatus::OpenTombstone(intent) => {
                self.provider.cancel(&intent, attempt.remaining()).await?;
                Ok(Evidence::Prevented)
            }
            ProviderStatus::Waiting { intent, state } => {
                self.provider.cancel(&intent, attempt.remaining()).await?;
                Ok(cancelled_in(&state))
            }
            ProviderStatus::LateTombstone => Err("a tombstone was made too late to be evidence".into()),
            ProviderStatus::Pending(state) => Err(format!("the provider reports the state {state}").into()),
            ProviderStatus::NotFound => {
                let currency = refunded.map(|payment| payment.money.currency).or_else(|| requested_currency(record));
                let (now, time) = (attempt.now().0, attempt.remaining());
                self.provider.tombstone_key(record.transaction, currency, now, time).await?;
                Ok(Evidence::Prevented)
            }
        }
    }

    /// The payment of a charge, if the charge is the one that the record is about.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn payment_of(record: &Record, charged: Charged) -> Result<Payment, Unclear> {
        let Charged { intent, transaction, account, money, payment_method, reference, created } = charged;
        if transaction != Some(record.transaction) {
            return Err(format!("{intent} belongs to another transaction").into());
        }
        let subject = record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str()));
        if subject != Some(Subject::Payment { account: account.clone(), money }) {
            return Err(format!("{intent} is {money} for {account}, which is not what was requested").into());
        }
        let owner = record.principal.ok_or("the record has no principal")?;
        let request = PaymentRequest { account, money, payment_method, reference };
        Ok(Payment::new(record.transaction, owner, &request, intent, created))
    }
}

/// The evidence that a charge gives when it is cancelled in this state. A required authentication is the bank's answer,
/// and a repeat would get it again; after any other state a repeat may succeed.
fn cancelled_in(state: &str) -> Evidence<HttpAnswer> {
    if state != "requires_action" {
        return Evidence::Prevented;
    }
    let decline = Decline {
        code: "authentication_required".to_owned(),
        decline_code: None,
        message: "The card's holder would have to authenticate this payment.".to_owned(),
    };
    Evidence::Refused(HttpAnswer::new(reply::declined(&decline)))
}

fn refund_failed() -> ProviderRejection {
    ProviderRejection {
        code: Some("refund_failed".to_owned()),
        param: None,
        message: "The refund failed; nothing was given back.".to_owned(),
    }
}

/// The currency of a requested payment.
fn requested_currency(record: &Record) -> Option<Currency> {
    match Subject::parse(record.subject.as_ref()?.as_str())? {
        Subject::Payment { money, .. } => Some(money.currency),
        Subject::Refund { .. } | Subject::Invalid => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tombstone_of_a_payment_is_in_the_payments_currency() {
        for (subject, currency) in [
            (Some(r#"{"account":"acct_1","amount":1200,"currency":"HUF"}"#), Some("HUF")),
            (Some(r#"{"account":"acct_1","amount":1200,"currency":"JPY"}"#), Some("JPY")),
            (Some(r#"{"payment":"pay_01935b4a7c0070008000000000000001"}"#), None),
            (Some(r#"{"valid":false}"#), None),
            (None, None),
        ] {
            let record = Record {
                subject: subject.map(|text| idempotency::protocol::Subject::new(text).unwrap()),
                ..Record::sample()
            };
            assert_eq!(requested_currency(&record).map(Currency::code), currency, "{subject:?}");
        }
    }
}
