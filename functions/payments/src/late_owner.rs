use futures::FutureExt;
use futures::future::BoxFuture;
use idempotency::engine::{Fenced, Observer};
use idempotency::protocol::Resolution;
use uuid::Uuid;

use crate::{AuditEntry, AuditKind, Table};

/// Writes late owners into the audit.
///
/// A late owner ran, and ended after its record had been taken over: what it would have written was refused. If it has
/// charged all the same, the record was settled without knowing of it, and an operator must see that.
#[derive(Clone, Debug)]
pub struct LateOwners {
    table: Table,
    function: String,
}

impl LateOwners {
    /// Of this function, into the audit in this table.
    pub fn new(table: Table, function: impl Into<String>) -> Self {
        Self { table, function: function.into() }
    }

    fn entry(&self, fenced: Fenced<'_>) -> AuditEntry {
        let Fenced { late, found, said, at } = fenced;
        let claim = late.history.entries().last();
        let said = match said {
            Some(Resolution::Success) => "says that it happened",
            Some(Resolution::Failed) => "says that it failed",
            None => "does not know what happened",
        };
        let now = match found {
            Some(found) => format!("{} by attempt {}", found.state.status().as_str(), found.attempt),
            None => "gone".to_owned(),
        };
        AuditEntry {
            // The same for a repeat of this write, and another for every other attempt.
            id: Uuid::from_u128(late.transaction.uuid().as_u128() ^ u128::from(late.attempt)),
            at: at.0,
            kind: AuditKind::LateOwner,
            record: late.id.as_str().to_owned(),
            transaction: late.transaction.uuid(),
            attempt: late.attempt,
            actor: self.function.clone(),
            requested_by: None,
            request: claim.and_then(|step| step.request).map(|request| request.to_string()),
            reason: None,
            evidence: Some(format!("It {said}; the record was {now}. Nothing of the late attempt was written.")),
            provider: None,
        }
    }
}

impl Observer for LateOwners {
    fn fenced<'a>(&'a self, fenced: Fenced<'a>) -> BoxFuture<'a, ()> {
        async move {
            if let Err(error) = self.table.audit(&self.entry(fenced)).await {
                let error = &error as &dyn std::error::Error;
                tracing::error!(record = fenced.late.id.digest(), error, "a late owner is missing in the audit");
            }
        }
        .boxed()
    }
}
