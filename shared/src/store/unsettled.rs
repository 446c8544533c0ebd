//! Stores that list the records that wait for a resolution.

use super::{Store, StoreError};
use crate::protocol::{EpochMs, EpochS, Record, RecordId};

/// A [`Store`] that finds its unsettled records, for a reconciler and a console.
///
/// A store may answer both reads from an index that lags behind its writes. This is safe: a process that acts on a
/// record takes it over under a condition on the version that was read.
///
/// Every implementation must pass the suite in `conformance::unsettled` (feature `test-util`).
pub trait Unsettled: Store {
    /// Reads up to `limit` UNKNOWN records, oldest first, after a position.
    ///
    /// Records that this version cannot read are logged and skipped.
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if the records could not be read.
    fn unknown(
        &self,
        limit: usize,
        after: Option<&After>,
    ) -> impl Future<Output = Result<UnknownPage, StoreError>> + Send;

    /// Looks at up to `limit` items of a segment for claims whose lease is over.
    ///
    /// A scan can cost a read of every item, so run it rarely and in small steps.
    ///
    /// # Errors
    /// [`StoreError::NotApplied`] if the items could not be read, or if the store does not accept the place.
    fn scan(
        &self,
        place: &ScanPlace,
        now: EpochMs,
        limit: u16,
    ) -> impl Future<Output = Result<Scanned, StoreError>> + Send;
}

/// A position in the list of UNKNOWN records: after the record with this start time and id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct After {
    /// When the record's first attempt began.
    pub created: EpochMs,
    /// The record's id.
    pub id: RecordId,
}

/// One page of UNKNOWN records, oldest first.
#[derive(Clone, Debug, Default)]
pub struct UnknownPage {
    /// The records.
    pub records: Vec<Record>,
    /// The position at which the next page begins; `None` if this is the last page.
    pub next: Option<After>,
}

/// The part of a store that a scan reads next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanPlace {
    /// The segment: a number below [`ScanPlace::segments`].
    pub segment: u16,
    /// The number of segments that the store is divided into.
    pub segments: u16,
    /// The place at which to continue in the segment; `None` for its beginning.
    pub after: Option<RecordId>,
}

/// The findings of a scan in a part of a store.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// PROCESSING records whose lease is over: the owner died, and no client retried.
    pub abandoned: Vec<Record>,
    /// The number of items that have expired but are still stored; 0 if the store deletes them itself and does not
    /// count them.
    pub expired_present: u64,
    /// The earliest expiration of those items.
    pub oldest_expiration: Option<EpochS>,
    /// The number of items read. Each is billed by its size, whether it matches or not.
    pub read: u64,
    /// The place at which to continue in the segment; `None` at its end.
    pub after: Option<RecordId>,
}

impl UnknownPage {
    /// The oldest of these records, up to `limit`. If there are more, another page follows.
    pub(crate) fn first_of(mut records: Vec<Record>, limit: usize) -> Self {
        records.sort_by_key(After::of);
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(After::of);
        Self { records, next }
    }
}

impl After {
    /// The position of this record.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        Self { created: record.created, id: record.id.clone() }
    }
}
