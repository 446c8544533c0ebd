//! What came of one request.

use std::fmt::{self, Display};
use std::time::Instant;

use super::request::Ending;

/// What happened to one client with one of its rules in one scenario.
pub(crate) struct Cell {
    pub(super) ending: Ending,
    /// When its requests arrived.
    pub(crate) tries: Vec<Instant>,
    pub(crate) charges: usize,
    /// Of the account in the ledger.
    pub(crate) entries: usize,
}

impl Cell {
    /// Whether the client's caller got the payment.
    pub(crate) fn has_paid(&self) -> bool {
        let paid = self.ending.json();
        self.ending.status == Some(201) && paid["amount"] == 1999 && paid["status"] == "succeeded"
    }

    /// As it is on the page.
    pub(super) fn shown(&self) -> String {
        match (self.has_paid(), self.charges) {
            (true, 1) => "201".to_owned(),
            (false, 1) => "error, charged".to_owned(),
            (false, 0) => "error".to_owned(),
            _ => self.to_string(),
        }
    }
}

impl Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ending: Ending { status, body, error, seconds, .. }, tries, charges, entries } = self;
        let tries = tries.len();
        write!(f, "{status:?} {error} {body} after {seconds:.1} s, {tries} tries, {charges} charges, {entries} entries")
    }
}
