//! A record with everything related to it.

use idempotency::protocol::{EpochMs, HistoryEvent, Record, State, TransactionId};
use payments::{ActionKind, Approval, AuditEntry, AuditKind, LedgerEntry, Payment, TableError};

use crate::error::ConsoleError;
use crate::format;
use crate::provider_status::ProviderAnswer;
use crate::record::Openness;
use crate::record::subject::SubjectSummary;
use crate::records::own_operation;
use crate::settlement::evidence::ProviderCheck;
use crate::state::Console;

/// A record with everything related to it.
#[derive(Debug)]
pub(crate) struct Details {
    pub(crate) record: Record,
    pub(crate) subject: Option<SubjectSummary>,
    /// The payment that the record made or refunds.
    pub(crate) payment: Option<Payment>,
    /// Its ledger entries.
    pub(crate) entries: Vec<LedgerEntry>,
    /// Whether it belongs to this application: others are only shown.
    pub(crate) is_ours: bool,
    /// The provider's answer now; only for an open record of this application.
    pub(crate) provider: Option<ProviderAnswer>,
    /// The approvals that wait for a second operator, newest first.
    pub(crate) approvals: Vec<Approval>,
    pub(crate) audit: Vec<AuditEntry>,
}

impl Details {
    /// What the state means, for people.
    pub(crate) fn state(&self, now: EpochMs) -> String {
        match (&self.record.state, self.release()) {
            (State::Released { .. }, Some(entry)) => {
                let proof = match entry.provider.as_deref() {
                    Some(answer) if !answer.starts_with(ProviderCheck::NO_EVIDENCE) => {
                        "The provider confirmed that the earlier attempt has no effect."
                    }
                    Some(_) | None => "Whether the earlier attempt had an effect is not known.",
                };
                format!("Released by {}: the next call with its key runs. {proof}", entry.actor)
            }
            (state, _) => format::state(state, now).to_owned(),
        }
    }

    /// Whether an announced action was carried out; `None` if the entry is not only an announcement.
    pub(crate) fn was_carried_out(&self, entry: &AuditEntry) -> Option<bool> {
        let AuditKind::Intended(action) = entry.kind else { return None };
        let end = match action {
            ActionKind::Succeed => HistoryEvent::Succeeded,
            ActionKind::Fail => HistoryEvent::Failed,
            ActionKind::Release => HistoryEvent::Prevented,
        };
        let mut history = self.record.history.entries().iter();
        let is_in_history = history.any(|ended| ended.event == end && Some(ended.attempt) == entry.attempt);
        let is_in_audit =
            self.audit.iter().any(|other| other.id == entry.id && other.kind == AuditKind::Settled(action));
        Some(is_in_history || is_in_audit)
    }

    /// The operator's release of this record, if it is the record's latest event.
    fn release(&self) -> Option<&AuditEntry> {
        let last = self.record.history.entries().last().filter(|last| last.event == HistoryEvent::Prevented)?;
        // Not an earlier one: the reconciler may have prevented this attempt.
        let released = |entry: &&AuditEntry| {
            let kinds = [AuditKind::Settled(ActionKind::Release), AuditKind::Intended(ActionKind::Release)];
            kinds.contains(&entry.kind) && entry.attempt == Some(last.attempt)
        };
        self.audit.iter().find(released)
    }

    /// The transaction id that an operator's release has replaced: the provider knows it.
    pub(crate) fn transaction_before(&self) -> Option<TransactionId> {
        self.release().and_then(|entry| entry.transaction).filter(|transaction| *transaction != self.record.transaction)
    }
}

impl Console {
    pub(crate) async fn details(&self, id: &str) -> Result<Details, ConsoleError> {
        let record = self.record(id).await?;
        let is_ours = own_operation(&record).is_ok();
        let open = is_ours && Openness::of(&record, self.now()) != Openness::Closed;
        let answer = async { if open { Some(self.ask(&record).await) } else { None } };
        let approvals = async { if open { self.approvals_of(&record).await } else { Ok(Vec::new()) } };
        let (provider, (payment, entries), approvals, audit) =
            tokio::try_join!(async { Ok(answer.await) }, self.linked(&record), approvals, self.audit_of(&record))
                .map_err(|error: TableError| ConsoleError::unavailable(&error))?;
        let subject = SubjectSummary::of(&record).map(|subject| subject.with_payment(payment.as_ref()));
        Ok(Details { record, subject, payment, entries, is_ours, provider, approvals, audit })
    }
}
