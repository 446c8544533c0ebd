mod approval;
mod preview;

pub use approval::Approval;
pub use preview::{Action, Preview, Shown};

use std::fmt;

use uuid::Uuid;

/// One thing that was done to a record by hand, or that went against what was done by hand. Entries are added and
/// never changed.
///
/// It holds no idempotency key, no body and no principal of the record: who may read the audit learns who settled
/// what, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Names the entry; together with the time it is its place in the audit. For a confirmed preview it is the
    /// preview's token.
    pub id: Uuid,
    /// When, in epoch milliseconds.
    pub at: u64,
    /// What.
    pub kind: AuditKind,
    /// To which record, by its whole id.
    pub record: String,
    /// The transaction id that the record had.
    pub transaction: Uuid,
    /// The attempt that the record was at.
    pub attempt: u64,
    /// Who: the subject of the operator's token, or the name of the function.
    pub actor: String,
    /// Who had asked for it, if another operator approved it: without evidence, it takes two.
    pub requested_by: Option<String>,
    /// The request in which it was done, as the logs name it.
    pub request: Option<String>,
    /// The operator's reason.
    pub reason: Option<String>,
    /// What it was based on: the provider's reference, the operator's evidence, what a late owner had to say. Of a request,
    /// what was asked for.
    pub evidence: Option<String>,
    /// What the provider said at that moment, or that it gave no evidence.
    pub provider: Option<String>,
}

/// What an audit entry tells of; stored and shown as one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditKind {
    /// `asked`: an operator asked the provider. The record is as it was.
    Asked,
    /// `requested`: an operator wants to settle or release the record without evidence from the provider, and waits for
    /// another's approval. The record is as it was.
    Requested,
    /// `succeeded`: an operator settled the record as SUCCESS.
    Succeeded,
    /// `failed`: an operator settled the record as FAILED.
    Failed,
    /// `released`: an operator released the record; the next call with its key runs again.
    Released,
    /// `late-owner`: an attempt ended after others had taken its record over; what it would have written was refused.
    LateOwner,
}

impl AuditKind {
    const ALL: [Self; 6] =
        [Self::Asked, Self::Requested, Self::Succeeded, Self::Failed, Self::Released, Self::LateOwner];

    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Requested => "requested",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Released => "released",
            Self::LateOwner => "late-owner",
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

/// Which entries of the audit are asked for; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this actor.
    pub actor: Option<String>,
    /// Of this record, by its whole id.
    pub record: Option<String>,
    /// Not before this time, in epoch milliseconds.
    pub since: u64,
}

/// Some entries of the audit, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// Where the next page begins. With a filter a page may be short, or empty, and still have a next one.
    pub next: Option<AuditCursor>,
}

/// A place in the audit: the time and the id of the last entry that was read. Written `<epoch ms>.<id>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditCursor {
    pub(crate) at: u64,
    pub(crate) id: Uuid,
}

impl AuditCursor {
    /// The cursor as written by `Display`.
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

/// The end of what thirteen digits of milliseconds can say: the year 2286.
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
