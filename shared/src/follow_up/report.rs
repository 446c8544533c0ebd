//! The results of follow-ups.

use serde::Serialize;

use crate::reconcile::Reconciled;

/// The results of an invocation, for the log and for people who invoke the function.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FollowUpReport {
    /// Settled as SUCCESS.
    pub happened: usize,
    /// Settled as FAILED.
    pub refused: usize,
    /// Released: it did not happen and cannot.
    pub prevented: usize,
    /// Left UNKNOWN; the stream of the table leads to the next look.
    pub unclear: usize,
    /// Settled or released before the look, deleted, or changed since: a later version has its own follow-up.
    pub over: usize,
    /// Sent again for a later look: not due yet, no time left, or the store did not answer.
    pub sent: usize,
    /// Given up after too many failures.
    pub given_up: usize,
}

impl FollowUpReport {
    pub(super) const fn count(&mut self, reconciled: Reconciled) {
        let counter = match reconciled {
            Reconciled::Happened => &mut self.happened,
            Reconciled::Refused => &mut self.refused,
            Reconciled::Prevented => &mut self.prevented,
            Reconciled::Unclear => &mut self.unclear,
            Reconciled::NotOpen | Reconciled::Foreign => &mut self.over,
        };
        *counter += 1;
    }
}
