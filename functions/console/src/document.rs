//! Records, their versions and audit entries as JSON, in the API and in exports.

use idempotency::protocol::{EpochMs, Record};
use payments::{AuditEntry, RecordSnapshot};
use serde_json::{Value, json};

use crate::format::rfc3339;
use crate::record::short;
use crate::record::subject::SubjectSummary;

pub(crate) fn snapshot(snapshot: &RecordSnapshot) -> Value {
    json!({
        "status": snapshot.status,
        "attempt": snapshot.attempt,
        "updated": rfc3339(EpochMs(snapshot.updated)),
        "version": snapshot.version,
    })
}

/// A record as the list and the page show it.
pub(crate) fn row(record: &Record, subject: Option<&SubjectSummary>) -> Value {
    json!({
        "record": short(record.id.as_str()),
        "operation": record.operation,
        "status": record.state.status().as_str(),
        "transaction": record.transaction.to_string(),
        "attempt": record.attempt,
        "created": rfc3339(record.created),
        "updated": rfc3339(record.updated),
        "principal": record.principal.map(|digest| digest.to_string()),
        "subject": record.subject.as_ref().map(|subject| subject.as_str()),
        "account": subject.and_then(|subject| subject.account.as_ref()),
        "amount": subject.and_then(|subject| subject.amount).map(|amount| amount.to_string()),
        "currency": subject.and_then(|subject| subject.currency.as_ref()),
    })
}

pub(crate) fn audit_entry(entry: &AuditEntry) -> Value {
    json!({
        "id": entry.id.to_string(),
        "at": rfc3339(EpochMs(entry.at)),
        "what": entry.kind.as_str(),
        "record": entry.message().is_none().then(|| short(&entry.record)),
        "message": entry.message(),
        "transaction": entry.transaction.map(|transaction| transaction.to_string()),
        "attempt": entry.attempt,
        "actor": entry.actor,
        "requested_by": entry.requested_by,
        "request": entry.request,
        "reason": entry.reason,
        "evidence": entry.evidence,
        "provider": entry.provider,
    })
}
