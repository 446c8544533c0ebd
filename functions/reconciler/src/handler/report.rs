use idempotency::reconcile::Reconciled;
use serde::Serialize;

/// The result of a run, for the log and for manual invocations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    /// Another run holds the lock; this one did nothing.
    pub(crate) held_elsewhere: bool,
    /// How many of our records are UNKNOWN after the run; at most 1,000 are counted.
    pub(crate) unknown_open: usize,
    /// How long ago the first attempt of the oldest one started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unknown_oldest_age_s: Option<u64>,
    /// Settled as SUCCESS.
    pub(crate) happened: usize,
    /// Settled as FAILED.
    pub(crate) refused: usize,
    /// Released: it did not happen and cannot.
    pub(crate) prevented: usize,
    /// Left UNKNOWN.
    pub(crate) unclear: usize,
    /// Held or settled by another attempt in the meantime.
    pub(crate) not_open: usize,
    /// Could not be written.
    pub(crate) errors: usize,
    /// Records that their follow-up should have settled by now.
    pub(crate) missed: usize,
    /// Items that the scan for abandoned records has read.
    pub(crate) scanned: u64,
    /// Our records that the scan found PROCESSING with an expired lease.
    pub(crate) abandoned_found: usize,
    /// Other applications' records that are UNKNOWN or have an expired lease; they were not changed.
    pub(crate) foreign: usize,
}

impl Report {
    pub(super) fn count(&mut self, found: Option<Reconciled>) {
        let counter = match found {
            Some(Reconciled::Happened) => &mut self.happened,
            Some(Reconciled::Refused) => &mut self.refused,
            Some(Reconciled::Prevented) => &mut self.prevented,
            Some(Reconciled::Unclear) => &mut self.unclear,
            Some(Reconciled::NotOpen) => &mut self.not_open,
            Some(Reconciled::Foreign) => &mut self.foreign,
            None => &mut self.errors,
        };
        *counter += 1;
    }
}
