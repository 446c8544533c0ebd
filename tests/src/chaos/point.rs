//! The writes of the protocol, as they pass the proxy: places at which a process can be killed by name.

use super::toll::Function;
use crate::proxy::{Moment, body};

/// What a write does to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Begins an attempt over nothing, or over what was released.
    Claim,
    /// Takes what somebody else holds, or held.
    Takeover,
    /// Settles with an outcome.
    Commit,
    /// Settles without a claim.
    OneTrip,
    /// Nothing was executed.
    Release,
    /// It is not known what was.
    Abandon,
    /// Settles from evidence, or runs again after it.
    Reconcile,
}

impl Step {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Claim, Self::Takeover, Self::Commit, Self::OneTrip, Self::Release, Self::Abandon, Self::Reconcile];

    /// What this request does, if it writes a record. The record is the first of what a transaction writes.
    pub(super) fn of(request: &[u8]) -> Option<Self> {
        let request = body(request);
        let in_transaction = &request["TransactItems"][0]["Put"];
        let put = if in_transaction.is_object() { in_transaction } else { &request };
        let (record, values) = (&put["Item"], &put["ExpressionAttributeValues"]);
        let (status, is_held) = (record["status"]["S"].as_str()?, record["owner"].is_object());
        match (status, values[":owner"].is_object(), is_held) {
            ("SUCCESS" | "FAILED", true, _) => Some(Self::Commit),
            ("PROCESSING", true, true) => Some(Self::Reconcile),
            ("PROCESSING", true, false) => Some(Self::Release),
            ("UNKNOWN", true, _) => Some(Self::Abandon),
            ("SUCCESS" | "FAILED", false, _) => Some(Self::OneTrip),
            ("PROCESSING", false, _) if values[":seen_owner"].is_null() => Some(Self::Claim),
            ("PROCESSING" | "UNKNOWN", false, _) => Some(Self::Takeover),
            _ => None,
        }
    }

    /// The same, as it is called where this function does it.
    pub(super) fn by(self, function: Function) -> Self {
        match (self, function) {
            (Self::Commit, Function::Reconciler) => Self::Reconcile,
            (step, Function::PaymentsApi | Function::LedgerWorker | Function::Reconciler) => step,
        }
    }
}

/// A step, before it arrives or between its effect and its reply.
pub(super) type Point = (Step, Moment);

/// All points.
pub(super) fn points() -> impl Iterator<Item = Point> {
    Step::ALL.into_iter().flat_map(|step| MOMENTS.map(|moment| (step, moment)))
}

pub(super) const MOMENTS: [Moment; 2] = [Moment::Before, Moment::After];
