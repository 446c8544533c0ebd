//! The effects of an operator's label.

use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use signals::Memory;

use super::signal::{Label, Labelling, Signal, Undo};
use super::{Signals, TableError};

impl Signals {
    /// Labels a signal, or takes its label back, and changes the memory of its entity in the same transaction:
    ///
    /// * *fine*: what the signal's detector has counted today belongs to the entity's past at once, and it stays silent
    ///   for 30 days unless its rate doubles;
    /// * *abuse* and *client bug*: the entity's past is removed; the signal keeps it. The scorer
    ///   leaves the entity's day out of the calibration, and out of what peers are learned from, for as long as the
    ///   label stands;
    /// * taken back, or replaced by another: a silence ends, and a past that was forgotten is restored.
    ///
    /// # Errors
    /// [`TableError::Changed`] if the signal or the memory is no longer what was read: nothing was written.
    pub async fn label(&self, signal: &Signal, labelling: Labelling) -> Result<(), TableError> {
        let stored = self.memory(signal.kind, &signal.entity).await?;
        let mut memory = stored.memory.clone();
        let mut labelled = signal.clone();
        labelled.version += 1;
        labelled.labellings.push(labelling.clone());
        labelled.undo = relabel(&mut memory, signal, labelling.label);
        let now_s = labelling.at_ms / 1000;
        let writes = [
            self.replace_signal(signal, &labelled)?,
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

/// Ends the effects of the label that the signal has, and begins those of the new one. Returns how to end them.
fn relabel(memory: &mut Memory, signal: &Signal, label: Option<Label>) -> Option<Undo> {
    match &signal.undo {
        Some(Undo::Silence(detector)) => memory.end_silence(*detector),
        Some(Undo::Past(forgotten)) => memory.restore_past(forgotten),
        None => {}
    }
    match label? {
        Label::Fine => {
            memory.call_fine(signal.detector, signal.last_window());
            Some(Undo::Silence(signal.detector))
        }
        Label::Abuse | Label::ClientBug => Some(Undo::Past(Box::new(memory.call_unusual(signal.detector)))),
    }
}
