//! The ledger's dead letters: listing them, and sending one of them again.

use payments::{AuditEntry, AuditKind, Invocation};
use uuid::Uuid;

use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::queues::DeadLetter;
use crate::state::Console;

impl Console {
    /// Some of the ledger's dead letters, each once, and oldest first.
    pub(crate) async fn dead_letters(&self) -> Result<Vec<DeadLetter>, ConsoleError> {
        self.queues.dead_letters().await.map_err(|error| ConsoleError::no_queue(&error))
    }

    /// Sends one dead letter to the ledger's queue again, and deletes it here. SQS cannot look a message up by its id,
    /// so messages are received until the right one is among them.
    ///
    /// The message is sent before it is deleted: if the console dies in between, it is sent twice, and posted once.
    pub(crate) async fn redrive(&self, actor: &Actor, invocation: &Invocation, id: &str) -> Result<(), ConsoleError> {
        actor.require_operator()?;
        let mut left = Vec::new();
        let found = self.queues.find(id, &mut left).await;
        let sent = match found {
            Ok(Some(letter)) => {
                let sent = self.redrive_found(actor, invocation, &letter).await;
                // A message that was not deleted becomes visible at once, so that an operator can try again.
                left.extend(sent.is_err().then_some(letter));
                sent
            }
            Ok(None) => Err(ConsoleError::no_dead_letter()),
            Err(error) => Err(ConsoleError::no_queue(&error)),
        };
        self.queues.show_again(&left).await;
        sent
    }

    async fn redrive_found(
        &self,
        actor: &Actor,
        invocation: &Invocation,
        letter: &DeadLetter,
    ) -> Result<(), ConsoleError> {
        // The audit is written first, because a surplus entry is better than a missing one.
        let entry = AuditEntry {
            id: Uuid::now_v7(),
            at: self.now().0,
            kind: AuditKind::Redriven,
            record: format!("{}{}", AuditEntry::MESSAGE, letter.id),
            transaction: None,
            attempt: None,
            actor: actor.name.clone(),
            requested_by: None,
            request: invocation.id.map(|id| id.to_string()),
            reason: None,
            evidence: letter.content().err().map(|why| format!("It could not be read: {why}")),
            provider: None,
        };
        self.table.audit(&entry).await.map_err(|error| ConsoleError::unavailable(&error))?;
        self.queues.move_back(letter).await.map_err(|error| ConsoleError::not_redriven(&error))
    }
}
