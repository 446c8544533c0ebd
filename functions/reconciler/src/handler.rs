//! The business of the reconciler: look what waits, ask what became of it, say how much is left.
//!
//! A run is bounded by its time. What it does not come to, the next run begins with; a record that stays unclear does
//! not keep it from the others. One run at a time, under the lock: two at once would harm nothing, since each record is
//! taken over under a condition, but ask the provider everything twice.
//!
//! Only records of [declared operations](payments::operations) are looked at. The table may be another application's as
//! well: what is not ours is counted, and left exactly as it is.

pub(crate) mod checkpoint;
mod foreign;
mod report;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::scan::ScanError;
use futures::FutureExt;
use futures::stream::{self, StreamExt};
use idempotency::protocol::{EpochMs, InvocationId, Record};
use idempotency::reconcile::Reconciled;
use idempotency::store::StoreError;
use idempotency::store::dynamodb::After;
use idempotency::telemetry::metrics::Metric;
use idempotency::{DynamoDbStore, Engine, Lock};
use lambda_runtime::{Context, Error};
use payments::{ProviderResolver, operations};

use checkpoint::{Checkpoint, Checkpoints, Pass};
use foreign::Foreign;
use report::Report;

/// How many records are looked at together: the provider has a limit of requests, and others need it, too.
const CONCURRENCY: usize = 4;

/// How many UNKNOWN records a run reads. With more than that, an outage is at work, and the gauge says "at least".
const MOST_UNKNOWN: usize = 1000;

/// How often it reads so many, if there are records of others among them.
const UNKNOWN_PAGES: usize = 10;

/// Parts of the table that are scanned in turn, so that the reads are spread over its partitions.
const SEGMENTS: u16 = 4;

/// Items that one request of the scan reads: at most a thousand of 1 KB, about 125 read units.
const SCAN_PAGE: u16 = 1000;

/// Requests of the scan in one run.
const SCAN_PAGES: usize = 20;

/// How long before its deadline a run begins nothing new: as long as a resolver may take, and a little.
const RESERVE: Duration = Duration::from_secs(12);

pub(crate) struct Handler {
    engine: Engine<DynamoDbStore>,
    store: DynamoDbStore,
    resolver: ProviderResolver,
    checkpoints: Checkpoints,
    scan_interval: Duration,
}

/// One run: which invocation, and until when.
#[derive(Clone, Copy)]
struct Run {
    request: Option<InvocationId>,
    deadline: EpochMs,
    /// Nothing new is begun after it.
    end: EpochMs,
}

impl Handler {
    pub(crate) const fn new(
        engine: Engine<DynamoDbStore>,
        store: DynamoDbStore,
        resolver: ProviderResolver,
        checkpoints: Checkpoints,
        scan_interval: Duration,
    ) -> Self {
        Self { engine, store, resolver, checkpoints, scan_interval }
    }

    pub(crate) async fn handle(&self, context: &Context) -> Result<Report, Error> {
        let report = self.run(context).await;
        self.engine.flush();
        report
    }

    async fn run(&self, context: &Context) -> Result<Report, Error> {
        let (now, deadline) = (self.engine.now(), EpochMs(context.deadline));
        let run = Run {
            request: InvocationId::parse(&context.request_id),
            deadline,
            end: now.plus(deadline.since(now).saturating_sub(RESERVE)),
        };
        // A run that is killed frees the lock a little after it could have gone on.
        let lock = Lock::new(self.engine.clone(), "reconciler", deadline.since(now) + Duration::from_secs(2));
        let Some(held) = lock.acquire(run.request).await? else {
            tracing::info!("another run is at work");
            return Ok(Report { held_elsewhere: true, ..Report::default() });
        };
        // Caught, and not left to `Drop`, where nothing can be awaited: a lock that is not released keeps the next runs
        // out until its lease is over.
        let ended = AssertUnwindSafe(self.locked(run, held.fence())).catch_unwind().await;
        if let Err(error) = held.release().await {
            tracing::error!(error = &error as &dyn std::error::Error, "the lock is free when its lease is over");
        }
        let report = ended.unwrap_or_else(|_panic| Err("the run panicked".into()))?;
        self.engine.metrics().count(Metric::ReconcilerHeartbeat, OPERATION);
        tracing::info!(report = %serde_json::to_string(&report)?, "reconciled");
        Ok(report)
    }

    /// What is done under the lock.
    async fn locked(&self, run: Run, fence: u64) -> Result<Report, Error> {
        let mut report = Report::default();
        let mut checkpoint = match self.checkpoints.read().await {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                // Where to go on is not known, nor when the table was last searched. What waits is asked about all the
                // same, from the oldest on.
                self.reconcile_unknown(run, &mut Checkpoint::default(), &mut report).await?;
                return Err(error.into());
            }
        };
        // Neither half needs the other; and what one has come to is kept though the other failed, or a run that always
        // fails at one place would never come to what is behind it.
        let reconciled = self.reconcile_unknown(run, &mut checkpoint, &mut report).await;
        let scanned = self.scan(run, &mut checkpoint, &mut report).await;
        let kept = self.checkpoints.write(&checkpoint, fence).await;
        reconciled.and(scanned)?;
        kept?;
        Ok(report)
    }

    /// Asks about UNKNOWN records, beginning where the last run stopped, and reports how many are left.
    async fn reconcile_unknown(&self, run: Run, checkpoint: &mut Checkpoint, report: &mut Report) -> Result<(), Error> {
        let (mut waiting, _) = self.unknown().await?;
        let first = checkpoint.take_after();
        let is_before = |record: &Record| first.as_ref().is_some_and(|first| After::of(record) <= *first);
        let begin = waiting.partition_point(is_before);
        waiting.rotate_left(begin);
        let asked = self.ask(run, &waiting, report).await;
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

    /// The UNKNOWN records that are ours, oldest first, and what there is of others' between them.
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

    /// Looks for sandboxes that died without a word, some pages at a time; a pass through the table begins once in an
    /// interval.
    async fn scan(&self, run: Run, checkpoint: &mut Checkpoint, report: &mut Report) -> Result<(), Error> {
        let now = self.engine.now();
        let mut pass = match checkpoint.pass.take() {
            Some(pass) => pass,
            None if checkpoint.since_pass(now).is_some_and(|since| since < self.scan_interval) => return Ok(()),
            None => Pass::begin(now, SEGMENTS),
        };
        let scanned = self.go_on(run, &mut pass, report).await;
        if pass.is_over() {
            self.gauge(Metric::AbandonedFound, pass.abandoned as f64);
            self.gauge(Metric::ExpiredPresent, pass.expired_present as f64);
            self.gauge(Metric::OldestExpiredAge, pass.oldest_expired(now).as_secs_f64());
        }
        checkpoint.keep(pass);
        scanned
    }

    async fn go_on(&self, run: Run, pass: &mut Pass, report: &mut Report) -> Result<(), Error> {
        let mut foreign = Foreign::default();
        for _ in 0..SCAN_PAGES {
            if self.engine.now() >= run.end || pass.is_over() {
                break;
            }
            let mut part = match self.store.scan(&pass.place(), self.engine.now(), SCAN_PAGE).await {
                Err(error) if is_refused(&error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the table does not accept the place where the search stopped; it begins anew"
                    );
                    *pass = Pass::begin(self.engine.now(), SEGMENTS);
                    break;
                }
                part => part?,
            };
            part.abandoned = foreign.sort_out(part.abandoned);
            self.ask(run, &part.abandoned, report).await;
            report.scanned += part.read;
            report.abandoned_found += part.abandoned.len();
            pass.advance(&part);
        }
        report.foreign += foreign.count();
        foreign.log("PROCESSING under a lease that is over");
        Ok(())
    }

    /// Asks about each of these records, a few at a time, until the run's time is over. How many were begun.
    async fn ask(&self, run: Run, records: &[Record], report: &mut Report) -> usize {
        let mut asked = 0;
        let mut found = stream::iter(records)
            .take_while(|_| std::future::ready(self.engine.now() < run.end))
            .map(|record| self.ask_about(run, record))
            .buffered(CONCURRENCY);
        while let Some(found) = found.next().await {
            asked += 1;
            report.count(found);
        }
        asked
    }

    /// One record that the store cannot write now must not keep the others from being asked about.
    async fn ask_about(&self, run: Run, record: &Record) -> Option<Reconciled> {
        let now = self.engine.now();
        let deadline = EpochMs(run.deadline.0.min(now.plus(RESERVE).0));
        match self.engine.reconcile(record, operations(), deadline, run.request, &self.resolver).await {
            Ok(reconciled) => Some(reconciled),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(record = record.id.digest(), error, "not reconciled");
                None
            }
        }
    }

    fn gauge(&self, metric: Metric, value: f64) {
        self.engine.metrics().gauge(metric, value);
    }
}

/// Whether DynamoDB says that the request makes no sense: then the place in it does not, and never will.
fn is_refused(error: &StoreError) -> bool {
    match error {
        StoreError::NotApplied(source) | StoreError::Uncertain(source) => source
            .downcast_ref::<SdkError<ScanError>>()
            .is_some_and(|error| error.code() == Some("ValidationException")),
        _ => false,
    }
}

/// For the heartbeat, which is of no operation of the API.
const OPERATION: &str = "reconcile";
