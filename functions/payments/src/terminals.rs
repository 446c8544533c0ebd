use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::sequence::{Entry, Gap, SequenceGate};

use crate::{Sale, Table};

/// The way of terminals' sales into the ledger, the same by queue and by stream: a sale that comes by both is posted once.
///
/// Sales are money: none may be missing, so a later one waits for those before it. And none may be swallowed: a number
/// that comes again with another account, amount or currency is a conflict, which nobody settles but people.
#[derive(Clone, Debug)]
pub struct Terminals {
    table: Table,
    gate: SequenceGate,
}

impl Terminals {
    /// The way into this table.
    pub fn new(table: Table) -> Self {
        Self { gate: SequenceGate::new(table.name(), Gap::Hold), table }
    }

    /// Adds to an attempt all that posts a sale: its two entries, the balance, and the terminal's number.
    ///
    /// The entry of the other side is the one that tells what a number was used for: its key follows from terminal and
    /// number alone, while the customer's would be elsewhere if the sale named another account.
    pub fn post(&self, attempt: &Attempt<TransactWriteItem>, sale: &Sale) {
        let (other_side, writes) = self.table.sold(sale);
        let entry = Entry::new(other_side, sale.content());
        // First, because the first refused effect decides: of a duplicate, the rest is refused as well.
        self.gate.pass(attempt, Table::terminal(&sale.terminal), sale.sequence, entry);
        writes.into_iter().for_each(|write| attempt.add_effect(write));
    }
}
