//! A cache of settled records in this process.
//!
//! A settled record does not change until it expires, so a replay needs no read from the store. Nothing else is cached:
//! other processes can end a claim, a release or UNKNOWN at any time.

use std::sync::Arc;

use quick_cache::sync::{Cache as Entries, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::protocol::{EpochMs, Record, RecordId};

/// Records by id, up to a total size in bytes. With a size of zero it caches nothing.
pub(super) struct Cache(Option<Entries<RecordId, Arc<Record>, Bytes>>);

/// The approximate size of an entry: the answer, the rest of the record, and its slot in the map.
#[derive(Clone)]
struct Bytes;

const ENTRY_BYTES: usize = 512;

impl Weighter<RecordId, Arc<Record>> for Bytes {
    fn weight(&self, _: &RecordId, record: &Arc<Record>) -> u64 {
        let answer = record.settled().map_or(0, |(_, settled)| match &settled.response {
            crate::protocol::Response::Whole(bytes) => bytes.len(),
            crate::protocol::Response::Parts(_) => 0,
        });
        (ENTRY_BYTES + answer) as u64
    }
}

impl Cache {
    pub(super) fn of_bytes(bytes: usize) -> Self {
        // One shard: a sandbox serves one request at a time, or few, and the shard's size limits the longest entry.
        let options = OptionsBuilder::new()
            .shards(1)
            .estimated_items_capacity(bytes / (2 * ENTRY_BYTES))
            .weight_capacity(bytes as u64)
            .build();
        let entries =
            |options| Entries::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default());
        Self(options.ok().filter(|_| bytes > 0).map(entries))
    }

    /// The cached record. An expired one is removed instead.
    pub(super) fn recall(&self, id: &RecordId, now: EpochMs) -> Option<Arc<Record>> {
        let entries = self.0.as_ref()?;
        let record = entries.get(id)?;
        if record.has_expired(now) {
            entries.remove(id);
            return None;
        }
        Some(record)
    }

    /// Caches a record if it is settled and has its whole answer.
    pub(super) fn remember(&self, record: &Arc<Record>) {
        if let Some(entries) =
            self.0.as_ref().filter(|_| record.settled().is_some_and(|(_, settled)| settled.is_whole()))
        {
            entries.insert(record.id.clone(), Arc::clone(record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{EpochMs, EpochS, Key, Principal, Response, Settled, State};

    const NOW: EpochMs = EpochMs(1);

    fn record(key: usize, response: Response) -> Arc<Record> {
        Arc::new(Record {
            id: RecordId::new("n", &Principal::new("p").unwrap(), &Key::new(key.to_string()).unwrap()),
            state: State::Success(Settled { response, expiration: EpochS(9) }),
            ..Record::sample()
        })
    }

    #[test]
    fn it_never_holds_more_bytes_than_it_may() {
        let cache = Cache::of_bytes(100_000);
        for key in 0..1000 {
            cache.remember(&record(key, vec![0; 1000].into()));
        }
        let held = (0..1000).filter(|key| cache.recall(&record(*key, vec![].into()).id, NOW).is_some()).count();
        assert!((10..=100).contains(&held), "{held} entries of at least 1,000 bytes");
        cache.remember(&record(1, vec![0; 200_000].into()));
        assert!(cache.recall(&record(1, vec![].into()).id, NOW).is_none(), "longer than all that may be held");
    }

    #[test]
    fn it_holds_whole_settled_records_only() {
        let cache = Cache::of_bytes(100_000);
        let unknown = Arc::new(Record { state: State::Unknown(None), ..(*record(1, vec![].into())).clone() });
        for other in [unknown, record(2, Response::Parts(3))] {
            cache.remember(&other);
            assert!(cache.recall(&other.id, NOW).is_none(), "{other:?}");
        }
        let whole = record(3, vec![1].into());
        cache.remember(&whole);
        assert_eq!(cache.recall(&whole.id, NOW).as_ref(), Some(&whole));
        assert!(cache.recall(&whole.id, EpochMs(9_000)).is_none(), "it has expired");
        assert!(cache.recall(&whole.id, NOW).is_none(), "and is forgotten");
        let none = Cache::of_bytes(0);
        none.remember(&whole);
        assert!(none.recall(&whole.id, NOW).is_none());
    }
}
