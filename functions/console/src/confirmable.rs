use std::future::Future;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::protocol::Record;
use payments::{Action, Approval, AuditEntry, AuditKind, Preview, Shown, Table};
use uuid::Uuid;

use crate::auth::{Actor, Invocation};
use crate::error::Refusal;
use crate::evidence::Word;
use crate::format;
use crate::state::Console;

/// What entitles an operator to settle one record in one way, once: their own preview, which they confirm, or another's,
/// which they approve.
pub(crate) trait Warrant: Clone + Send + Sync + Sized {
    /// The warrant of this id, if there is one for whoever asks.
    fn read(console: &Console, actor: &Actor, id: &str) -> impl Future<Output = Result<Self, Refusal>> + Send;

    fn id(&self) -> Uuid;
    fn record(&self) -> &str;
    fn shown(&self) -> &Shown;
    fn action(&self) -> &Action;
    fn reason(&self) -> &str;
    /// Who asked for it, if that is not who uses it.
    fn requested_by(&self) -> Option<&str>;
    /// In epoch milliseconds.
    fn expires(&self) -> u64;
    fn is_used(&self) -> bool;
    fn expired() -> Refusal;

    /// Whether this operator may use it.
    fn admits(&self, actor: &Actor) -> Result<(), Refusal>;

    /// Its use, for the transaction that does what it is for.
    fn used_up(&self, table: &Table, actor: &Actor, now: u64) -> TransactWriteItem;

    /// Uses it: the warrant as it is then, and what was done. Nothing, if somebody else was at it.
    fn act(
        &self,
        console: &Console,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
        word: &Word,
    ) -> impl Future<Output = Result<Option<(Self, &'static str)>, Refusal>> + Send;
}

impl Warrant for Preview {
    async fn read(console: &Console, actor: &Actor, id: &str) -> Result<Self, Refusal> {
        let token = Uuid::try_parse(id).map_err(|_| Refusal::no_preview())?;
        let preview = console.table.preview(token).await.map_err(|error| Refusal::unavailable(&error))?;
        preview.filter(|preview| preview.actor == actor.name).ok_or_else(Refusal::no_preview)
    }

    fn id(&self) -> Uuid {
        self.token
    }

    fn record(&self) -> &str {
        &self.record
    }

    fn shown(&self) -> &Shown {
        &self.shown
    }

    fn action(&self) -> &Action {
        &self.action
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn requested_by(&self) -> Option<&str> {
        None
    }

    fn expires(&self) -> u64 {
        Self::expires(self)
    }

    fn is_used(&self) -> bool {
        self.used.is_some()
    }

    fn expired() -> Refusal {
        Refusal::preview_expired()
    }

    /// Only its own operator reads it.
    fn admits(&self, _: &Actor) -> Result<(), Refusal> {
        Ok(())
    }

    fn used_up(&self, table: &Table, _: &Actor, now: u64) -> TransactWriteItem {
        table.preview_used(self, now)
    }

    /// Without evidence, one operator is not enough: it becomes a request for another's approval.
    async fn act(
        &self,
        console: &Console,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
        word: &Word,
    ) -> Result<Option<(Self, &'static str)>, Refusal> {
        let now = format::now().0;
        if word.is_evidence {
            let settled = console.settle(self, actor, invocation, record, word).await?;
            let used = Self { used: Some(now), ..self.clone() };
            return Ok(settled.then_some((used, format::audited(self.action.kind()))));
        }
        let approval = Approval::of(self, Uuid::now_v7(), word.in_words(), now);
        let entry = AuditEntry {
            id: self.token,
            at: now,
            kind: AuditKind::Requested,
            record: self.record.clone(),
            transaction: record.transaction.uuid(),
            attempt: record.attempt,
            actor: actor.name.clone(),
            requested_by: None,
            request: invocation.request.clone(),
            reason: Some(self.reason.clone()),
            evidence: Some(format::wanted(&self.action)),
            provider: Some(word.in_words()),
        };
        let requested = console.table.request_approval(self, &approval, &entry).await;
        let requested = requested.map_err(|error| Refusal::uncertain(&error))?;
        let used = Self { used: Some(now), approval: Some(approval.id), ..self.clone() };
        Ok(requested.then_some((used, format::audited(AuditKind::Requested))))
    }
}

impl Warrant for Approval {
    async fn read(console: &Console, _: &Actor, id: &str) -> Result<Self, Refusal> {
        let id = Uuid::try_parse(id).map_err(|_| Refusal::no_approval())?;
        let approval = console.table.approval(id).await.map_err(|error| Refusal::unavailable(&error))?;
        approval.ok_or_else(Refusal::no_approval)
    }

    fn id(&self) -> Uuid {
        self.id
    }

    fn record(&self) -> &str {
        &self.record
    }

    fn shown(&self) -> &Shown {
        &self.shown
    }

    fn action(&self) -> &Action {
        &self.action
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn requested_by(&self) -> Option<&str> {
        Some(&self.requested_by)
    }

    fn expires(&self) -> u64 {
        Self::expires(self)
    }

    fn is_used(&self) -> bool {
        self.used.is_some()
    }

    fn expired() -> Refusal {
        Refusal::approval_expired()
    }

    fn admits(&self, actor: &Actor) -> Result<(), Refusal> {
        if self.requested_by == actor.name { Err(Refusal::same_operator()) } else { Ok(()) }
    }

    fn used_up(&self, table: &Table, actor: &Actor, now: u64) -> TransactWriteItem {
        table.approved(self, &actor.name, now)
    }

    async fn act(
        &self,
        console: &Console,
        actor: &Actor,
        invocation: &Invocation,
        record: &Record,
        word: &Word,
    ) -> Result<Option<(Self, &'static str)>, Refusal> {
        let settled = console.settle(self, actor, invocation, record, word).await?;
        let used = Self { used: Some((actor.name.clone(), format::now().0)), ..self.clone() };
        Ok(settled.then_some((used, format::audited(self.action.kind()))))
    }
}
