//! What is UNKNOWN, oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use idempotency::protocol::{EpochMs, Record};
use idempotency::store::StoreError;
use idempotency::store::dynamodb::After;
use serde::{Deserialize, Serialize};

use crate::format;
use crate::record::{self, About};
use crate::state::Console;

/// Which records are asked for, as the URL has it; all conditions must hold, an empty one always does.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Filter {
    /// The whole name of an operation.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) operation: String,
    /// At least so old, in seconds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) age_s: String,
    /// How the principal's digest begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) principal: String,
    /// The whole transaction id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) transaction: String,
    /// Where the page begins.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) after: String,
}

/// A page of records, and what there is of them in all.
#[derive(Clone, Debug)]
pub(crate) struct Listing {
    pub(crate) records: Vec<Record>,
    /// The filter of the next page.
    pub(crate) next: Option<Filter>,
    pub(crate) summary: Summary,
}

/// What waits, as far as it was counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Summary {
    pub(crate) count: usize,
    /// Whether there is more than was counted.
    pub(crate) at_least: bool,
    /// When the oldest began.
    pub(crate) oldest: Option<EpochMs>,
    /// Minor units by currency, of those that say what they are about.
    pub(crate) at_risk: BTreeMap<String, u128>,
}

/// How many records are on a page.
const PAGE: usize = 25;

/// How many are read at once, and how many are looked at for a page and for the summary: a filter that matches little
/// and an outage that leaves much must not make the page slow.
const READ: usize = 250;
const LOOK: usize = 2000;

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
        Some(After { created: EpochMs(created.parse().ok()?), id: record::id_of(id)? })
    }

    fn beginning_after(&self, last: &Record) -> Self {
        let after = format!("{}.{}", last.created.0, record::short(last.id.as_str()));
        Self { after, ..self.clone() }
    }
}

impl Summary {
    fn add(&mut self, record: &Record) {
        self.count += 1;
        self.oldest = self.oldest.or(Some(record.created));
        if let Some(About { amount: Some(amount), currency: Some(currency), .. }) = About::of(record) {
            *self.at_risk.entry(currency).or_default() += u128::from(amount);
        }
    }
}

impl Console {
    pub(crate) async fn unresolved(&self, filter: &Filter) -> Result<Listing, StoreError> {
        let now = format::now();
        let mut summary = Summary::default();
        summary.at_least = self
            .for_each_unknown(None, |record| {
                if filter.matches(record, now) {
                    summary.add(record);
                }
                true
            })
            .await?;
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

    /// Shows UNKNOWN records, oldest first, until it is told to stop; tells whether there may be more.
    async fn for_each_unknown(
        &self,
        start: Option<After>,
        mut see: impl FnMut(&Record) -> bool,
    ) -> Result<bool, StoreError> {
        let mut after = start;
        for _ in 0..LOOK / READ {
            let page = self.store.unknown(READ, after.as_ref()).await?;
            for record in &page.records {
                if !see(record) {
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
