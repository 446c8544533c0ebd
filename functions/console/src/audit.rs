//! What the console's audit entries have in common.

use idempotency::protocol::{EpochMs, Record};
use payments::{AuditEntry, AuditKind, Invocation};
use uuid::Uuid;

use crate::auth::Actor;

/// An audit entry about a record, without a basis.
pub(crate) fn record_entry(
    record: &Record,
    kind: AuditKind,
    actor: &Actor,
    invocation: &Invocation,
    at: EpochMs,
) -> AuditEntry {
    AuditEntry {
        id: Uuid::now_v7(),
        at: at.0,
        kind,
        record: record.id.as_str().to_owned(),
        transaction: Some(record.transaction),
        attempt: Some(record.attempt),
        actor: actor.name.clone(),
        requested_by: None,
        request: invocation.id.map(|id| id.to_string()),
        reason: None,
        evidence: None,
        provider: None,
    }
}
