use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::AuditKind;

/// What an operator was shown before confirming, and the single use of confirming it.
///
/// Bound to the record as it was seen, to the action with its parameters, and to who asked: a confirmation carries the
/// token only, so it can confirm nothing else, for nobody else, and once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// The token: 16 random bytes.
    pub token: Uuid,
    /// Who may use it.
    pub actor: String,
    /// The record, by its whole id.
    pub record: String,
    /// The record as it was seen.
    pub shown: Shown,
    /// What is to be done.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// When it was made, in epoch milliseconds.
    pub created: u64,
    /// When it was used, in epoch milliseconds.
    pub used: Option<u64>,
    /// The approval that it led to, where one operator was not enough.
    pub approval: Option<Uuid>,
}

impl Preview {
    /// For how long it can be confirmed, in milliseconds.
    pub const LIFETIME_MS: u64 = 10 * 60 * 1000;

    /// From when on it can no longer be confirmed, in epoch milliseconds.
    pub fn expires(&self) -> u64 {
        self.created + Self::LIFETIME_MS
    }
}

/// One version of a record, and what people see of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// A digest of all that identifies the version. Equal for equal versions.
    pub version: String,
    /// The record's status.
    pub status: String,
    /// The number of its last attempt.
    pub attempt: u64,
    /// When it was last written, in epoch milliseconds.
    pub updated: u64,
}

/// How an operator ends what is UNKNOWN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Action {
    /// It happened: settle as SUCCESS.
    Succeed {
        /// The provider's id of what happened: a payment intent or a refund.
        reference: String,
        /// Whether the provider confirmed at the preview that this is the one. It is asked again at the confirmation.
        verified: bool,
    },
    /// It did not happen and cannot happen any more: settle as FAILED.
    Fail {
        /// What shows it.
        evidence: String,
    },
    /// It did not happen and cannot happen any more: release, so that the next call with the key runs.
    Release,
}

impl Action {
    /// What the audit calls it when it is done.
    pub fn kind(&self) -> AuditKind {
        match self {
            Self::Succeed { .. } => AuditKind::Succeeded,
            Self::Fail { .. } => AuditKind::Failed,
            Self::Release => AuditKind::Released,
        }
    }

    /// What the operator bases it on.
    pub fn evidence(&self) -> Option<String> {
        match self {
            Self::Succeed { reference, .. } => Some(reference.clone()),
            Self::Fail { evidence } => Some(evidence.clone()),
            Self::Release => None,
        }
    }
}
