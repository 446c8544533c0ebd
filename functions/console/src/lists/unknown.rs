//! The UNKNOWN records, oldest first.

mod filter;
mod summary;

use futures::{StreamExt, stream};
use idempotency::protocol::Record;
use idempotency::store::StoreError;
use idempotency::store::unsettled::{After, Unsettled};
use payments::PaymentId;

pub(crate) use filter::Filter;
pub(crate) use summary::Summary;

use crate::error::ConsoleError;
use crate::record::subject::SubjectSummary;
use crate::state::Console;

/// A page of records, and a summary of all.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) items: Vec<Item>,
    /// The position of the page's first record among all matches, from 1; `None` if too many records precede it to be
    /// counted.
    pub(crate) first: Option<usize>,
    /// The filter of the page before, and of the next one.
    pub(crate) previous: Option<Filter>,
    pub(crate) next: Option<Filter>,
    pub(crate) summary: Summary,
}

/// A record with its subject. The subject of a refund is completed from its payment.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) record: Record,
    pub(crate) subject: Option<SubjectSummary>,
}

/// The records that match, as far as they were read.
pub(crate) struct Window {
    pub(crate) items: Vec<Item>,
    /// Whether there may be more.
    pub(crate) more: bool,
}

/// The records that one request reads, for several filters.
pub(crate) struct UnknownRecords {
    records: Vec<Record>,
    more: bool,
}

/// How many records are on a page.
pub(crate) const PAGE: usize = 25;

/// The maximum number of records that one request reads, for the page and the summary together: neither a filter with
/// few matches nor an outage that leaves many records may make the page slow.
const BATCH: usize = 250;
pub(crate) const MAX_READ: usize = 2000;

/// The maximum number of refunds whose payments are read.
const MAX_PAYMENTS: usize = 200;
const PAYMENTS_AT_ONCE: usize = 16;

impl Window {
    /// Where the page begins that starts after this place; `None` if that was not read.
    fn index_after(&self, start: &After) -> Option<usize> {
        if let Some(index) = self.items.iter().position(|item| item.record.id == start.id) {
            return Some(index + 1);
        }
        let index = self.items.partition_point(|item| After::of(&item.record) <= *start);
        (index < self.items.len() || !self.more).then_some(index)
    }
}

impl Console {
    /// The records that match, from the oldest on.
    pub(crate) async fn unknown_window(&self, filter: &Filter) -> Result<Window, ConsoleError> {
        self.window(filter, None).await
    }

    pub(crate) async fn unknown_list(&self, filter: &Filter) -> Result<Listing, ConsoleError> {
        let all = self.unknown_window(filter).await?;
        let summary = Summary::of(&all);
        let start = filter.start();
        let begin = start.as_ref().map_or(Some(0), |start| all.index_after(start));
        // Beyond the counted records, the list continues without numbers.
        let (window, index) = match begin {
            Some(index) => (all, index),
            None => (self.window(filter, start).await?, 0),
        };
        let items: Vec<_> = window.items.iter().skip(index).take(PAGE).cloned().collect();
        let more = window.more || index + items.len() < window.items.len();
        let next = items.last().filter(|_| more).map(|last| filter.beginning_after(&last.record));
        let first_filter = || Filter { after: String::new(), ..filter.clone() };
        let previous = match (begin, index) {
            (Some(_), 0) => None,
            (None, _) => Some(first_filter()),
            (Some(_), index) => {
                let last_before = index.checked_sub(PAGE + 1).and_then(|place| window.items.get(place));
                Some(last_before.map_or_else(first_filter, |item| filter.beginning_after(&item.record)))
            }
        };
        Ok(Listing { items, first: begin.map(|index| index + 1), previous, next, summary })
    }

    /// The records, from the oldest on.
    pub(crate) async fn unknown_records(&self) -> Result<UnknownRecords, ConsoleError> {
        self.unknown_records_that(None, |_| true).await
    }

    /// The matches among records that were read before.
    pub(crate) async fn matching(&self, read: &UnknownRecords, filter: &Filter) -> Result<Window, ConsoleError> {
        let now = self.now();
        let records = read.records.iter().filter(|record| filter.matches(record, now)).cloned().collect();
        self.window_of(filter, UnknownRecords { records, more: read.more }).await
    }

    async fn window(&self, filter: &Filter, start: Option<After>) -> Result<Window, ConsoleError> {
        let now = self.now();
        let read = self.unknown_records_that(start, |record| filter.matches(record, now)).await?;
        self.window_of(filter, read).await
    }

    async fn unknown_records_that(
        &self,
        start: Option<After>,
        matches: impl Fn(&Record) -> bool,
    ) -> Result<UnknownRecords, ConsoleError> {
        let mut records = Vec::new();
        let keep = |record: &Record| {
            if matches(record) {
                records.push(record.clone());
            }
        };
        let more = self.for_each_unknown(start, keep).await.map_err(|error| ConsoleError::unavailable(&error))?;
        Ok(UnknownRecords { records, more })
    }

    async fn window_of(&self, filter: &Filter, read: UnknownRecords) -> Result<Window, ConsoleError> {
        let UnknownRecords { records, mut more } = read;
        let (mut items, is_whole) = self.with_subjects(records, filter.asks_about_subject()).await?;
        more |= !is_whole;
        items.retain(|item| filter.matches_subject(item.subject.as_ref()));
        Ok(Window { items, more })
    }

    /// The records with their subjects. A refund's subject gets the account and currency of its payment, and the amount
    /// that is left if it names none. If a filter needs these, a payment that cannot be read is an error, and a payment
    /// beyond the limit leaves the list incomplete.
    async fn with_subjects(&self, records: Vec<Record>, needed: bool) -> Result<(Vec<Item>, bool), ConsoleError> {
        let mut refunds = 0;
        let subjects = records.into_iter().map(|record| {
            let subject = SubjectSummary::of(&record);
            let payment = subject.as_ref().and_then(|subject| PaymentId::parse(subject.payment.as_deref()?));
            refunds += usize::from(payment.is_some());
            (Item { record, subject }, payment.filter(|_| refunds <= MAX_PAYMENTS))
        });
        let subjects: Vec<_> = subjects.collect();
        let completed = stream::iter(subjects).map(async |(item, payment)| match payment {
            // Without its payment, the amount is not known.
            Some(id) => {
                let payment = match self.table.payment(id).await {
                    Ok(payment) => payment,
                    Err(error) if needed => return Err(ConsoleError::unavailable(&error)),
                    Err(_) => None,
                };
                let subject = item.subject.map(|subject| subject.completed_by(payment.as_ref()));
                Ok(Item { subject, ..item })
            }
            None => Ok(item),
        });
        let items: Vec<Result<Item, _>> = completed.buffered(PAYMENTS_AT_ONCE).collect().await;
        let items = items.into_iter().collect::<Result<_, _>>()?;
        Ok((items, !needed || refunds <= MAX_PAYMENTS))
    }

    /// Visits UNKNOWN records, oldest first. Returns whether there may be more.
    async fn for_each_unknown(&self, start: Option<After>, mut visit: impl FnMut(&Record)) -> Result<bool, StoreError> {
        let mut after = start;
        for _ in 0..MAX_READ / BATCH {
            let page = self.store.unknown(BATCH, after.as_ref()).await?;
            page.records.iter().for_each(&mut visit);
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use idempotency::protocol::{EpochMs, RecordId};

    use super::*;

    fn item(created: u64, id: &str) -> Item {
        let record = Record { created: EpochMs(created), id: RecordId::from_stored(id.to_owned()), ..Record::sample() };
        Item { record, subject: None }
    }

    #[test]
    fn a_page_begins_after_its_place_though_that_record_is_settled_by_now() {
        let mut window = Window { items: vec![item(1, "a"), item(2, "c"), item(2, "b"), item(5, "d")], more: false };
        let after = |created, id: &str| After { created: EpochMs(created), id: RecordId::from_stored(id.to_owned()) };
        // The index has its own order for records that began at the same time.
        assert_eq!(window.index_after(&after(2, "c")), Some(2));
        assert_eq!(window.index_after(&after(3, "gone")), Some(3));
        assert_eq!(window.index_after(&after(9, "gone")), Some(4));
        window.more = true;
        assert_eq!(window.index_after(&after(9, "beyond")), None);
        assert_eq!(window.index_after(&after(5, "d")), Some(4));
    }
}
