//! Executing a preview or an approval: once, and only while the record is in the version that was shown.

use std::time::Duration;

use idempotency::protocol::Record;
use idempotency::store::Store;
use payments::{Approval, AuditEntry, AuditKind, Invocation, Preview};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::{ConsoleError, RecordChange};
use crate::format;
use crate::record::{Openness, id_of, short, snapshot};
use crate::request_log::{LogOutcome, LogSummary};
use crate::settlement::Settlement;
use crate::settlement::confirmable::Confirmable;
use crate::settlement::evidence::ProviderCheck;
use crate::state::Console;

/// A preview or an approval, with its record as it is now.
#[derive(Debug)]
pub(crate) enum Loaded<C> {
    /// It can be confirmed.
    Open(C, Box<Record>),
    /// It was confirmed before.
    Used(C),
}

/// The result of a confirmation.
#[derive(Debug)]
pub(crate) struct Confirmation<C> {
    /// The preview or approval as it is now.
    pub(crate) confirmed: C,
    /// What was done, and to which record; `None` if it had been done before.
    pub(crate) done: Option<(AuditKind, Box<Record>)>,
}

impl<C: Confirmable> Confirmation<C> {
    pub(crate) fn log_summary(&self, actor: &Actor) -> LogSummary {
        match &self.done {
            Some((kind, record)) => LogSummary::audited(*kind, actor).about(record),
            None => LogSummary::new(LogOutcome::DoneBefore, actor).about_id(&self.confirmed.proposal().record),
        }
    }
}

/// How often, and after which pause, a confirmation checks again while the record is held.
const ROUNDS: usize = 12;
const PAUSE: Duration = Duration::from_millis(250);

impl Console {
    /// Reads a preview or an approval, and checks whether it can be confirmed now.
    pub(crate) async fn load<C: Confirmable>(&self, actor: &Actor, id: &str) -> Result<Loaded<C>, ConsoleError> {
        let loaded = C::read(self, actor, id).await?;
        if loaded.is_used() {
            // Records on another store are written later, so a preview may be used although its record is not settled.
            if !self.store.are_with_effects() {
                self.require_settled(&loaded).await?;
            }
            return Ok(Loaded::Used(loaded));
        }
        if loaded.expires() <= self.now().0 {
            return Err(C::expired());
        }
        let record = match self.record_as_shown(&loaded).await {
            Ok(record) => record,
            // Another click may have changed it between our two reads. Record and preview are written together, so a
            // preview that is still unused did not change the record.
            Err(error) => {
                let loaded = C::read(self, actor, id).await?;
                return if loaded.is_used() { Ok(Loaded::Used(loaded)) } else { Err(error) };
            }
        };
        self.require_open(&record)?;
        Ok(Loaded::Open(loaded, Box::new(record)))
    }

    /// The record, if it is still in the version that was shown.
    async fn record_as_shown(&self, confirmable: &impl Confirmable) -> Result<Record, ConsoleError> {
        let proposal = confirmable.proposal();
        let id = id_of(short(&proposal.record)).ok_or_else(ConsoleError::no_record)?;
        let record = self.store.read(&id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        let now = record.as_ref().map(snapshot);
        let held = |record: &Record| matches!(Openness::of(record, self.now()), Openness::Held(_));
        match record {
            Some(record) if now.as_ref().is_some_and(|now| now.version == proposal.shown.version) => Ok(record),
            record => {
                let is_held = record.as_ref().is_some_and(held);
                let (record, shown) = (short(&proposal.record).to_owned(), proposal.shown.clone());
                Err(ConsoleError::record_changed(RecordChange { record, shown, now }, is_held))
            }
        }
    }

    /// Executes a preview or an approval once, unless the provider contradicts it now. A repeat reports that it was
    /// done before.
    pub(crate) async fn confirm<C: Confirmable>(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        id: &str,
    ) -> Result<Confirmation<C>, ConsoleError> {
        actor.require_operator()?;
        let (mut tried, mut refused) = (false, None);
        for _ in 0..ROUNDS {
            match self.load::<C>(actor, id).await {
                // This confirmation used the proposal without settling the record, because only one of the two was
                // written. Another click may have done both. With records on another store, `load` has checked already.
                Ok(Loaded::Used(confirmed)) => {
                    if tried && self.store.are_with_effects() {
                        self.require_settled(&confirmed).await?;
                    }
                    return Ok(Confirmation { confirmed, done: None });
                }
                Ok(Loaded::Open(confirmable, record)) if !tried => {
                    confirmable.require_permission(actor)?;
                    (tried, refused) = (true, None);
                    if let Some((confirmed, kind)) = self.execute(confirmable, actor, invocation, &record).await? {
                        return Ok(Confirmation { confirmed, done: Some((kind, record)) });
                    }
                }
                // The first click or a search for evidence may still hold the record; both end soon.
                Err(error) if error.held => {
                    tokio::time::sleep(PAUSE).await;
                    refused = Some(error);
                }
                Err(error) if error.change.is_none() || !tried => return Err(error),
                Ok(Loaded::Open(..)) | Err(_) => break,
            }
        }
        Err(refused.unwrap_or_else(ConsoleError::not_done))
    }

    /// Requires that the record of a used preview or approval is settled, unless its use only requested an approval.
    async fn require_settled(&self, confirmed: &impl Confirmable) -> Result<(), ConsoleError> {
        let id = id_of(short(&confirmed.proposal().record)).ok_or_else(ConsoleError::no_record)?;
        let record = self.store.read(&id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        match record.map(|record| Openness::of(&record, self.now())) {
            _ if confirmed.is_request() => Ok(()),
            Some(Openness::Held(_)) => Err(ConsoleError { held: true, ..ConsoleError::not_settled() }),
            Some(openness) if openness != Openness::Closed => Err(ConsoleError::not_settled()),
            Some(_) | None => Ok(()),
        }
    }

    /// Settles the record or, if a preview has no evidence, requests another operator's approval. `None` if nothing was
    /// written.
    async fn execute<C: Confirmable>(
        &self,
        confirmable: C,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
    ) -> Result<Option<(C, AuditKind)>, ConsoleError> {
        let action = &confirmable.proposal().action;
        let kind = AuditKind::Settled(action.kind());
        let check = self.check_and_prevent(record, action).await?;
        let now = self.now().0;
        if let Some(preview) = confirmable.needs_approval().filter(|_| !check.is_evidence) {
            let requested = self.request_approval(preview, actor, invocation, record, &check, now).await?;
            return Ok(requested.map(|id| (confirmable.used(actor, now, Some(id)), AuditKind::Requested)));
        }
        let settlement = Settlement {
            id: confirmable.id(),
            proposal: confirmable.proposal(),
            actor,
            requested_by: confirmable.requested_by(),
            check: &check,
            invocation,
            used: confirmable.write_used(&self.table, actor, now),
        };
        let settled = self.settle(record, settlement).await?;
        Ok(settled.then(|| (confirmable.used(actor, now, None), kind)))
    }

    /// The id of the requested approval, or `None` if the preview was used before.
    async fn request_approval(
        &self,
        preview: &Preview,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
        check: &ProviderCheck,
        now: u64,
    ) -> Result<Option<Uuid>, ConsoleError> {
        let approval = Approval::of(preview, Uuid::now_v7(), check.to_text(), now);
        let entry = AuditEntry {
            id: preview.token,
            at: now,
            kind: AuditKind::Requested,
            record: preview.proposal.record.clone(),
            transaction: Some(record.transaction),
            attempt: Some(record.attempt),
            actor: actor.name.clone(),
            requested_by: None,
            request: invocation.id.map(|id| id.to_string()),
            reason: Some(preview.proposal.reason.clone()),
            evidence: Some(format::requested_action(&preview.proposal.action)),
            provider: Some(check.to_text()),
        };
        let requested = self.table.request_approval(preview, &approval, &entry).await;
        let requested = requested.map_err(|error| ConsoleError::uncertain(&error))?;
        Ok(requested.then_some(approval.id))
    }
}
