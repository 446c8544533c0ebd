use aws_sdk_dynamodb::types::TransactWriteItem;
use idempotency::Attempt;
use idempotency::sequence::{Entry, Gap, SequenceGate};

use crate::{Sale, Table};

/// Posts terminals' sales to the ledger, from the queue and from the stream alike: a sale that arrives by both is
/// posted once.
///
/// No sale may be missing, so a later one waits for the earlier ones. And none may be dropped: a sequence number that
/// arrives again with a different account, amount or currency is a conflict, which only people can settle.
#[derive(Clone, Debug)]
pub struct Terminals {
    table: Table,
    gate: SequenceGate,
}

impl Terminals {
    /// Posts into this table.
    pub fn new(table: Table) -> Self {
        Self { gate: SequenceGate::new(table.name(), Gap::Hold), table }
    }

    /// Adds the writes of a sale to an attempt: its two entries, the balance, and the terminal's sequence number.
    ///
    /// The clearing entry records which sale used a number: its key derives from terminal and number alone, while the
    /// customer's entry would have another key if the sale named another account.
    pub fn post(&self, attempt: &Attempt<TransactWriteItem>, sale: &Sale) {
        let (other_side, writes) = self.table.sold(sale);
        let entry = Entry::new(other_side, sale.content());
        // The sequence gate comes first, because the first refused effect determines the result: for a duplicate, the
        // others are refused as well.
        self.gate.pass(attempt, Table::terminal(&sale.terminal), sale.sequence, entry);
        writes.into_iter().for_each(|write| attempt.add_effect(write));
    }
}
