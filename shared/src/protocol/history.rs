//! A record's history, for people: its events, with time and request.

use std::fmt;

use uuid::Uuid;

use super::EpochMs;

/// The events of a record, oldest first, for operators. Nothing depends on it.
///
/// It is bounded, so that a record stays small: at most [`History::MAX_ENTRIES`]. The first entry stays, and the oldest
/// entries after it are dropped. An unsuccessful reconciliation replaces the one before it; otherwise a long outage of
/// the external system would push out all other entries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct History(Vec<HistoryEntry>);

/// One entry of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HistoryEntry {
    /// The kind of event.
    pub event: HistoryEvent,
    /// The time, by the clock of the process that wrote the entry.
    pub at: EpochMs,
    /// The number of the attempt.
    pub attempt: u64,
    /// The invocation, if known.
    pub request: Option<InvocationId>,
}

/// The kind of event that an entry records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HistoryEvent {
    /// An attempt began to run.
    Claimed,
    /// The attempt executed nothing; the next call may begin again.
    Released,
    /// The attempt ended without knowing its outcome.
    Abandoned,
    /// The attempt did not end before its lease; its outcome is unknown.
    LeaseOver,
    /// A reconciliation looks for evidence.
    Reconciling,
    /// Released by evidence: it did not happen and can no longer happen.
    Prevented,
    /// Settled: it happened.
    Succeeded,
    /// Settled: it did not happen and will not.
    Failed,
    /// An event that a newer version wrote.
    Unrecognised(u8),
}

/// The id of a Lambda invocation: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InvocationId(Uuid);

impl History {
    /// The maximum number of entries.
    pub const MAX_ENTRIES: usize = 16;

    /// The entries, oldest first.
    #[must_use]
    pub fn entries(&self) -> &[HistoryEntry] {
        &self.0
    }

    /// Creates a history from stored entries.
    #[must_use]
    pub const fn from_entries(entries: Vec<HistoryEntry>) -> Self {
        Self(entries)
    }

    /// Returns the history with one more entry.
    #[must_use]
    pub fn then(mut self, entry: HistoryEntry) -> Self {
        if entry.event == HistoryEvent::Reconciling
            && let [.., before, HistoryEntry { event: HistoryEvent::Abandoned, .. }] = self.0.as_slice()
            && before.event == HistoryEvent::Reconciling
        {
            self.0.truncate(self.0.len() - 2);
        }
        while self.0.len() >= Self::MAX_ENTRIES {
            self.0.remove(1);
        }
        self.0.push(entry);
        self
    }

    /// The request of the last entry: the end of a claim belongs to the same request as its beginning.
    pub(super) fn request(&self) -> Option<InvocationId> {
        self.0.last().and_then(|entry| entry.request)
    }

    /// The history without its last entry, for a write that replaces the one for which that entry was made.
    pub(super) fn without_last(mut self) -> Self {
        self.0.pop();
        self
    }
}

impl HistoryEvent {
    const STORED: [Self; 8] = [
        Self::Claimed,
        Self::Released,
        Self::Abandoned,
        Self::LeaseOver,
        Self::Reconciling,
        Self::Prevented,
        Self::Succeeded,
        Self::Failed,
    ];

    /// The stored byte.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Claimed => 0,
            Self::Released => 1,
            Self::Abandoned => 2,
            Self::LeaseOver => 3,
            Self::Reconciling => 4,
            Self::Prevented => 5,
            Self::Succeeded => 6,
            Self::Failed => 7,
            Self::Unrecognised(byte) => byte,
        }
    }

    /// The event for a stored byte. This cannot fail, because an unknown event must not make a record unreadable.
    #[must_use]
    pub fn from_byte(byte: u8) -> Self {
        Self::STORED.get(usize::from(byte)).copied().unwrap_or(Self::Unrecognised(byte))
    }
}

impl InvocationId {
    /// Parses a request id; `None` if it is not a UUID. Lambda's request ids are UUIDs.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text).ok().map(Self)
    }

    /// Creates a request id from stored bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The stored bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.into_bytes()
    }
}

impl fmt::Display for InvocationId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(event: HistoryEvent, attempt: u64) -> HistoryEntry {
        HistoryEntry { event, at: EpochMs(attempt), attempt, request: None }
    }

    fn history(entries: impl IntoIterator<Item = HistoryEntry>) -> History {
        entries.into_iter().fold(History::default(), History::then)
    }

    #[test]
    fn fruitless_reconciliations_take_each_others_place() {
        let fruitless = (2..50)
            .flat_map(|attempt| [entry(HistoryEvent::Reconciling, attempt), entry(HistoryEvent::Abandoned, attempt)]);
        let history =
            history([entry(HistoryEvent::Claimed, 1), entry(HistoryEvent::LeaseOver, 1)].into_iter().chain(fruitless));
        let shown: Vec<_> = history.entries().iter().map(|entry| (entry.event, entry.attempt)).collect();
        let last = [(HistoryEvent::Reconciling, 49), (HistoryEvent::Abandoned, 49)];
        assert_eq!(shown, [[(HistoryEvent::Claimed, 1), (HistoryEvent::LeaseOver, 1)], last].concat());
    }

    #[test]
    fn a_long_story_keeps_its_beginning_and_its_end() {
        let history = history((1..100).map(|attempt| entry(HistoryEvent::Claimed, attempt)));
        let attempts: Vec<_> = history.entries().iter().map(|entry| entry.attempt).collect();
        assert_eq!(attempts.len(), History::MAX_ENTRIES);
        assert_eq!((attempts[0], attempts[1], attempts[15]), (1, 85, 99));
    }

    #[test]
    fn every_event_is_read_back_from_its_byte() {
        for byte in 0..=u8::MAX {
            assert_eq!(HistoryEvent::from_byte(byte).as_byte(), byte);
        }
        assert!(HistoryEvent::STORED.iter().all(|event| !matches!(event, HistoryEvent::Unrecognised(_))));
    }
}
