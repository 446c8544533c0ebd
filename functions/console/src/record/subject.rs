use idempotency::protocol::Record;
use payments::Payment;
use serde::Deserialize;

use crate::format;

/// A record's subject, with the members that this application knows. It is only for display: other applications'
/// subjects and amounts beyond this application's limits are shown, too. [`payments::Subject`] decides what may be
/// settled.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct SubjectSummary {
    pub(crate) account: Option<String>,
    /// In minor units.
    pub(crate) amount: Option<u64>,
    pub(crate) currency: Option<String>,
    /// The payment to refund.
    pub(crate) payment: Option<String>,
}

impl SubjectSummary {
    /// `None` if the record has no subject, or one in another form; that is then shown as it is.
    pub(crate) fn of(record: &Record) -> Option<Self> {
        serde_json::from_str(record.subject.as_ref()?.as_str()).ok()
    }

    /// A refund's subject has neither account nor currency: they are the payment's.
    pub(crate) fn with_payment(self, payment: Option<&Payment>) -> Self {
        let currency = payment.map(|payment| payment.money.currency.code().to_owned());
        let account = payment.map(|payment| payment.account.to_string());
        Self { account: self.account.or(account), currency: self.currency.or(currency), ..self }
    }

    /// Like [`with_payment`](Self::with_payment); a refund without an amount is a refund of the remaining amount.
    pub(crate) fn completed_by(self, payment: Option<&Payment>) -> Self {
        let left = payment.and_then(Payment::refundable).map(|amount| amount.get());
        Self { amount: self.amount.or(left), ..self.with_payment(payment) }
    }

    pub(crate) fn money(&self) -> Option<String> {
        Some(format::money(&self.amount?.to_string(), self.currency.as_ref()?))
    }
}
