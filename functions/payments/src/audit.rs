mod action;
mod approval;
mod preview;
mod proposal;

pub use action::{Action, ActionKind};
pub use approval::Approval;
pub use preview::Preview;
pub use proposal::{Proposal, RecordSnapshot};

use std::fmt;

use idempotency::protocol::TransactionId;
use uuid::Uuid;

/// A manual action on a record, or an attempt that ended after the record had been settled. Entries are added and never
/// changed.
///
/// If records are in the same database, an entry and the action that it records are written together. Otherwise an
/// entry for the intended action is written first, and an entry with the same id follows when the action was carried
/// out.
///
/// An entry contains neither the record's idempotency key nor its body nor its principal: readers of the audit see who
/// settled what, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// The entry's id; together with the time it is the entry's place in the audit. For a confirmed preview it is the
    /// preview's token.
    pub id: Uuid,
    /// The time, in epoch milliseconds.
    pub at: u64,
    /// The kind of event.
    pub kind: AuditKind,
    /// The record's full id; of a dead letter, `message:` and the [message's id](Self::message).
    pub record: String,
    /// The record's transaction id at that time; a message has none.
    pub transaction: Option<TransactionId>,
    /// The record's attempt at that time; a message has none.
    pub attempt: Option<u64>,
    /// The subject of the operator's token, or the name of the function.
    pub actor: String,
    /// The operator who requested it, if another one approved it: without evidence, two operators are needed.
    pub requested_by: Option<String>,
    /// The id of the invocation, as in the logs.
    pub request: Option<String>,
    /// The operator's reason.
    pub reason: Option<String>,
    /// The basis: the provider's reference, the operator's evidence, or the result of a fenced attempt; for a request
    /// for approval, the requested action.
    pub evidence: Option<String>,
    /// The provider's answer at that moment, or that it gave no evidence.
    pub provider: Option<String>,
}

impl AuditEntry {
    /// The entry that follows this one, with the same id and at another position. An intended action becomes one that
    /// was carried out.
    #[must_use]
    pub fn followed(self, now: u64) -> Self {
        let kind = match self.kind {
            AuditKind::Intended(action) => AuditKind::Settled(action),
            other => other,
        };
        Self { kind, at: now.max(self.at + 1), ..self }
    }

    /// The message's id, if the entry is about a message instead of a record.
    pub fn message(&self) -> Option<&str> {
        self.record.strip_prefix(Self::MESSAGE)
    }

    /// The prefix of [`AuditEntry::record`] in an entry about a message.
    pub const MESSAGE: &str = "message:";
}

/// The kind of an audit entry; stored and shown as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// `asked`: an operator asked the provider. The record did not change.
    Asked,
    /// `reconciled`: an operator started the reconciler's search for evidence. The entry has its result.
    Reconciled,
    /// `redriven`: an operator sent a dead letter to its queue again.
    Redriven,
    /// `requested`: an operator requested another's approval, without evidence from the provider. The record did not
    /// change.
    Requested,
    /// `succeeded`, `failed` or `released`: an operator settled or released the record.
    Settled(ActionKind),
    /// `to-succeed`, `to-fail` or `to-release`: an operator was about to settle or release the record, which is in
    /// another database than this entry. A later entry or the record's history shows whether it was done.
    Intended(ActionKind),
    /// `late-owner`: an attempt ended after its record had been taken over; its writes were refused.
    FencedAttempt,
}

impl AuditKind {
    const ALL: [Self; 11] = [
        Self::Asked,
        Self::Reconciled,
        Self::Redriven,
        Self::Requested,
        Self::Settled(ActionKind::Succeed),
        Self::Settled(ActionKind::Fail),
        Self::Settled(ActionKind::Release),
        Self::Intended(ActionKind::Succeed),
        Self::Intended(ActionKind::Fail),
        Self::Intended(ActionKind::Release),
        Self::FencedAttempt,
    ];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Reconciled => "reconciled",
            Self::Redriven => "redriven",
            Self::Requested => "requested",
            Self::Settled(ActionKind::Succeed) => "succeeded",
            Self::Settled(ActionKind::Fail) => "failed",
            Self::Settled(ActionKind::Release) => "released",
            Self::Intended(ActionKind::Succeed) => "to-succeed",
            Self::Intended(ActionKind::Fail) => "to-fail",
            Self::Intended(ActionKind::Release) => "to-release",
            Self::FencedAttempt => "late-owner",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

impl fmt::Display for AuditKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A filter for audit entries; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The actor.
    pub actor: Option<String>,
    /// The full id of the record.
    pub record: Option<String>,
    /// The earliest time, in epoch milliseconds.
    pub since: u64,
}

/// A page of the audit, newest entry first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// Its entries.
    pub entries: Vec<AuditEntry>,
    /// Where the next page starts. With a filter, a page may be short or empty and still have a next one.
    pub next: Option<AuditCursor>,
}

/// A position in the audit: time and id of the last entry that was read. Written `<epoch ms>.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    pub(crate) at: u64,
    pub(crate) id: Uuid,
}

impl AuditCursor {
    /// Reads what `Display` writes.
    pub fn parse(text: &str) -> Option<Self> {
        let (at, id) = text.split_once('.')?;
        Some(Self { at: at.parse().ok().filter(|at| *at < LATEST)?, id: Uuid::try_parse(id).ok()? })
    }
}

impl fmt::Display for AuditCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.at, self.id.simple())
    }
}

/// The first time that thirteen digits of milliseconds cannot express: the year 2286.
pub(crate) const LATEST: u64 = 10_000_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word() {
        for kind in AuditKind::ALL {
            assert_eq!(AuditKind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(AuditKind::parse("settled"), None);
    }

    #[test]
    fn what_follows_an_intention_is_done_has_its_id_and_another_place() {
        let intention = AuditEntry {
            id: Uuid::from_u128(7),
            at: 5,
            kind: AuditKind::Intended(ActionKind::Fail),
            record: "idempotency:r".into(),
            transaction: None,
            attempt: Some(3),
            actor: "olga".into(),
            requested_by: None,
            request: None,
            reason: Some("the bank says so".into()),
            evidence: None,
            provider: None,
        };
        let done = AuditEntry { at: 6, kind: AuditKind::Settled(ActionKind::Fail), ..intention.clone() };
        assert_eq!(intention.clone().followed(5), done);
        // Independent of the clock.
        assert_eq!(intention.clone().followed(1), done);
        assert_eq!(intention.followed(9), AuditEntry { at: 9, ..done });
    }

    #[test]
    fn a_cursor_is_read_back_as_written_and_nothing_else_is_one() {
        let cursor = AuditCursor { at: 1_795_494_059_250, id: Uuid::from_u128(7) };
        assert_eq!(AuditCursor::parse(&cursor.to_string()), Some(cursor));
        for text in [
            "",
            ".",
            "1",
            "x.00000000000000000000000000000007",
            "1.7",
            "10000000000000.00000000000000000000000000000007",
        ] {
            assert_eq!(AuditCursor::parse(text), None, "{text}");
        }
    }
}
