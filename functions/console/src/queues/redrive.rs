//! Sending one dead letter to its queue again.

use std::time::Duration;

use aws_sdk_sqs::types::ChangeMessageVisibilityBatchRequestEntry;
use payments::{AuditEntry, AuditKind, Invocation};
use uuid::Uuid;

use super::{DeadLetter, Queues};
use crate::auth::Actor;
use crate::error::ConsoleError;
use crate::state::Console;

/// How long the received messages are hidden: longer than the function runs. After that they become visible again.
const HIDDEN: Duration = Duration::from_secs(30);

/// How many times ten messages are received to find one.
const ROUNDS: usize = 5;

impl Console {
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

impl Queues {
    /// The dead letter with this id, hidden from other receivers. Messages that were received during the search are
    /// collected.
    async fn find(&self, id: &str, others: &mut Vec<DeadLetter>) -> Result<Option<DeadLetter>, aws_sdk_sqs::Error> {
        for _ in 0..ROUNDS {
            let received = self.receive(HIDDEN).await?;
            if received.is_empty() {
                break;
            }
            let (mut found, rest): (Vec<_>, Vec<_>) = received.into_iter().partition(|letter| letter.id == id);
            others.extend(rest);
            if let Some(found) = found.pop() {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    async fn move_back(&self, letter: &DeadLetter) -> Result<(), aws_sdk_sqs::Error> {
        let attributes = Some(letter.attributes.clone()).filter(|attributes| !attributes.is_empty());
        let send = self.client.send_message().queue_url(&self.ledger).message_body(&letter.body);
        send.set_message_attributes(attributes).send().await?;
        let delete = self.client.delete_message().queue_url(&self.ledger_dead_letters).receipt_handle(&letter.receipt);
        delete.send().await?;
        Ok(())
    }

    /// Makes messages visible again. If this fails, they become visible after [`HIDDEN`].
    async fn show_again(&self, letters: &[DeadLetter]) {
        for letters in letters.chunks(10) {
            let entries = letters.iter().enumerate().filter_map(|(number, letter)| {
                let entry = ChangeMessageVisibilityBatchRequestEntry::builder().id(number.to_string());
                entry.receipt_handle(&letter.receipt).visibility_timeout(0).build().ok()
            });
            let request = self.client.change_message_visibility_batch().queue_url(&self.ledger_dead_letters);
            if let Err(error) = request.set_entries(Some(entries.collect())).send().await {
                let error = aws_sdk_sqs::Error::from(error);
                tracing::warn!(error = &error as &dyn std::error::Error, "dead letters stay hidden for half a minute");
            }
        }
    }
}
