use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::Record;
use idempotency::reconcile::{Evidence, Resolver};

use crate::{
    Charge, Charged, Currency, FoundCharge, FoundRefund, Owner, Payment, PaymentId, PaymentRequest, Provider, Refund,
    Refunded, Subject, Table, reply,
};

/// Finds out at the provider what became of a payment or a refund whose outcome is not known.
///
/// 1. Search for our transaction id. What is found settles the record: the payment and its event are written with it,
///    as the request itself would have done.
///    A charge that waits for somebody, and would for ever, is cancelled.
/// 2. Nothing found is no evidence: the search lags behind, and a sandbox that is only frozen may still send the
///    request when it thaws. So take the request's idempotency key away from it ([`Provider::prevent`]). If that
///    succeeds, the charge did not happen and cannot happen any more.
/// 3. If the key was used before us, something was asked for under it, and a later search will find it. Until then the
///    outcome stays unknown. So it does where the provider saved an error of its own under the key and has nothing to
///    show: only people can find out what came of that.
/// 4. Once the provider may have forgotten the key, taking it proves nothing: what a search does not find then stays
///    unknown, too.
#[derive(Clone, Debug)]
pub struct ProviderResolver {
    provider: Provider,
    table: Table,
}

/// Nothing is certain, and this is why.
type Unclear = Box<dyn std::error::Error + Send + Sync>;

type Found = Result<Evidence<HttpAnswer>, Unclear>;

impl Resolver<TransactWriteItem, HttpAnswer> for ProviderResolver {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        let found = match record.subject.as_ref().map(|subject| Subject::parse(subject.as_str())) {
            // A request that is not valid is about nothing, and nothing is sent for it. That is no evidence either: its
            // key is taken away like any other's, and a charge that is found all the same stays unclear.
            None | Some(Some(Subject::Payment { .. } | Subject::Invalid)) => self.payment(record, &attempt).await,
            Some(Some(Subject::Refund { payment, .. })) => self.refund(record, payment, &attempt).await,
            Some(None) => Err("the record does not say what it is about in words of ours".into()),
        };
        found.unwrap_or_else(|unclear| Evidence::Unclear(unclear.into()))
    }
}

impl ProviderResolver {
    /// A resolver that asks this provider and reads and writes this table.
    pub const fn new(provider: Provider, table: Table) -> Self {
        Self { provider, table }
    }

    async fn payment(&self, record: &Record, attempt: &Attempt<TransactWriteItem>) -> Found {
        let transaction = record.transaction.uuid();
        match self.provider.find_charge(transaction, attempt.remaining()).await? {
            FoundCharge::Succeeded(charged) => {
                let payment = Self::payment_of(record, *charged)?;
                attempt.add_effects(self.table.created(&payment, attempt.trace()));
                Ok(Evidence::Happened(HttpAnswer::new(reply::payment(&payment))))
            }
            FoundCharge::Declined(charge) => declined(&charge),
            FoundCharge::Cancelled => Ok(Evidence::Prevented),
            FoundCharge::OpenTombstone(intent) => {
                self.provider.cancel(&intent, attempt.remaining()).await?;
                Ok(Evidence::Prevented)
            }
            FoundCharge::Waiting { intent, state } => {
                self.provider.cancel(&intent, attempt.remaining()).await?;
                Ok(abandoned(&state))
            }
            FoundCharge::LateTombstone => Err("a tombstone came too late to prove anything".into()),
            FoundCharge::Open(state) => Err(format!("the payment intent is in the state {state}").into()),
            FoundCharge::Nothing => self.prevent(record, asked_in(record), attempt).await,
        }
    }

    async fn refund(&self, record: &Record, payment: PaymentId, attempt: &Attempt<TransactWriteItem>) -> Found {
        let transaction = record.transaction.uuid();
        // Whoever asks for a refund of what is not there, or is another's, gets an answer without the provider; so
        // nothing was sent for either, and neither is told from the other.
        let is_own = |payment: &Payment| record.principal.is_none_or(|asker| payment.owner == Owner::from(asker));
        let Some(payment) = self.table.payment(payment).await?.filter(is_own) else {
            return self.prevent(record, None, attempt).await;
        };
        match self.provider.find_refund(transaction, &payment.intent, attempt.remaining()).await? {
            FoundRefund::Succeeded(refunded) => {
                let Refunded { reversal, amount, reason, created } = *refunded;
                let refund = Refund::new(transaction, &payment, amount, reason, reversal, created);
                attempt.add_effects(self.table.refunded(&payment, &refund, attempt.trace()));
                Ok(Evidence::Happened(HttpAnswer::new(reply::refund(&payment, &refund))))
            }
            FoundRefund::Failed => Ok(Evidence::Refused(HttpAnswer::new(reply::refused(&crate::Refusal {
                code: Some("refund_failed".to_owned()),
                param: None,
                message: "The refund failed; nothing was given back.".to_owned(),
            })))),
            FoundRefund::Open(state) => Err(format!("the refund is in the state {state}").into()),
            FoundRefund::Nothing => self.prevent(record, Some(payment.money.currency), attempt).await,
        }
    }

    async fn prevent(
        &self,
        record: &Record,
        currency: Option<Currency>,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Found {
        let transaction = record.transaction.uuid();
        self.provider.prevent(transaction, currency, attempt.now().0, attempt.remaining()).await?;
        Ok(Evidence::Prevented)
    }

    /// The payment that a charge is, if it is the one that the record is about.
    ///
    /// # Errors
    ///
    /// Why it is not.
    pub fn payment_of(record: &Record, charged: Charged) -> Result<Payment, Unclear> {
        let Charged { intent, transaction, account, money, payment_method, reference, created } = charged;
        if transaction != Some(record.transaction.uuid()) {
            return Err(format!("{intent} is of another transaction").into());
        }
        let subject = record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str()));
        if subject != Some(Subject::Payment { account: account.clone(), money }) {
            return Err(format!("{intent} is {money} for {account}, not what was asked for").into());
        }
        let owner = Owner::from(record.principal.ok_or("the record does not say whose it is")?);
        let request = PaymentRequest { account, money, payment_method, reference };
        Ok(Payment::new(record.transaction.uuid(), owner, &request, intent, created))
    }
}

/// A charge that waited in this state and was cancelled. That its holder would have to authenticate it is the bank's
/// answer, and the same would come of a repeat; anything else may be tried again.
fn abandoned(state: &str) -> Evidence<HttpAnswer> {
    if state == "requires_action" {
        let message = "The card's holder would have to authenticate this payment.";
        return Evidence::Refused(HttpAnswer::new(reply::declined("authentication_required", message)));
    }
    Evidence::Prevented
}

/// The currency that a payment was asked for in.
fn asked_in(record: &Record) -> Option<Currency> {
    match Subject::parse(record.subject.as_ref()?.as_str())? {
        Subject::Payment { money, .. } => Some(money.currency),
        Subject::Refund { .. } | Subject::Invalid => None,
    }
}

fn declined(charge: &Charge) -> Found {
    match charge {
        Charge::Declined { code, decline_code, message } => {
            let code = decline_code.as_ref().unwrap_or(code);
            Ok(Evidence::Refused(HttpAnswer::new(reply::declined(code, message))))
        }
        Charge::Succeeded { .. } | Charge::Refused(_) => Err("a decline that is none".into()),
    }
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{EpochMs, Fingerprinter, History, Key, Principal, RecordId, State, TransactionId};

    use super::*;
    use crate::NAMESPACE;

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
                id: RecordId::new(NAMESPACE, &Principal::new("p").unwrap(), &Key::new("k").unwrap()),
                operation: "POST /payments".into(),
                principal: None,
                subject: subject.map(|text| idempotency::protocol::Subject::new(text).unwrap()),
                fingerprint: Fingerprinter::new().finish(),
                transaction: TransactionId::new(EpochMs(1), [0; 10]),
                attempt: 1,
                created: EpochMs(1),
                updated: EpochMs(1),
                trace: None,
                state: State::Unknown(None),
                ended_by: None,
                history: History::default(),
            };
            assert_eq!(asked_in(&record).map(Currency::code), currency, "{subject:?}");
        }
    }
}
