//! The UNKNOWN records, oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt, stream};
use idempotency::protocol::{EpochMs, Record};
use idempotency::store::StoreError;
use idempotency::store::unsettled::{After, Unsettled};
use payments::PaymentId;
use serde::{Deserialize, Serialize};

use crate::error::ConsoleError;
use crate::record::subject::SubjectSummary;
use crate::record::{id_of, short};
use crate::state::Console;

/// The filter of the list, as in the URL; all conditions must hold, and an empty one always does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// The full name of an operation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) operation: String,
    /// The minimum age in seconds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) age_s: String,
    /// The beginning of the principal's digest.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) principal: String,
    /// The full transaction id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) transaction: String,
    /// Where the page starts.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
}

/// A page of records, and a summary of all.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) records: Vec<Record>,
    /// The filter of the next page.
    pub(crate) next: Option<Filter>,
    pub(crate) summary: Summary,
}

/// The number, age and amount of all that match, as far as they were counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    /// Whether there may be more than were counted.
    pub(crate) at_least: bool,
    /// When the oldest started.
    pub(crate) oldest: Option<EpochMs>,
    /// Minor units by currency, of the records whose amount is known.
    pub(crate) at_risk: BTreeMap<String, u128>,
    /// How many records have no amount that is known.
    pub(crate) without_amount: usize,
}

/// How many records are on a page.
const PAGE: usize = 25;

/// How many records one request reads, and how many are read for a page and for the summary: neither a filter with few
/// matches nor an outage that leaves many records may make the page slow.
const BATCH: usize = 250;
const MAX_READ: usize = 2000;

/// Of how many refunds the payments are read for the summary, and how many at once.
const MAX_PAYMENTS: usize = 200;
const PAYMENTS_AT_ONCE: usize = 16;

impl Filter {
    pub(crate) fn is_empty(&self) -> bool {
        [&self.operation, &self.age_s, &self.principal, &self.transaction]
            .into_iter()
            .all(|text| text.trim().is_empty())
    }

    fn matches(&self, record: &Record, now: EpochMs) -> bool {
        let [operation, age_s, principal, transaction] =
            [&self.operation, &self.age_s, &self.principal, &self.transaction].map(|text| text.trim());
        let age = age_s.parse().map_or(Duration::ZERO, Duration::from_secs);
        let digest = || record.principal.map(|digest| digest.to_string()).unwrap_or_default();
        (operation.is_empty() || *record.operation == *operation)
            && now.since(record.created) >= age
            && (principal.is_empty() || digest().starts_with(&principal.to_ascii_lowercase()))
            && (transaction.is_empty() || record.transaction.to_string() == transaction.to_ascii_lowercase())
    }

    fn start(&self) -> Option<After> {
        let (created, id) = self.after.split_once('.')?;
        Some(After { created: EpochMs(created.parse().ok()?), id: id_of(id)? })
    }

    fn beginning_after(&self, last: &Record) -> Self {
        let after = format!("{}.{}", last.created.0, short(last.id.as_str()));
        Self { after, ..self.clone() }
    }
}

impl Summary {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        self.oldest = self.oldest.or(Some(record.created));
    }

    fn add_money(&mut self, subject: SubjectSummary) {
        match (subject.amount, subject.currency) {
            (Some(amount), Some(currency)) => *self.at_risk.entry(currency).or_default() += u128::from(amount),
            (None, _) | (_, None) => self.without_amount += 1,
        }
    }
}

impl Console {
    pub(crate) async fn unknown_list(&self, filter: &Filter) -> Result<Listing, ConsoleError> {
        self.list_unknown(filter).await.map_err(|error| ConsoleError::unavailable(&error))
    }

    async fn list_unknown(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let now = self.now();
        let (mut summary, mut refunds) = (Summary::default(), Vec::new());
        summary.at_least = self
            .for_each_unknown(None, |record| {
                if filter.matches(record, now) {
                    summary.add(record);
                    match SubjectSummary::of(record).unwrap_or_default() {
                        subject if subject.payment.is_some() => refunds.push(subject),
                        subject => summary.add_money(subject),
                    }
                }
                true
            })
            .await?;
        for subject in self.completed(refunds).await {
            summary.add_money(subject);
        }
        let mut records = Vec::new();
        let more = self
            .for_each_unknown(filter.start(), |record| {
                if filter.matches(record, now) {
                    records.push(record.clone());
                }
                records.len() <= PAGE
            })
            .await?;
        let more = more || records.len() > PAGE;
        records.truncate(PAGE);
        let next = records.last().filter(|_| more).map(|last| filter.beginning_after(last));
        Ok(Listing { records, next, summary })
    }

    /// The subjects of refunds with the currency of their payments, and where they name no amount, what is left of it.
    async fn completed(&self, refunds: Vec<SubjectSummary>) -> Vec<SubjectSummary> {
        let completed = stream::iter(refunds.into_iter().enumerate()).map(async |(index, subject)| {
            let id = subject.payment.as_deref().and_then(PaymentId::parse).filter(|_| index < MAX_PAYMENTS);
            match id {
                // Without its payment, the amount is not known.
                Some(id) => subject.completed_by(self.table.payment(id).await.ok().flatten().as_ref()),
                None => subject,
            }
        });
        completed.buffered(PAYMENTS_AT_ONCE).collect().await
    }

    /// Visits UNKNOWN records, oldest first, until `visit` returns `false`. Returns whether there may be more.
    async fn for_each_unknown(
        &self,
        start: Option<After>,
        mut visit: impl FnMut(&Record) -> bool,
    ) -> Result<bool, StoreError> {
        let mut after = start;
        for _ in 0..MAX_READ / BATCH {
            let page = self.store.unknown(BATCH, after.as_ref()).await?;
            for record in &page.records {
                if !visit(record) {
                    return Ok(true);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
        Ok(true)
    }
}
