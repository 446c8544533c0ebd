//! The reconciler's search for evidence, at once and for one record.
//!
//! It is the same call, with the same resolver, as the reconciler's: the record is taken over under a condition, the
//! provider's answer decides, and without one the record stays as it is. So it needs no reason and no second operator.

use std::sync::OnceLock;
use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::http::HttpAnswer;
use idempotency::protocol::{EpochMs, Record};
use idempotency::reconcile::{Evidence, Reconciled, Resolver};
use payments::{AuditEntry, AuditKind, Invocation, operations};

use crate::audit::record_entry;
use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::records::own_operation;
use crate::state::Console;

/// The result of the search.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    pub(crate) result: Reconciled,
    /// In words.
    pub(crate) detail: String,
}

/// How long a search may take, as in the reconciler.
const WITHIN: Duration = Duration::from_secs(12);

impl Search {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self.result {
            Reconciled::Happened => "happened",
            Reconciled::Refused => "refused",
            Reconciled::Prevented => "prevented",
            Reconciled::Unclear | Reconciled::NotOpen | Reconciled::Foreign => "unclear",
        }
    }
}

/// The effect of the evidence on the record, in words; `None` if there is no evidence.
const fn effect<T>(evidence: &Evidence<T>) -> Option<&'static str> {
    match evidence {
        Evidence::Happened(_) => Some("It happened: settled as SUCCESS."),
        Evidence::Refused(_) => Some("It did not happen and will not: settled as FAILED."),
        Evidence::Prevented => Some("It did not happen and no longer can: released, so that the next call runs."),
        Evidence::Unclear(_) => None,
    }
}

/// Like [`effect`], before it is carried out.
const fn intention<T>(evidence: &Evidence<T>) -> Option<&'static str> {
    match evidence {
        Evidence::Happened(_) => Some("It happened: about to be settled as SUCCESS."),
        Evidence::Refused(_) => Some("It did not happen and will not: about to be settled as FAILED."),
        Evidence::Prevented => Some("It did not happen and no longer can: about to be released."),
        Evidence::Unclear(_) => None,
    }
}

/// The reconciler's resolver, which also writes the audit: in the transaction that settles the record, or before the
/// record if that is on another store.
struct Audited<'a> {
    console: &'a Console,
    entry: AuditEntry,
    /// What the resolver has found.
    found: OnceLock<Result<&'static str, String>>,
}

impl Resolver<TransactWriteItem, HttpAnswer> for Audited<'_> {
    async fn resolve(&self, record: &Record, attempt: Attempt<TransactWriteItem>) -> Evidence<HttpAnswer> {
        let evidence = self.console.resolver.resolve(record, attempt.clone()).await;
        let first = if self.console.store.are_with_effects() { effect(&evidence) } else { intention(&evidence) };
        if let Some(first) = first {
            let evidence = Some(first.to_owned());
            let entry = AuditEntry { attempt: Some(record.attempt), evidence, ..self.entry.clone() };
            attempt.add_effect(self.console.table.audited(&entry));
        }
        let found = match &evidence {
            Evidence::Unclear(why) => Err(why.to_string()),
            settled => Ok(effect(settled).unwrap_or_default()),
        };
        self.found.get_or_init(|| found);
        evidence
    }
}

impl Console {
    /// Searches for evidence about a record as the reconciler does. `why` is the name of the operator's bulk action.
    pub(crate) async fn reconcile_now(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        record: &str,
        why: Option<&str>,
    ) -> Result<(Record, Search), ConsoleError> {
        actor.require_operator()?;
        let record = self.record(record).await?;
        own_operation(&record)?;
        self.require_open(&record)?;
        let entry = AuditEntry {
            reason: why.map(str::to_owned),
            ..record_entry(&record, AuditKind::Reconciled, actor, invocation, self.now())
        };
        let resolver = Audited { console: self, entry, found: OnceLock::new() };
        let deadline = EpochMs(invocation.deadline.0.min(self.now().plus(WITHIN).0));
        let reconciled = self.engine.reconcile(&record, operations(), deadline, invocation.id, &resolver).await;
        let Audited { entry, found, .. } = resolver;
        let found = found.into_inner();
        let Some(result) = reconciled.as_ref().ok().copied().filter(|result| *result != Reconciled::NotOpen) else {
            // The search may have changed something at the provider, so it is written down.
            if let Some(found) = &found {
                let (Ok(text) | Err(text)) = found.as_ref().map(|effect| *effect).map_err(String::as_str);
                let written = match &reconciled {
                    Ok(_) => "it was not written down",
                    // The write may have taken effect and its reply be lost.
                    Err(_) => "whether it was written down is not known: see the record's history",
                };
                let evidence = Some(format!("{text}; {written}"));
                self.table
                    .audit(&AuditEntry { evidence, ..entry.followed(self.now().0) })
                    .await
                    .map_err(|error| ConsoleError::unavailable(&error))?;
            }
            return Err(reconciled.map_or_else(|error| ConsoleError::uncertain(&error), |_| ConsoleError::not_done()));
        };
        let detail = match (result, found) {
            (Reconciled::Happened | Reconciled::Refused | Reconciled::Prevented, Some(Ok(effect))) => {
                if !self.store.are_with_effects() {
                    let evidence = Some(effect.to_owned());
                    self.audit_after(AuditEntry { evidence, ..entry.followed(self.now().0) }).await;
                }
                return Ok((record, Search { result, detail: effect.to_owned() }));
            }
            (Reconciled::Unclear, Some(Err(why))) => format!("There is no evidence, and it stays as it is: {why}."),
            (Reconciled::Unclear, Some(Ok(_))) => "There is evidence, but it could not be written down.".to_owned(),
            (Reconciled::Unclear, None) => "There was no answer in time, and it stays as it is.".to_owned(),
            // Another attempt or operator was faster.
            _ => return Err(ConsoleError::not_done()),
        };
        let entry = AuditEntry { evidence: Some(detail.clone()), ..entry.followed(self.now().0) };
        self.table.audit(&entry).await.map_err(|error| ConsoleError::unavailable(&error))?;
        Ok((record, Search { result, detail }))
    }
}
