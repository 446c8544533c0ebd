//! Messages with a number that only grows: those of a device, which pass the sequence gate, or of a FIFO group.

use std::num::NonZeroU64;

use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::protocol::{Fingerprint, Fingerprinter};
use idempotency::sequence::{Entry, Gap, SequenceGate};

use super::table::{EFFECT, Table, key};

/// A message of a device or group.
#[derive(Clone, Copy)]
pub(super) struct Numbered {
    /// The message's own name.
    pub(super) id: &'static str,
    /// Its device or group.
    pub(super) of: &'static str,
    pub(super) number: u64,
    /// Its content under its number.
    pub(super) content: &'static str,
}

/// `a 1, a 1 again, a 1 other`: the first message of the device `a`, its copy under another name, and another message
/// under its number.
pub(super) fn numbered(messages: &'static str) -> Vec<Numbered> {
    let message = |id: &'static str| Numbered {
        id,
        of: &id[..1],
        number: id[2..3].parse().expect("a digit"),
        content: if id.ends_with("other") { "other" } else { "" },
    };
    messages.split(", ").filter(|id| !id.is_empty()).map(message).collect()
}

impl Numbered {
    /// Passes the gate of its device, with an entry that keeps its content.
    pub(super) fn pass(&self, attempt: &Attempt<TransactWriteItem>, gap: Gap) {
        let number = NonZeroU64::new(self.number).expect("from 1");
        let entry = Entry::new(key(self.entry_id()), self.digest());
        SequenceGate::new("Table", gap).pass(attempt, key(self.of), number, entry);
    }

    /// Whether the device's number was used for this content.
    pub(super) fn is_kept(&self, table: &Table) -> bool {
        table.keeps(&self.entry_id(), self.digest())
    }

    /// The effect of the device's number.
    fn entry_id(&self) -> String {
        format!("{EFFECT}{} {}", self.of, self.number)
    }

    fn digest(&self) -> Fingerprint {
        Fingerprinter::new().bytes(self.content.as_bytes()).finish()
    }
}
