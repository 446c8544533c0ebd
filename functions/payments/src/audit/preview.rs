use uuid::Uuid;

use super::Proposal;

/// A proposal that its operator can confirm once.
///
/// A confirmation carries only the token. It is bound to the proposal and to its operator, so that it can confirm
/// nothing else, for nobody else, and only once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The token: 16 random bytes.
    pub token: Uuid,
    /// The operator: the subject of the token that signed in.
    pub actor: String,
    /// The proposal.
    pub proposal: Proposal,
    /// When it was made, in epoch milliseconds.
    pub created: u64,
    /// When it was confirmed, in epoch milliseconds.
    pub used: Option<u64>,
    /// The approval that it requested, if one operator was not enough.
    pub approval: Option<Uuid>,
}

impl Preview {
    /// How long it can be confirmed, in milliseconds.
    pub const LIFETIME_MS: u64 = 10 * 60 * 1000;

    /// When it expires, in epoch milliseconds.
    pub fn expires(&self) -> u64 {
        self.created + Self::LIFETIME_MS
    }
}
