use uuid::Uuid;

use super::{Action, Preview, Shown};

/// An action of one operator that waits for another's approval, because the provider could not say whether it is right.
///
/// Bound to the record as it was seen, and to the action with its parameters. It can be approved once, by an operator
/// who is not the one who asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Names it: a UUIDv7, by which approvals sort. Not a secret.
    pub id: Uuid,
    /// Who asks: the subject of the operator's token.
    pub requested_by: String,
    /// The record, by its whole id.
    pub record: String,
    /// The record as it was seen.
    pub shown: Shown,
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// What the provider said when it was asked for.
    pub provider: String,
    /// When it was asked for, in epoch milliseconds.
    pub created: u64,
    /// Who approved it, and when in epoch milliseconds.
    pub used: Option<(String, u64)>,
}

impl Approval {
    /// For how long it can be approved, in milliseconds: a day, in which another operator is on duty.
    pub const LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;

    /// Asks for the approval of what an operator has previewed and confirmed, under this new id.
    pub fn of(preview: &Preview, id: Uuid, provider: String, now: u64) -> Self {
        Self {
            id,
            requested_by: preview.actor.clone(),
            record: preview.record.clone(),
            shown: preview.shown.clone(),
            action: preview.action.clone(),
            reason: preview.reason.clone(),
            provider,
            created: now,
            used: None,
        }
    }

    /// From when on it can no longer be approved, in epoch milliseconds.
    pub fn expires(&self) -> u64 {
        self.created + Self::LIFETIME_MS
    }
}
