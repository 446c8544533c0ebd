//! Reading a record and what belongs to it.

use idempotency::Operation;
use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{AuditEntry, AuditFilter, LedgerEntry, Payment, PaymentId, TableError, operations};

use crate::error::ConsoleError;
use crate::format;
use crate::record::subject::SubjectSummary;
use crate::record::{Openness, id_of};
use crate::state::Console;

impl Console {
    /// The record with this short id.
    pub(crate) async fn record(&self, id: &str) -> Result<Record, ConsoleError> {
        let id = id_of(id).ok_or_else(ConsoleError::no_record)?;
        let record = self.store.read(&id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        record.ok_or_else(ConsoleError::no_record)
    }

    /// The payment that a record made or refunds, and the record's ledger entries.
    pub(crate) async fn linked(&self, record: &Record) -> Result<(Option<Payment>, Vec<LedgerEntry>), TableError> {
        let subject = SubjectSummary::of(record).unwrap_or_default();
        let own = PaymentId::of(record.transaction);
        let id = subject.payment.as_deref().and_then(PaymentId::parse).unwrap_or(own);
        let payment = self.table.payment(id).await?;
        let entries = match &payment {
            Some(payment) => self.table.entries(&payment.account, record.transaction.uuid()).await?,
            None => Vec::new(),
        };
        Ok((payment, entries))
    }

    /// The payment that a record refunds; `None` if the record is a payment's.
    pub(crate) async fn refunded_payment(&self, record: &Record) -> Result<Option<Payment>, String> {
        let Some(id) = SubjectSummary::of(record).and_then(|subject| subject.payment) else { return Ok(None) };
        let id = PaymentId::parse(&id).ok_or("the record does not name the payment that it refunds")?;
        let payment = self.table.payment(id).await.map_err(|error| error.to_string())?;
        payment.map(Some).ok_or_else(|| "the refunded payment does not exist".to_owned())
    }

    /// The latest audit entries of a record.
    pub(crate) async fn audit_of(&self, record: &Record) -> Result<Vec<AuditEntry>, TableError> {
        const MAX_ENTRIES: usize = 50;
        // Clocks differ: an entry may have an earlier time than its record.
        let since = record.created.0.saturating_sub(60 * 60 * 1000);
        let filter = AuditFilter { actor: None, record: Some(record.id.as_str().to_owned()), since };
        Ok(self.table.audit_page(&filter, None, MAX_ENTRIES).await?.entries)
    }

    /// Refuses a record that cannot be settled now.
    pub(crate) fn require_open(&self, record: &Record) -> Result<(), ConsoleError> {
        match Openness::of(record, self.now()) {
            Openness::Open => Ok(()),
            Openness::Held(until) => Err(ConsoleError::held(&format::time(until))),
            Openness::Closed => Err(ConsoleError::not_open("Its outcome is already known. Look at the record.")),
        }
    }
}

/// A record's operation, if it belongs to this application. A shared table has records of other applications, too: the
/// provider does not know them, and settling one here would answer another application's clients.
pub(crate) fn own_operation(record: &Record) -> Result<&'static Operation, ConsoleError> {
    operations().of(record).ok_or_else(|| ConsoleError::not_ours(&record.operation))
}
