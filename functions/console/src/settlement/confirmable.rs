use std::future::Future;

use aws_sdk_dynamodb::types::TransactWriteItem;
use payments::{Approval, Preview, Proposal, Table};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::state::Console;

/// A proposal that one operator can confirm once: their own preview, or another operator's request for approval.
pub(crate) trait Confirmable: Clone + Send + Sync + Sized {
    /// Reads it by its id. A preview of another operator is not found.
    fn read(console: &Console, actor: &Actor, id: &str) -> impl Future<Output = Result<Self, ConsoleError>> + Send;

    fn id(&self) -> Uuid;
    fn proposal(&self) -> &Proposal;
    /// The operator who requested it, if another one confirms it.
    fn requested_by(&self) -> Option<&str>;
    /// In epoch milliseconds.
    fn expires(&self) -> u64;
    fn is_used(&self) -> bool;
    fn expired() -> ConsoleError;

    /// Refuses an operator who may not confirm it.
    fn require_permission(&self, actor: &Actor) -> Result<(), ConsoleError>;

    /// This preview, if another operator must approve it when there is no evidence.
    fn needs_approval(&self) -> Option<&Preview>;

    /// The write that marks it as used.
    fn write_used(&self, table: &Table, actor: &Actor, now: u64) -> TransactWriteItem;

    /// Whether its use requested an approval, so that the record is still open.
    fn is_request(&self) -> bool;

    /// The proposal after this operator has used it, for an approval with this id.
    fn used(self, actor: &Actor, now: u64, approval: Option<Uuid>) -> Self;
}

impl Confirmable for Preview {
    async fn read(console: &Console, actor: &Actor, id: &str) -> Result<Self, ConsoleError> {
        let token = Uuid::try_parse(id).map_err(|_| ConsoleError::no_preview())?;
        let preview = console.table.preview(token).await.map_err(|error| ConsoleError::unavailable(&error))?;
        preview.filter(|preview| preview.actor == actor.name).ok_or_else(ConsoleError::no_preview)
    }

    fn id(&self) -> Uuid {
        self.token
    }

    fn proposal(&self) -> &Proposal {
        &self.proposal
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

    fn expired() -> ConsoleError {
        ConsoleError::preview_expired()
    }

    /// Only its own operator can read it.
    fn require_permission(&self, _: &Actor) -> Result<(), ConsoleError> {
        Ok(())
    }

    fn needs_approval(&self) -> Option<&Preview> {
        Some(self)
    }

    fn write_used(&self, table: &Table, _: &Actor, now: u64) -> TransactWriteItem {
        table.preview_used(self, now)
    }

    fn is_request(&self) -> bool {
        self.approval.is_some()
    }

    fn used(self, _: &Actor, now: u64, approval: Option<Uuid>) -> Self {
        Self { used: Some(now), approval, ..self }
    }
}

impl Confirmable for Approval {
    async fn read(console: &Console, _: &Actor, id: &str) -> Result<Self, ConsoleError> {
        let id = Uuid::try_parse(id).map_err(|_| ConsoleError::no_approval())?;
        let approval = console.table.approval(id).await.map_err(|error| ConsoleError::unavailable(&error))?;
        approval.ok_or_else(ConsoleError::no_approval)
    }

    fn id(&self) -> Uuid {
        self.id
    }

    fn proposal(&self) -> &Proposal {
        &self.proposal
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

    fn expired() -> ConsoleError {
        ConsoleError::approval_expired()
    }

    fn require_permission(&self, actor: &Actor) -> Result<(), ConsoleError> {
        if self.requested_by == actor.name { Err(ConsoleError::same_operator()) } else { Ok(()) }
    }

    fn needs_approval(&self) -> Option<&Preview> {
        None
    }

    fn write_used(&self, table: &Table, actor: &Actor, now: u64) -> TransactWriteItem {
        table.approved(self, &actor.name, now)
    }

    fn is_request(&self) -> bool {
        false
    }

    fn used(self, actor: &Actor, now: u64, _: Option<Uuid>) -> Self {
        Self { used: Some((actor.name.clone(), now)), ..self }
    }
}
