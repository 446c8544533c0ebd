//! What the provider says of a record's transaction. Asking changes nothing.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::Record;
use payments::{
    AuditEntry, AuditKind, Charge, Charged, FoundCharge, FoundRefund, Owner, Payment, PaymentId, PaymentMethod,
    PaymentRequest, ProviderError, ProviderResolver, Refund, Refunded, Subject, reply,
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::{Actor, Invocation};
use crate::console::Console;
use crate::record::{About, ours};
use crate::refusal::Refusal;
use crate::words;

/// The provider's answer.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The money was taken.
    Charged(Box<Charged>),
    /// The money went back.
    Refunded(Box<Refunded>),
    /// It was refused for good; why.
    Declined(String),
    /// It was cancelled, or it failed, and cannot happen any more.
    Gone,
    /// It had nothing, and its key was taken away: it cannot happen any more.
    Prevented,
    /// It told nothing, and its key could not be taken away; why.
    NotPrevented(String),
    /// Its key was taken away by a tombstone, this one, that is not cancelled yet.
    OpenTombstone(String),
    /// It may go either way; its state.
    Open(String),
    /// It has nothing under this transaction id.
    Nothing,
    /// It gave no answer; why.
    None(String),
}

/// Why an outcome stays unknown.
pub(crate) type Unclear = Box<dyn std::error::Error + Send + Sync>;

/// How long a page waits for the provider.
const TIMEOUT: Duration = Duration::from_secs(3);

impl Answer {
    /// The provider's id of what happened, if it did.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Charged(charged) => Some(&charged.intent),
            Self::Refunded(refunded) => Some(&refunded.reversal),
            Self::Declined(_)
            | Self::Gone
            | Self::Prevented
            | Self::NotPrevented(_)
            | Self::OpenTombstone(_)
            | Self::Open(_)
            | Self::Nothing
            | Self::None(_) => None,
        }
    }

    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Charged(charged) => {
                let money = words::money(&charged.money.amount.to_string(), charged.money.currency.code());
                format!("It happened: {money} was charged for {}, as {}.", charged.account, charged.intent)
            }
            Self::Refunded(refunded) => {
                format!("It happened: {} minor units went back, as {}.", refunded.amount, refunded.reversal)
            }
            Self::Declined(why) => format!("It did not happen, which is final: {why}"),
            Self::Gone => "It did not happen and cannot happen any more: it was cancelled, or it failed.".to_owned(),
            Self::Prevented => {
                "It had nothing, and its key was taken away: it did not happen and cannot happen any more.".to_owned()
            }
            Self::NotPrevented(why) => format!("It told nothing, and its key could not be taken away: {why}."),
            Self::OpenTombstone(_) => {
                "It did not happen. Its key was taken away, but the tombstone is not cancelled yet.".to_owned()
            }
            Self::Open(state) => format!("It is {state}, and may still go either way."),
            Self::Nothing => {
                "It finds nothing. That is no evidence: its search lags behind, and an attempt that is only \
                              frozen may still send its request."
                    .to_owned()
            }
            Self::None(why) => format!("It gave no answer: {why}."),
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        let answer = match self {
            Self::Charged(_) | Self::Refunded(_) => "happened",
            Self::Declined(_) => "declined",
            Self::Gone | Self::Prevented => "gone",
            Self::Open(_) | Self::OpenTombstone(_) => "open",
            Self::Nothing => "nothing",
            Self::NotPrevented(_) | Self::None(_) => "none",
        };
        json!({ "answer": answer, "reference": self.reference(), "detail": self.in_words() })
    }
}

impl From<Result<FoundCharge, ProviderError>> for Answer {
    fn from(found: Result<FoundCharge, ProviderError>) -> Self {
        match found {
            Ok(FoundCharge::Succeeded(charged)) => Self::Charged(charged),
            Ok(FoundCharge::Declined(Charge::Declined { message, .. })) => Self::Declined(message),
            Ok(FoundCharge::Declined(other)) => Self::Declined(format!("{other:?}")),
            Ok(FoundCharge::Cancelled) => Self::Gone,
            Ok(FoundCharge::OpenTombstone(intent)) => Self::OpenTombstone(intent),
            Ok(FoundCharge::Waiting { state, .. } | FoundCharge::Open(state)) => Self::Open(state),
            Ok(FoundCharge::LateTombstone) => {
                Self::NotPrevented("the tombstone that is there came too late to prove anything".to_owned())
            }
            Ok(FoundCharge::Nothing) => Self::Nothing,
            Err(error) => Self::None(error.to_string()),
        }
    }
}

impl From<Result<FoundRefund, ProviderError>> for Answer {
    fn from(found: Result<FoundRefund, ProviderError>) -> Self {
        match found {
            Ok(FoundRefund::Succeeded(refunded)) => Self::Refunded(refunded),
            Ok(FoundRefund::Failed) => Self::Gone,
            Ok(FoundRefund::Open(state)) => Self::Open(state),
            Ok(FoundRefund::Nothing) => Self::Nothing,
            Err(error) => Self::None(error.to_string()),
        }
    }
}

impl Console {
    /// Asks the provider what it has of a record's transaction.
    pub(crate) async fn ask(&self, record: &Record) -> Answer {
        let transaction = record.transaction.uuid();
        match self.refunded_payment(record).await {
            Ok(Some(payment)) => self.provider.find_refund(transaction, &payment.intent, TIMEOUT).await.into(),
            Ok(None) => self.provider.find_charge(transaction, TIMEOUT).await.into(),
            Err(why) => Answer::None(why),
        }
    }

    /// As [`ask`](Self::ask); what its search does not find, the provider may know by the reference that an operator has.
    pub(crate) async fn ask_for(&self, record: &Record, reference: &str) -> Answer {
        match self.ask(record).await {
            Answer::Nothing => match self.provider.charge_of(reference, TIMEOUT).await {
                Ok(FoundCharge::Succeeded(charged)) if charged.transaction == Some(record.transaction.uuid()) => {
                    Answer::Charged(charged)
                }
                Ok(_) | Err(_) => Answer::Nothing,
            },
            answer => answer,
        }
    }

    /// The payment that the record is to refund; nothing if it is about a payment of its own.
    pub(crate) async fn refunded_payment(&self, record: &Record) -> Result<Option<Payment>, String> {
        let Some(id) = About::of(record).and_then(|about| about.payment) else { return Ok(None) };
        let id = PaymentId::parse(&id).ok_or("the record does not say which payment it refunds")?;
        let payment = self.table.payment(id).await.map_err(|error| error.to_string())?;
        payment.map(Some).ok_or_else(|| "the refunded payment is not there".to_owned())
    }

    /// Asks, and writes the answer into the audit.
    pub(crate) async fn ask_for_audit(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        record: &str,
    ) -> Result<(Record, Answer), Refusal> {
        actor.may_act()?;
        let record = self.record(record).await?;
        ours(&record)?;
        let answer = self.ask(&record).await;
        let entry = AuditEntry {
            id: Uuid::now_v7(),
            at: words::now().0,
            kind: AuditKind::Asked,
            record: record.id.as_str().to_owned(),
            transaction: record.transaction.uuid(),
            attempt: record.attempt,
            actor: actor.name.clone(),
            requested_by: None,
            request: invocation.request.clone(),
            reason: None,
            evidence: None,
            provider: Some(answer.in_words()),
        };
        self.table.audit(&entry).await.map_err(|error| Refusal::unavailable(&error))?;
        Ok((record, answer))
    }
}

/// What a confirmed success writes.
impl Console {
    /// If the provider has answered, its word is what is written; if not, the operators'.
    pub(crate) async fn succeeded(
        &self,
        record: &Record,
        reference: &str,
        answer: &Answer,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Result<HttpAnswer, Unclear> {
        match answer.clone() {
            Answer::Charged(charged) => Ok(self.paid(&ProviderResolver::payment_of(record, *charged)?, attempt)),
            Answer::Refunded(refunded) => {
                let payment = self.refunded_payment(record).await?.ok_or("the record is not about a refund")?;
                let Refunded { reversal, amount, reason, created } = *refunded;
                let transaction = record.transaction.uuid();
                let refund = Refund::new(transaction, &payment, amount, reason, reversal, created);
                Ok(self.given_back(&payment, &refund, attempt))
            }
            Answer::None(_) => self.on_the_operators_word(record, reference, attempt).await,
            Answer::Declined(_)
            | Answer::Gone
            | Answer::Prevented
            | Answer::NotPrevented(_)
            | Answer::OpenTombstone(_)
            | Answer::Open(_)
            | Answer::Nothing => Err(format!("the provider contradicts: {}", answer.in_words()).into()),
        }
    }

    async fn on_the_operators_word(
        &self,
        record: &Record,
        reference: &str,
        attempt: &Attempt<TransactWriteItem>,
    ) -> Result<HttpAnswer, Unclear> {
        let (transaction, reference, now) = (record.transaction.uuid(), reference.to_owned(), attempt.now().0);
        let subject = record.subject.as_ref().and_then(|subject| Subject::parse(subject.as_str()));
        match subject.ok_or("the record does not say what it is about")? {
            Subject::Payment { account, money } => {
                let owner = Owner::from(record.principal.ok_or("the record does not say whose it is")?);
                // Only the provider knows by what it was charged.
                let payment_method = PaymentMethod::parse("unknown").ok_or("no payment method")?;
                let request = PaymentRequest { account, money, payment_method, reference: None };
                Ok(self.paid(&Payment::new(transaction, owner, &request, reference, now), attempt))
            }
            Subject::Invalid => Err("the request was not valid, so nothing was sent for it".into()),
            Subject::Refund { amount, .. } => {
                let payment = self.refunded_payment(record).await?.ok_or("the refunded payment is not there")?;
                let amount = amount.or_else(|| payment.refundable()).ok_or("nothing is left to refund")?;
                let refund = Refund::new(transaction, &payment, amount, None, reference, now);
                Ok(self.given_back(&payment, &refund, attempt))
            }
        }
    }

    fn paid(&self, payment: &Payment, attempt: &Attempt<TransactWriteItem>) -> HttpAnswer {
        attempt.add_effects(self.table.created(payment, attempt.trace()));
        HttpAnswer::new(reply::payment(payment))
    }

    fn given_back(&self, payment: &Payment, refund: &Refund, attempt: &Attempt<TransactWriteItem>) -> HttpAnswer {
        attempt.add_effects(self.table.refunded(payment, refund, attempt.trace()));
        HttpAnswer::new(reply::refund(payment, refund))
    }
}
