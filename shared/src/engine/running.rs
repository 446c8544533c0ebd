//! Records that this process saw in progress less than a second ago.
//!
//! Without this memory, many duplicates of one running call would mean as many refused writes on one item, and a
//! DynamoDB partition accepts 1,000 writes per second for all its items together. The memory only chooses a call's
//! first request: an eventually consistent read instead of a write, or a wait that ends with such a read. If it is
//! wrong, the only cost is one unnecessary read.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache as Entries;

use crate::protocol::{EpochMs, Record, RecordId, State};

/// The records most recently seen in progress, by id, each with the time at which it was seen.
pub(super) struct Running(Option<Entries<RecordId, (EpochMs, Arc<Record>)>>);

/// How long a record counts as in progress after it was seen.
const BELIEVED_FOR: Duration = Duration::from_secs(1);

/// A generous upper limit for the calls that one sandbox can see in progress within a second.
const ENTRIES: usize = 128;

impl Running {
    pub(super) fn new() -> Self {
        Self(Some(Entries::new(ENTRIES)))
    }

    /// A memory that is turned off.
    pub(super) const fn off() -> Self {
        Self(None)
    }

    /// Remembers the record if it is in progress; otherwise forgets it.
    pub(super) fn saw(&self, record: &Record, now: EpochMs) {
        let Some(entries) = &self.0 else { return };
        match &record.state {
            State::Processing(holder) | State::Unknown(Some(holder)) if holder.lease > now => {
                entries.insert(record.id.clone(), (now, Arc::new(record.clone())));
            }
            State::Processing(_)
            | State::Unknown(_)
            | State::Released { .. }
            | State::Success(_)
            | State::Failed(_) => self.forget(&record.id),
        }
    }

    /// Forgets a record, because a call of this process has newer knowledge of it.
    pub(super) fn forget(&self, id: &RecordId) {
        if let Some(entries) = &self.0 {
            entries.remove(id);
        }
    }

    /// The record as it was seen less than a second ago. An older entry is removed, and so is one from before the clock
    /// was set back.
    pub(super) fn recall(&self, id: &RecordId, now: EpochMs) -> Option<Arc<Record>> {
        let entries = self.0.as_ref()?;
        let (seen, record) = entries.get(id)?;
        if now < seen || now >= seen.plus(BELIEVED_FOR) {
            entries.remove(id);
            return None;
        }
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{EpochS, Holder, Key, OwnerToken, Principal, Settled};

    const NOW: EpochMs = EpochMs(10_000);

    fn record(key: usize, state: State) -> Record {
        let id = RecordId::new("n", &Principal::new("p").unwrap(), &Key::new(key.to_string()).unwrap());
        Record { id, state, ..Record::sample() }
    }

    fn held(lease: u64) -> Holder {
        Holder { owner: OwnerToken([1; 16]), lease: EpochMs(lease) }
    }

    #[test]
    fn a_sighting_is_believed_for_less_than_a_second() {
        let running = Running::new();
        let record = record(1, State::Processing(held(60_000)));
        running.saw(&record, NOW);
        assert_eq!(running.recall(&record.id, EpochMs(10_999)).as_deref(), Some(&record));
        assert_eq!(running.recall(&record.id, EpochMs(11_000)), None, "a second later");
        running.saw(&record, NOW);
        assert_eq!(running.recall(&record.id, EpochMs(9_999)), None, "the clock was set back");
        assert_eq!(Running::off().recall(&record.id, NOW), None);
    }

    #[test]
    fn nothing_but_a_live_claim_is_remembered() {
        let running = Running::new();
        let seen = record(1, State::Processing(held(60_000)));
        let settled = Settled { response: vec![1].into(), expiration: EpochS(99) };
        for state in [
            State::Processing(held(NOW.0)),
            State::Unknown(Some(held(NOW.0))),
            State::Unknown(None),
            State::Released { expiration: EpochS(99) },
            State::Success(settled.clone()),
            State::Failed(settled),
        ] {
            running.saw(&seen, NOW);
            let record = record(1, state);
            running.saw(&record, NOW);
            assert_eq!(running.recall(&record.id, NOW), None, "{record:?}");
        }
    }

    #[test]
    fn it_holds_no_more_than_a_sandbox_can_use() {
        let running = Running::new();
        for key in 0..10 * ENTRIES {
            running.saw(&record(key, State::Processing(held(60_000))), NOW);
        }
        let held = (0..10 * ENTRIES)
            .filter(|key| running.recall(&record(*key, State::Unknown(None)).id, NOW).is_some())
            .count();
        assert!((1..=ENTRIES).contains(&held), "{held}");
    }
}
