//! The application's own data about a record's transaction.

use std::fmt;

use idempotency::http::HttpAnswer;
use idempotency::protocol::Record;
use payments::{Payment, PaymentId, Refund, RefundId, TableError, reply};

use crate::record::subject::SubjectSummary;
use crate::state::Console;

/// The payment or refund of a transaction. It exists without its record's settlement if the record is older than the
/// table, because a backup was restored; or if records are on another store, and a process died before it wrote the
/// record.
#[derive(Debug)]
pub(crate) enum Recorded {
    Payment(Payment),
    /// A refund, and the payment of which it is one.
    Refund(Payment, Refund),
}

impl Recorded {
    /// The provider's id of it.
    pub(crate) fn reference(&self) -> &str {
        match self {
            Self::Payment(payment) => &payment.intent,
            Self::Refund(_, refund) => &refund.reversal,
        }
    }

    /// The answer of the request that it was made for.
    pub(crate) fn answer(&self) -> HttpAnswer {
        HttpAnswer::new(match self {
            // The payment's state at that time, before later refunds.
            Self::Payment(payment) => reply::payment(&Payment { refunded: 0, ..payment.clone() }),
            Self::Refund(payment, refund) => reply::refund(payment, refund),
        })
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payment(payment) => write!(f, "payment {}, at the provider {}", payment.id, payment.intent),
            Self::Refund(_, refund) => write!(f, "refund {}, at the provider {}", refund.id, refund.reversal),
        }
    }
}

impl Console {
    /// The payment or refund that a record's transaction has made.
    pub(crate) async fn recorded(&self, record: &Record) -> Result<Option<Recorded>, TableError> {
        let subject = SubjectSummary::of(record).unwrap_or_default();
        let Some(refunded) = subject.payment.as_deref().and_then(PaymentId::parse) else {
            let payment = self.table.payment(PaymentId::of(record.transaction)).await?;
            return Ok(payment.map(Recorded::Payment));
        };
        let id = RefundId::of(record.transaction);
        let Some(refund) = self.table.made_refund(refunded, id).await? else { return Ok(None) };
        let payment = self.table.payment(refunded).await?;
        Ok(payment.map(|payment| Recorded::Refund(payment, refund.made)))
    }
}
