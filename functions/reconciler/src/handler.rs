//! The reconciler's backstop: finds records with an unknown outcome that a follow-up has missed, looks them up at the
//! provider, and reports how many are left.
//!
//! A run ends before its deadline, and the next run continues where it stopped; an unclear record does not block the
//! others. A lock allows one run at a time: two would do no harm, since each record is taken over under a condition,
//! but they would send each lookup to the provider twice.
//!
//! Only records of [declared operations](payments::operations) are reconciled. Other applications may share the table:
//! their records are counted, and not changed.

pub(crate) mod checkpoint;
mod foreign;
mod report;
pub(crate) mod scope;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::scan::ScanError;
use aws_sdk_dynamodb::types::TransactWriteItem;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use idempotency::lock::Fenced;
use idempotency::protocol::{EpochMs, FollowUp, InvocationId, Record};
use idempotency::reconcile::Reconciled;
use idempotency::store::StoreError;
use idempotency::store::unsettled::{After, Unsettled};
use idempotency::telemetry::metrics::Metric;
use idempotency::{Engine, RecordLock};
use lambda_runtime::Error;
use payments::{Invocation, ProviderResolver, operations};

use checkpoint::{Checkpoint, Checkpoints, Pass};
use foreign::Foreign;
use report::Report;
use scope::Scope;

/// How many records are reconciled concurrently: the provider's rate limit is shared with the API.
const CONCURRENCY: usize = 4;

/// How many UNKNOWN records a run reads. With more, there is an outage, and the gauge is a lower bound.
const MOST_UNKNOWN: usize = 1000;

/// How many times it reads that many, if other applications' records are among them.
const UNKNOWN_PAGES: usize = 10;

/// Segments of the scan, which spread its reads over the table's partitions.
const SEGMENTS: u16 = 4;

/// Items per request of the scan: at most a thousand of 1 KB, about 125 read units.
const SCAN_PAGE: u16 = 1000;

/// Scan requests per run.
const SCAN_PAGES: usize = 20;

/// How long before its deadline a run starts nothing new: as long as a resolver may take, plus a margin.
const RESERVE: Duration = Duration::from_secs(12);

/// How late a follow-up may be before it counts as missed: the mapping's longest window, the minute's precision of a
/// schedule, and some retries.
const GRACE: Duration = Duration::from_secs(10 * 60);

pub(crate) struct Handler<S> {
    engine: Engine<S>,
    store: S,
    resolver: ProviderResolver,
    checkpoints: Checkpoints,
    scan_interval: Duration,
}

/// One run.
#[derive(Clone, Copy)]
struct Run {
    scope: Scope,
    request: Option<InvocationId>,
    deadline: EpochMs,
    /// Nothing new is started after it.
    end: EpochMs,
}

impl<S: Unsettled<Effect = TransactWriteItem>> Handler<S> {
    pub(crate) const fn new(
        engine: Engine<S>,
        store: S,
        resolver: ProviderResolver,
        checkpoints: Checkpoints,
        scan_interval: Duration,
    ) -> Self {
        Self { engine, store, resolver, checkpoints, scan_interval }
    }

    pub(crate) async fn handle(&self, invocation: Invocation, scope: Scope) -> Result<Report, Error> {
        let report = self.run(invocation, scope).await;
        self.engine.flush();
        report
    }

    async fn run(&self, invocation: Invocation, scope: Scope) -> Result<Report, Error> {
        let Invocation { id: request, deadline } = invocation;
        let now = self.engine.now();
        let run = Run { scope, request, deadline, end: now.plus(deadline.since(now).saturating_sub(RESERVE)) };
        // The lock of a killed run expires shortly after its deadline.
        let lock = RecordLock::new(self.engine.clone(), "reconciler", deadline.since(now) + Duration::from_secs(2));
        let Some(held) = lock.acquire(run.request).await? else {
            tracing::info!("another run holds the lock");
            return Ok(Report { held_elsewhere: true, ..Report::default() });
        };
        // Panics are caught here, because `Drop` cannot await: an unreleased lock blocks the next runs until its lease
        // ends.
        let ended = AssertUnwindSafe(self.locked(run, &held)).catch_unwind().await;
        if let Err(error) = held.release().await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the lock was not released; it is free when its lease ends"
            );
        }
        let report = ended.unwrap_or_else(|_panic| Err("the run panicked".into()))?;
        self.engine.metrics().count(Metric::ReconcilerHeartbeat, OPERATION);
        tracing::info!(report = %serde_json::to_string(&report)?, "reconciled");
        Ok(report)
    }

    /// The run under the lock.
    async fn locked(&self, run: Run, held: &impl Fenced) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut checkpoint = match self.checkpoints.read().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                // The position and the time of the last scan are unknown. UNKNOWN records are reconciled anyway, from
                // the oldest on.
                self.reconcile_unknown(run, &mut Checkpoint::default(), &mut report).await?;
                return Err(error.into());
            }
        };
        // The two halves are independent, and the progress of one is kept if the other fails: otherwise a run that
        // always fails at one record would never reach those after it.
        let reconciled = self.reconcile_unknown(run, &mut checkpoint, &mut report).await;
        let scanned = self.scan(run, &mut checkpoint, &mut report).await;
        if reconciled.is_ok() && scanned.is_ok() {
            checkpoint.ran(self.engine.now());
        }
        let kept = self.checkpoints.write(&checkpoint, held).await;
        reconciled.and(scanned)?;
        kept?;
        Ok(report)
    }

    /// Reconciles UNKNOWN records, starting where the last run stopped, and reports how many are left.
    async fn reconcile_unknown(&self, run: Run, checkpoint: &mut Checkpoint, report: &mut Report) -> Result<(), Error> {
        let (mut waiting, _) = self.unknown().await?;
        // An eventually consistent read may return a record that is settled already; the reconciliation's condition
        // detects this.
        match run.scope {
            Scope::All => {}
            Scope::Missed => {
                waiting.retain(|record| self.is_missed(record));
                self.count_missed(&waiting, report);
            }
        }
        let first = checkpoint.take_after();
        let is_before = |record: &Record| first.as_ref().is_some_and(|first| After::of(record) <= *first);
        let begin = waiting.partition_point(is_before);
        waiting.rotate_left(begin);
        let asked = self.reconcile_all(run, &waiting, report).await;
        if let Some(last) = waiting[..asked].last().filter(|_| asked < waiting.len()) {
            checkpoint.stopped_at(last);
        }

        let (left, foreign) = self.unknown().await?;
        let oldest = left.first().map(|record| self.engine.now().since(record.created));
        report.unknown_open = left.len();
        report.unknown_oldest_age_s = oldest.map(|age| age.as_secs());
        report.foreign += foreign.count();
        self.gauge(Metric::UnknownOpen, left.len() as f64);
        self.gauge(Metric::UnknownOldestAge, oldest.unwrap_or_default().as_secs_f64());
        self.gauge(Metric::UnknownForeign, foreign.count() as f64);
        foreign.log("UNKNOWN");
        Ok(())
    }

    /// Our UNKNOWN records, oldest first, and the count of other applications' records among them.
    async fn unknown(&self) -> Result<(Vec<Record>, Foreign), Error> {
        let (mut ours, mut foreign, mut after) = (Vec::new(), Foreign::default(), None);
        for _ in 0..UNKNOWN_PAGES {
            let page = self.store.unknown(MOST_UNKNOWN, after.as_ref()).await?;
            ours.extend(foreign.sort_out(page.records));
            after = page.next;
            if after.is_none() || ours.len() >= MOST_UNKNOWN {
                break;
            }
        }
        ours.truncate(MOST_UNKNOWN);
        Ok((ours, foreign))
    }

    /// Scans for records whose sandbox died, some pages at a time; a pass through the table starts once per interval.
    async fn scan(&self, run: Run, checkpoint: &mut Checkpoint, report: &mut Report) -> Result<(), Error> {
        let now = self.engine.now();
        let mut pass = match checkpoint.pass.take() {
            Some(pass) => pass,
            None if checkpoint.since_pass(now).is_some_and(|since| since < self.scan_interval) => return Ok(()),
            None => Pass::begin(now, SEGMENTS),
        };
        let scanned = self.scan_pages(run, &mut pass, report).await;
        if pass.is_over() {
            self.gauge(Metric::AbandonedFound, pass.abandoned as f64);
            self.gauge(Metric::ExpiredPresent, pass.expired_present as f64);
            self.gauge(Metric::OldestExpiredAge, pass.oldest_expired(now).as_secs_f64());
        }
        checkpoint.keep(pass);
        scanned
    }

    async fn scan_pages(&self, run: Run, pass: &mut Pass, report: &mut Report) -> Result<(), Error> {
        let mut foreign = Foreign::default();
        for _ in 0..SCAN_PAGES {
            if self.engine.now() >= run.end || pass.is_over() {
                break;
            }
            let mut part = match self.store.scan(&pass.place(), self.engine.now(), SCAN_PAGE).await {
                Err(error) if is_refused(&error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the table does not accept the position of the scan; it starts again");
                    *pass = Pass::begin(self.engine.now(), SEGMENTS);
                    break;
                }
                part => part?,
            };
            part.abandoned = foreign.sort_out(part.abandoned);
            let missed: Vec<Record> = part.abandoned.iter().filter(|record| self.is_missed(record)).cloned().collect();
            self.count_missed(&missed, report);
            self.reconcile_all(run, &part.abandoned, report).await;
            report.scanned += part.read;
            report.abandoned_found += part.abandoned.len();
            pass.advance(&part);
        }
        report.foreign += foreign.count();
        foreign.log("PROCESSING under a lease that is over");
        Ok(())
    }

    fn is_missed(&self, record: &Record) -> bool {
        FollowUp::of(record).is_some_and(|follow_up| follow_up.due.plus(GRACE) < self.engine.now())
    }

    fn count_missed(&self, missed: &[Record], report: &mut Report) {
        report.missed += missed.len();
        for record in missed {
            tracing::warn!(record = record.id.name(), "its follow-up has not settled it");
            self.engine.metrics().count(Metric::FollowUpMissed, &record.operation);
        }
    }

    /// Reconciles these records, a few at a time, until the run's end. Returns how many were started.
    async fn reconcile_all(&self, run: Run, records: &[Record], report: &mut Report) -> usize {
        let mut asked = 0;
        let mut found = stream::iter(records)
            .take_while(|_| std::future::ready(self.engine.now() < run.end))
            .map(|record| self.reconcile(run, record))
            .buffered(CONCURRENCY);
        while let Some(found) = found.next().await {
            asked += 1;
            report.count(found);
        }
        asked
    }

    /// An error of one record must not block the others.
    async fn reconcile(&self, run: Run, record: &Record) -> Option<Reconciled> {
        let now = self.engine.now();
        let deadline = EpochMs(run.deadline.0.min(now.plus(RESERVE).0));
        match self.engine.reconcile(record, operations(), deadline, run.request, &self.resolver).await {
            Ok(reconciled) => Some(reconciled),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(record = record.id.name(), error, "not reconciled");
                None
            }
        }
    }

    fn gauge(&self, metric: Metric, value: f64) {
        self.engine.metrics().gauge(metric, value);
    }
}

/// Whether DynamoDB rejects the request as invalid: then its position is invalid, and stays so.
fn is_refused(error: &StoreError) -> bool {
    match error {
        StoreError::NotApplied(source) | StoreError::Uncertain(source) => source
            .downcast_ref::<SdkError<ScanError>>()
            .is_some_and(|error| error.code() == Some("ValidationException")),
        _ => false,
    }
}

/// The operation of the heartbeat metric, which is none of the API's.
const OPERATION: &str = "reconcile";
