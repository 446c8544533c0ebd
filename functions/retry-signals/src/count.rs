//! Counts a delivery: each line for its principal and its account, in the window of the line's own time.
//!
//! Lambda and CloudWatch Logs deliver at least once, in no order. Each window's item stores the names of the deliveries
//! that it has counted, so that a repeated or partly counted delivery adds nothing twice.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};
use idempotency::protocol::EpochMs;
use serde::Serialize;
use signals::{Kind, WindowTime};

use crate::addition::Addition;
use crate::delivery::Delivery;
use crate::line::Line;
use crate::table::{EntityWindow, Signals, TableError};

/// Writes at a time.
const CONCURRENCY: usize = 16;

/// A line this far from now is not counted: windows are kept for two days.
const FARTHEST_S: u64 = 2 * 24 * 60 * 60;

/// Counts deliveries of one log group.
#[derive(Clone, Debug)]
pub struct Counter {
    table: Signals,
    account: String,
    log_group: String,
}

/// The result of counting a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counted {
    /// Lines that were counted, now or when the delivery arrived before.
    pub lines: u64,
    /// Lines that are not of the request log, or are cut, too long, hostile or too old.
    pub skipped: u64,
    /// Items of entities and windows that were written.
    pub written: u64,
    /// Items that had counted the delivery already.
    pub repeated: u64,
    /// Items of windows that may have been scored before.
    pub late: u64,
    /// Whether it came from another account or log group.
    pub refused: bool,
}

impl Counter {
    /// Creates a counter for the lines of this log group in this account.
    #[must_use]
    pub const fn new(table: Signals, account: String, log_group: String) -> Self {
        Self { table, account, log_group }
    }

    /// Counts a delivery. Counting it again changes nothing.
    ///
    /// # Errors
    /// If the table does not answer. Some of the delivery may be counted, and a repetition counts the rest.
    pub async fn count(&self, delivery: &Delivery, now: EpochMs) -> Result<Counted, TableError> {
        if delivery.message_type != "DATA_MESSAGE" {
            return Ok(Counted::default());
        }
        if (&delivery.owner, &delivery.log_group) != (&self.account, &self.log_group) {
            tracing::error!(account = delivery.owner, log_group = delivery.log_group, "lines of a foreign log group");
            metrics::counter!("SignalRefused").increment(1);
            return Ok(Counted { refused: true, ..Counted::default() });
        }
        let (additions, mut counted) = self.additions(delivery, now);
        let batch = delivery.id();
        let writes = additions.into_iter().map(|(window, addition)| {
            let is_late = self.table.closed_at_s(window.at) < now.0 / 1000;
            async move { self.table.add(&window, batch, &addition).await.map(|new| (new, is_late)) }
        });
        let written: Vec<_> = stream::iter(writes).buffer_unordered(CONCURRENCY).try_collect().await?;
        for (new, is_late) in written {
            match new {
                true => {
                    counted.written += 1;
                    counted.late += u64::from(is_late);
                }
                false => counted.repeated += 1,
            }
        }
        for (metric, count) in
            [("SignalRepeated", counted.repeated), ("SignalLate", counted.late), ("SignalSkipped", counted.skipped)]
        {
            if count > 0 {
                metrics::counter!(metric).increment(count);
            }
        }
        Ok(counted)
    }

    fn additions(&self, delivery: &Delivery, now: EpochMs) -> (BTreeMap<EntityWindow, Addition>, Counted) {
        let (mut additions, mut counted) = (BTreeMap::<EntityWindow, Addition>::new(), Counted::default());
        for event in &delivery.log_events {
            let at_s = event.timestamp / 1000;
            let line = Line::read(&event.message).filter(|_| at_s.abs_diff(now.0 / 1000) <= FARTHEST_S);
            let Some(line) = line else {
                counted.skipped += 1;
                continue;
            };
            counted.lines += 1;
            let at = WindowTime::containing(at_s, self.table.window_s());
            let entities = [(Kind::Principal, Some(&line.who)), (Kind::Account, line.about.as_ref())];
            for (kind, entity) in entities {
                let Some(entity) = entity else { continue };
                additions.entry(EntityWindow { kind, entity: entity.clone(), at }).or_default().add(kind, &line);
            }
        }
        (additions, counted)
    }
}
