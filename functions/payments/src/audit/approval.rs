use uuid::Uuid;

use super::{Preview, Proposal};

/// A proposal that needs a second operator's approval, because the provider gave no evidence for it.
///
/// It can be approved once, by another operator than the one who requested it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// Its id: a UUIDv7, by which approvals sort. Not a secret.
    pub id: Uuid,
    /// The operator who requested it: the subject of their token.
    pub requested_by: String,
    /// The proposal.
    pub proposal: Proposal,
    /// The provider's answer at the time of the request.
    pub provider: String,
    /// When it was requested, in epoch milliseconds.
    pub created: u64,
    /// Who approved it, and when in epoch milliseconds.
    pub used: Option<(String, u64)>,
}

impl Approval {
    /// How long it can be approved, in milliseconds: a day, within which another operator is on duty.
    pub const LIFETIME_MS: u64 = 24 * 60 * 60 * 1000;

    /// Requests approval, under this new id, of a preview that its operator has confirmed.
    pub fn of(preview: &Preview, id: Uuid, provider: String, now: u64) -> Self {
        let (requested_by, proposal) = (preview.actor.clone(), preview.proposal.clone());
        Self { id, requested_by, proposal, provider, created: now, used: None }
    }

    /// When it expires, in epoch milliseconds.
    pub fn expires(&self) -> u64 {
        self.created + Self::LIFETIME_MS
    }
}
