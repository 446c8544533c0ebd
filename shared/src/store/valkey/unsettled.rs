//! Lists records that wait for a resolution, from two indexes that each write maintains: sorted sets of UNKNOWN records
//! and of claims. No read has to scan the whole server.

use futures::future::try_join_all;
use redis::{Cmd, FromRedisValue, cmd};

use super::link::{Link, Request};
use super::{CLAIMS, UNKNOWN, ValkeyStore, key};
use crate::protocol::{EpochMs, Record, RecordId, State};
use crate::store::unsettled::{After, ScanPlace, Scanned, UnknownPage, Unsettled};
use crate::store::{Store, StoreError};

impl Unsettled for ValkeyStore {
    /// Reads the index of each tag, in the order of scores and ids.
    async fn unknown(&self, limit: usize, after: Option<&After>) -> Result<UnknownPage, StoreError> {
        let tags = self.0.placement.tags().iter().zip(&self.0.links);
        // One more than requested, to show whether there is a next page.
        let of_tags = tags.map(|(tag, link)| self.unknown_of(tag, link, limit + 1, after));
        let records = try_join_all(of_tags).await?.into_iter().flatten().collect();
        Ok(UnknownPage::first_of(records, limit))
    }

    /// Reads the index of claims, so it reads only records of running and dead attempts. The server deletes expired
    /// records itself, so none are counted.
    async fn scan(&self, place: &ScanPlace, now: EpochMs, limit: u16) -> Result<Scanned, StoreError> {
        let segment = usize::from(place.segment);
        let numbers = (segment..self.0.links.len()).step_by(place.segments.max(1).into());
        let of_after = place.after.as_ref().map(|after| self.0.placement.number_of(after));
        let (mut scanned, mut last) = (Scanned::default(), place.after.clone());
        for number in numbers.filter(|number| of_after.is_none_or(|of_after| *number >= of_after)) {
            let after = place.after.as_ref().filter(|_| of_after == Some(number));
            let left = usize::from(limit) - usize::try_from(scanned.read).unwrap_or(usize::MAX).min(limit.into());
            let (tag, link) = (&self.0.placement.tags()[number], &self.0.links[number]);
            // One more than fits, to show whether there are more.
            let ids = ids(link, claims_after(tag, after, left + 1)).await?;
            let more = ids.len() > left;
            let page = &ids[..ids.len().min(left)];
            scanned.read += page.len() as u64;
            scanned.abandoned.extend(self.records(page).await?.into_iter().filter(|record| is_abandoned(record, now)));
            last = page.last().cloned().or(last);
            if more {
                // If no record of this tag fits, the place is still in an earlier tag.
                scanned.after = last;
                break;
            }
        }
        Ok(scanned)
    }
}

impl ValkeyStore {
    async fn unknown_of(
        &self,
        tag: &str,
        link: &Link,
        limit: usize,
        after: Option<&After>,
    ) -> Result<Vec<Record>, StoreError> {
        let (mut found, mut passed) = (Vec::new(), 0);
        loop {
            let page = ids(link, unknown_from(tag, after, passed, limit)).await?;
            let read = self.records(&page).await?;
            let unknown = |record: &Record| match &record.state {
                // Records with the same millisecond as the position may be before it.
                State::Unknown(_) => after.is_none_or(|after| After::of(record) > *after),
                State::Processing(_) | State::Released { .. } | State::Success(_) | State::Failed(_) => false,
            };
            found.extend(read.into_iter().filter(unknown));
            passed += page.len();
            if page.len() < limit || found.len() >= limit {
                return Ok(found);
            }
        }
    }

    /// The records of these ids, as far as they exist and this version can read them.
    async fn records(&self, ids: &[RecordId]) -> Result<Vec<Record>, StoreError> {
        let reads = ids.iter().map(|id| async {
            match self.read(id).await {
                Err(error @ StoreError::Unreadable { .. }) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "left out");
                    Ok(None)
                }
                read => read,
            }
        });
        Ok(try_join_all(reads).await?.into_iter().flatten().collect())
    }
}

fn is_abandoned(record: &Record, now: EpochMs) -> bool {
    match &record.state {
        State::Processing(holder) => holder.lease < now,
        State::Released { .. } | State::Success(_) | State::Failed(_) | State::Unknown(_) => false,
    }
}

fn unknown_from(tag: &str, after: Option<&After>, passed: usize, limit: usize) -> Cmd {
    let from = after.map_or_else(|| "-inf".to_owned(), |after| after.created.0.to_string());
    let mut range = cmd("ZRANGE");
    range.arg(key(tag, UNKNOWN)).arg(from).arg("+inf").arg("BYSCORE").arg("LIMIT").arg(passed).arg(limit);
    range
}

/// Claims have no score, so they are in the order of their ids.
fn claims_after(tag: &str, after: Option<&RecordId>, limit: usize) -> Cmd {
    let from = after.map_or_else(|| "-".to_owned(), |after| format!("({}", after.as_str()));
    let mut range = cmd("ZRANGE");
    range.arg(key(tag, CLAIMS)).arg(from).arg("+").arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
    range
}

async fn ids(link: &Link, range: Cmd) -> Result<Vec<RecordId>, StoreError> {
    let value = link.call(&Request::Read(range)).await?;
    let ids = Vec::<String>::from_redis_value(value).map_err(|error| StoreError::NotApplied(error.into()))?;
    Ok(ids.into_iter().map(RecordId::from_stored).collect())
}
