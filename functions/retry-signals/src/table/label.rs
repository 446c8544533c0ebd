//! What an operator's label does.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use signals::Memory;

use super::signal::{Label, Labelling, Signal};
use super::{Signals, TableError};

impl Signals {
    /// Labels a signal, or takes its label back, and changes the memory of its entity in the same transaction:
    ///
    /// * *fine*: what the signal's detector has counted today belongs to the entity's past at once, and it stays silent for
    ///   30 days unless its rate doubles;
    /// * *abuse* and *client bug*: nothing of it stays in the entity's past. The scorer leaves the entity's day out of the
    ///   calibration, and out of what peers are learned from, for as long as the label stands;
    /// * taken back: a silence ends. A past that was forgotten stays so, and begins anew.
    ///
    /// # Errors
    /// [`TableError::Changed`] if the signal or the memory is no longer what was read: nothing was written.
    pub async fn label(&self, signal: &Signal, labelling: Labelling) -> Result<(), TableError> {
        let stored = self.memory(signal.kind, &signal.entity).await?;
        let mut memory = stored.memory.clone();
        apply(&mut memory, signal, labelling.label);
        let now_s = labelling.at_ms / 1000;
        let writes = [
            self.replace_signal(signal, labelling.clone())?,
            self.replace_memory(signal.kind, &signal.entity, &stored, &memory, now_s)?,
        ];
        match self.client.transact_write_items().set_transact_items(Some(writes.into())).send().await {
            Ok(_) => Ok(()),
            Err(SdkError::ServiceError(error)) => match error.into_err() {
                TransactWriteItemsError::TransactionCanceledException(_) => {
                    let found = self.signal(signal.day, signal.kind, &signal.entity).await?;
                    // Our own earlier try, whose reply was lost.
                    let is_done = found.is_some_and(|found| found.labellings.contains(&labelling));
                    if is_done { Ok(()) } else { Err(TableError::Changed(format!("signal {}", signal.entity))) }
                }
                error => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn apply(memory: &mut Memory, signal: &Signal, label: Option<Label>) {
    match label {
        Some(Label::Fine) => memory.call_fine(signal.detector, signal.last_window()),
        Some(Label::Abuse | Label::ClientBug) => {
            memory.end_silence(signal.detector);
            memory.forget_past();
        }
        None => memory.end_silence(signal.detector),
    }
}
