use futures::FutureExt;
use futures::future::BoxFuture;
use idempotency::engine::{Fenced, Observer};
use idempotency::protocol::Resolution;
use uuid::Uuid;

use crate::{AuditEntry, AuditKind, Table};

/// Writes fenced attempts into the audit.
///
/// A fenced attempt ended after its record had been taken over, so its writes were refused. If it had charged the
/// customer, the record was settled without that knowledge, and an operator must see it.
#[derive(Clone, Debug)]
pub struct FencedAttempts {
    table: Table,
    function: String,
}

impl FencedAttempts {
    /// Reports the fenced attempts of this function to the audit in this table.
    pub fn new(table: Table, function: impl Into<String>) -> Self {
        Self { table, function: function.into() }
    }

    fn entry(&self, fenced: Fenced<'_>) -> AuditEntry {
        let Fenced { late, found, said, at } = fenced;
        let claim = late.history.entries().last();
        let result = match said {
            Some(Resolution::Success) => "The late attempt succeeded",
            Some(Resolution::Failed) => "The late attempt failed",
            None => "The late attempt ended with an unknown outcome",
        };
        let now = match found {
            Some(found) => format!("{} (attempt {})", found.state.status().as_str(), found.attempt),
            None => "gone".to_owned(),
        };
        AuditEntry {
            // The same for a retry of this write, and different for every other attempt.
            id: Uuid::from_u128(late.transaction.uuid().as_u128() ^ u128::from(late.attempt)),
            at: at.0,
            kind: AuditKind::FencedAttempt,
            record: late.id.as_str().to_owned(),
            transaction: Some(late.transaction),
            attempt: Some(late.attempt),
            actor: self.function.clone(),
            requested_by: None,
            request: claim.and_then(|step| step.request).map(|request| request.to_string()),
            reason: None,
            evidence: Some(format!("{result}; the record was {now}, and refused it.")),
            provider: None,
        }
    }
}

impl Observer for FencedAttempts {
    fn fenced<'a>(&'a self, fenced: Fenced<'a>) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.table.audit(&self.entry(fenced)).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(record = fenced.late.id.name(), error, "a fenced attempt is missing from the audit");
            }
        }
        .boxed()
    }
}
