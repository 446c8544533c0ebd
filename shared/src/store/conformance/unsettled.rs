//! The conformance suite for stores that list their unsettled records: run [`all`] against yours.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{
    FIRST, NOW, SECOND, answer, apply, fresh_id, holder, later, place, processing, record, release, settle, take_over,
};
use crate::protocol::{Condition, EpochMs, Record, RecordId, RecordVersion, Resolution, State, Write};
use crate::store::Written;
use crate::store::unsettled::{After, ScanPlace, Unsettled};

/// How long an index may lag behind the writes.
const LAG: Duration = Duration::from_secs(30);

/// Runs the whole suite against a store. It uses records with fresh random names, so it may run many times against one
/// store, and next to other writers.
///
/// # Panics
/// If the store does not conform.
pub async fn all<S: Unsettled>(store: S) {
    unknown_records_are_listed_oldest_first_and_each_once_whatever_the_page(&store).await;
    what_is_no_longer_unknown_is_no_longer_listed(&store).await;
    a_scan_finds_the_claims_whose_lease_is_over_and_no_others(&store).await;
    what_was_taken_over_or_settled_is_no_longer_found(&store).await;
}

async fn unknown_records_are_listed_oldest_first_and_each_once_whatever_the_page<S: Unsettled>(store: &S) {
    let mut ours = Vec::new();
    for number in 0..7 {
        // Two records per start time, the newest first, of which every other one is held.
        let created = EpochMs(NOW.0 - number / 2);
        let state = State::Unknown((number % 2 == 0).then(|| holder(FIRST, *NOW)));
        let write = Write { record: Record { created, ..record(state) }, ..super::begin(FIRST) };
        assert_eq!(apply(store, &write).await, Written::Applied);
        ours.push(write.record);
    }
    place(store, processing(FIRST, EpochMs(1))).await;
    place(store, State::Success(answer(later()))).await;
    ours.sort_by_key(After::of);
    for limit in [1, 3, 7, 1000] {
        let listed = eventually(async || Some(unknown(store, limit, &ours).await).filter(|listed| *listed == ours));
        assert!(listed.await.is_some(), "in pages of {limit}: {:#?}", unknown(store, limit, &ours).await);
    }
    let page = store.unknown(1, Some(&After { created: EpochMs(u64::MAX), id: fresh_id() })).await.expect("readable");
    assert_eq!((page.records, page.next), (Vec::new(), None), "after the last");
}

async fn what_is_no_longer_unknown_is_no_longer_listed<S: Unsettled>(store: &S) {
    let unknown_record = place(store, State::Unknown(None)).await;
    let ours = [unknown_record.clone()];
    assert!(eventually(async || (unknown(store, 100, &ours).await.len() == 1).then_some(())).await.is_some());
    let held = Write {
        record: Record { attempt: 8, state: State::Unknown(Some(holder(SECOND, *NOW))), ..unknown_record.clone() },
        condition: Condition::Unchanged(RecordVersion::of(&unknown_record)),
    };
    assert_eq!(apply(store, &held).await, Written::Applied);
    let shows = eventually(async || (unknown(store, 100, &ours).await == [held.record.clone()]).then_some(()));
    assert!(shows.await.is_some(), "the record as it is now");
    let settled = settle(held.record, SECOND, Resolution::Success, answer(later()), *NOW);
    assert_eq!(apply(store, &settled).await, Written::Applied);
    assert!(eventually(async || unknown(store, 100, &ours).await.is_empty().then_some(())).await.is_some());
}

async fn a_scan_finds_the_claims_whose_lease_is_over_and_no_others<S: Unsettled>(store: &S) {
    let mut abandoned = BTreeSet::new();
    let mut others = BTreeSet::new();
    for number in 1..=5 {
        abandoned.insert(place(store, processing(FIRST, EpochMs(NOW.0 - number))).await.id);
    }
    for state in [
        processing(FIRST, EpochMs(NOW.0 + 1)),
        State::Released { expiration: later() },
        State::Released { expiration: NOW.seconds() },
        State::Success(answer(later())),
        State::Failed(answer(NOW.seconds())),
        State::Unknown(None),
        State::Unknown(Some(holder(FIRST, EpochMs(1)))),
    ] {
        others.insert(place(store, state).await.id);
    }
    // A lock is a record of another kind, which needs no resolution.
    let lock = RecordId::of_lock(fresh_id().as_str());
    let write =
        Write { record: Record { id: lock.clone(), ..record(processing(FIRST, EpochMs(1))) }, ..super::begin(FIRST) };
    assert_eq!(apply(store, &write).await, Written::Applied);
    others.insert(lock);
    for (segments, limit) in [(1, 1), (1, 1000), (4, 3)] {
        let found = eventually(async || {
            Some(scanned(store, segments, limit).await).filter(|found| found.is_superset(&abandoned))
        });
        let found = found.await.unwrap_or_else(|| panic!("not all are found in {segments} segments by {limit}"));
        assert!(found.is_disjoint(&others), "{segments} segments by {limit}");
    }
}

async fn what_was_taken_over_or_settled_is_no_longer_found<S: Unsettled>(store: &S) {
    let lease = EpochMs(NOW.0 - 1);
    let dead = place(store, processing(FIRST, lease)).await;
    let released = place(store, processing(FIRST, lease)).await;
    let takeover = Write {
        record: Record { state: processing(SECOND, EpochMs(NOW.0 + 1)), ..take_over(&dead, SECOND).record },
        ..take_over(&dead, SECOND)
    };
    assert_eq!(apply(store, &takeover).await, Written::Applied);
    assert_eq!(apply(store, &release(released.clone(), FIRST, later(), *NOW)).await, Written::Applied);
    let both = BTreeSet::from([dead.id, released.id]);
    let gone = eventually(async || scanned(store, 2, 1000).await.is_disjoint(&both).then_some(()));
    assert!(gone.await.is_some());
}

/// Returns those of `ours` that are listed as UNKNOWN, in the order of the list, which may also contain other writers'
/// records.
async fn unknown<S: Unsettled>(store: &S, limit: usize, ours: &[Record]) -> Vec<Record> {
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page = store.unknown(limit, after.as_ref()).await.expect("readable");
        assert!(page.records.len() <= limit);
        listed.extend(page.records.into_iter().filter(|record| ours.iter().any(|one| one.id == record.id)));
        if page.next.is_none() {
            return listed;
        }
        assert!(page.next > after, "the next page begins later");
        after = page.next;
    }
}

/// Returns the records that a scan of all segments finds abandoned.
async fn scanned<S: Unsettled>(store: &S, segments: u16, limit: u16) -> BTreeSet<RecordId> {
    let mut found = BTreeSet::new();
    for segment in 0..segments {
        let mut next = ScanPlace { segment, segments, after: None };
        loop {
            let part = store.scan(&next, *NOW, limit).await.expect("readable");
            assert!(part.read <= u64::from(limit));
            for record in part.abandoned {
                assert!(found.insert(record.id), "found twice");
            }
            if part.after.is_none() {
                break;
            }
            assert_ne!(part.after, next.after, "the scan continues");
            next.after = part.after;
        }
    }
    found
}

/// Repeats `look` until it returns something, because an index may lag.
async fn eventually<T>(look: impl AsyncFn() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let seen = look().await;
        if seen.is_some() || started.elapsed() > LAG {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
