//! One partition: its watermark, and its records in order.

use std::fmt;
use std::time::Duration;

use super::run::{Commit, Committed, Run};
use super::{Delivered, Position, Record, Stream};
use crate::engine::OnFailure;
use crate::engine::{Attempt, Timings, Verdict, until_deadline};
use crate::protocol::watermark::{RecordDigest, Step, Watermark, decide};
use crate::protocol::{EpochMs, Trace, TransactionId};
use crate::store::StoreError;
use crate::store::watermarks::{Advanced, Watermarks};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;
use sha2::{Digest, Sha256};

/// A partition or shard of a [`Stream`].
pub struct Partition<'a, S> {
    pub(super) stream: &'a Stream<S>,
    pub(super) id: String,
}

impl<S> fmt::Debug for Partition<'_, S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Partition").field("id", &self.id).field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// Why a watermark was not rewound. It is as it was, if the store did not say otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewindError {
    /// A rewind needs a name: of the incident, the ticket.
    #[error("a rewind needs a name")]
    Nameless,
    /// The watermark moved meanwhile: look at it again.
    #[error("the watermark moved meanwhile")]
    Moved,
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<'a, S: Watermarks> Partition<'a, S> {
    pub(super) fn new(stream: &'a Stream<S>, name: String) -> Self {
        // `#` parts the id, so none may be in a part.
        let part = |text: &str| text.replace('%', "%25").replace('#', "%23");
        let id = format!("watermark#{}#{}#{}", part(&stream.source), part(&stream.generation), part(&name));
        Self { stream, id }
    }

    /// The partition's watermark, if anything of it has run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn watermark(&self) -> Result<Option<Watermark>, StoreError> {
        self.stream.engine.store().watermark(&self.id).await
    }

    /// Sets a partition that stands still going again: the records above `to`, or all, run, or run again.
    ///
    /// For a person who knows why: what ran already and is above `to` takes effect a second time, unless the effects'
    /// own conditions refuse that. `name` is that of the incident; it goes to the log.
    ///
    /// # Errors
    /// [`RewindError`].
    pub async fn rewind(&self, to: Option<Position>, name: &str) -> Result<Watermark, RewindError> {
        if name.trim().is_empty() {
            return Err(RewindError::Nameless);
        }
        let engine = &self.stream.engine;
        let found = self.watermark().await?;
        let next = Watermark::rewound(found.as_ref(), to, engine.now());
        match engine.store().advance(&self.id, &next, Vec::new(), Duration::from_secs(1)).await? {
            Advanced::Applied => {}
            Advanced::Refused(Some(found)) if found == next => {}
            Advanced::Refused(_) | Advanced::EffectRefused(_) => return Err(RewindError::Moved),
            Advanced::Rejected(error) => return Err(error.into()),
        }
        tracing::warn!(watermark = self.id, name, position = ?next.position, "the watermark was rewound");
        Ok(next)
    }

    /// Handles records in order. The index of the first that is to come again.
    pub(super) async fn handle<H, R>(&self, records: &[Delivered], deadline: EpochMs, handler: &H) -> Option<usize>
    where
        S::Effect: Clone,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let delivery = Delivery { records, began: self.stream.engine.now(), deadline };
        let (watermark, stopped) = match self.watermark().await {
            Ok(watermark) => self.go(watermark, &delivery, handler).await,
            Err(error) => {
                self.count(Metric::StoreError);
                (None, Some(Stopped { index: 0, summary: LogSummary::failed(LogOutcome::Error, &error) }))
            }
        };
        let Stopped { index, summary } = stopped?;
        self.count(Metric::RecordReturned);
        let line = self.line(&delivery, index, watermark.as_ref(), summary);
        RequestLog { returned: Some(true), behind: Some(records.len() - index - 1), ..line }.write();
        Some(index)
    }

    /// How far it comes, and where it stops before the end.
    async fn go<H, R>(
        &self,
        mut watermark: Option<Watermark>,
        delivery: &Delivery<'_>,
        handler: &H,
    ) -> (Option<Watermark>, Option<Stopped>)
    where
        S::Effect: Clone,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut next = 0;
        loop {
            let (run, end) = self.collect(watermark.as_ref(), delivery, next, handler).await;
            let Commit { moved, ended } = self.commit(run, watermark, delivery).await;
            watermark = moved;
            match (ended, end) {
                (Committed::Until(stopped), _) | (Committed::All, End::Stop(stopped)) => {
                    return (watermark, Some(stopped));
                }
                // Its records are duplicates now, or some of them: the watermark says which.
                (Committed::Changed(first), _) => next = first,
                (Committed::All, End::Full(index)) => next = index,
                (Committed::All, End::Done) => return (watermark, None),
            }
        }
    }

    /// Runs records from `first` on, until a transaction is full of their effects.
    async fn collect<H, R>(
        &self,
        watermark: Option<&Watermark>,
        delivery: &Delivery<'_>,
        first: usize,
        handler: &H,
    ) -> (Run<S>, End)
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut run = Run::default();
        let another = another(watermark, &delivery.records[first..]);
        for (index, delivered) in delivery.records.iter().enumerate().skip(first) {
            let stop = |summary| End::Stop(Stopped { index, summary });
            if watermark.is_some_and(|watermark| watermark.covers(delivered.position())) {
                if let Some(position) = another {
                    self.count(Metric::WatermarkRegression);
                    return (run, stop(LogSummary::failed(LogOutcome::Regression, &Regression(position.clone()))));
                }
                self.count(Metric::DuplicateSkipped);
                self.done(delivery, index, watermark, LogSummary::new(LogOutcome::Duplicate), Duration::ZERO);
                continue;
            }
            let record = match delivered {
                Delivered::Read(record) => record,
                Delivered::Unreadable { why, .. } => {
                    return (run, stop(LogSummary::failed(LogOutcome::Unreadable, why)));
                }
            };
            let seen = record.seen();
            let attempt = self.attempt(&seen, record.trace, delivery.deadline);
            if attempt.remaining().is_zero() {
                return (run, stop(LogSummary::new(LogOutcome::NoTimeToBegin)));
            }
            let span = Span::step("run").linked(record.trace);
            if let Err(summary) = span.of(self.run(&attempt, record, handler)).await {
                return (run, stop(summary));
            }
            if let Err(_full) = run.add(index, seen, attempt.take_guarded_effects()) {
                return (run, End::Full(index));
            }
        }
        (run, End::Done)
    }

    async fn run<H, R>(&self, attempt: &Attempt<S::Effect>, record: &Record, handler: &H) -> Result<(), LogSummary>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        match until_deadline(attempt, |attempt| handler(attempt, record.clone())).await {
            Ok(Verdict::Success(())) => Ok(()),
            Ok(Verdict::Failed(())) => match self.stream.on_failure {
                OnFailure::Discard => Ok(()),
                OnFailure::Return => Err(LogSummary::new(LogOutcome::Failed)),
            },
            Ok(Verdict::NotExecuted(())) => Err(LogSummary::new(LogOutcome::NotExecuted)),
            // Its effects are all inside, so nothing happened.
            Ok(Verdict::Unknown(reason)) | Err(reason) => Err(LogSummary::failed(LogOutcome::Error, reason.error())),
        }
    }

    /// The line of a record that is done.
    pub(super) fn done(
        &self,
        delivery: &Delivery<'_>,
        index: usize,
        watermark: Option<&Watermark>,
        summary: LogSummary,
        commit: Duration,
    ) {
        let line = self.line(delivery, index, watermark, summary);
        RequestLog { returned: Some(false), timings: Timings::commit(commit), ..line }.write();
    }

    fn line<'l>(
        &'l self,
        delivery: &Delivery<'l>,
        index: usize,
        watermark: Option<&'l Watermark>,
        summary: LogSummary,
    ) -> RequestLog<'l> {
        let delivered = &delivery.records[index];
        RequestLog {
            operation: self.stream.operation.name(),
            partition: Some(delivered.partition()),
            position: Some(delivered.position()),
            watermark: watermark.and_then(|watermark| watermark.position.as_ref()),
            producer_trace: delivered.read().and_then(|record| record.trace),
            summary,
            total: self.stream.engine.now().since(delivery.began),
            ..RequestLog::default()
        }
    }

    /// The transaction id follows from the place, so that it is the same over all deliveries.
    fn attempt(&self, seen: &RecordDigest, trace: Option<Trace>, deadline: EpochMs) -> Attempt<S::Effect> {
        let digest = Sha256::digest(format!("{}#{}", self.id, seen.position));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let transaction = TransactionId::from_bytes(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes());
        self.stream.engine.attempt_of(transaction, trace, deadline)
    }

    pub(super) fn count(&self, metric: Metric) {
        self.stream.engine.count(metric, self.stream.operation.name());
    }
}

/// The records of a partition, as they were delivered.
pub(super) struct Delivery<'a> {
    pub(super) records: &'a [Delivered],
    began: EpochMs,
    pub(super) deadline: EpochMs,
}

/// Where a partition stops, and why: the record at this index and all behind it are to come again.
pub(super) struct Stopped {
    pub(super) index: usize,
    pub(super) summary: LogSummary,
}

/// Why a run ends.
enum End {
    /// The batch is at its end.
    Done,
    /// The record at this index begins another run.
    Full(usize),
    Stop(Stopped),
}

/// The place of the first record that is evidently another than was done there. A batch is of one life of its partition:
/// one such record speaks for all that lie at or below the watermark, also for those before it.
fn another<'r>(watermark: Option<&Watermark>, records: &'r [Delivered]) -> Option<&'r Position> {
    let watermark = watermark?;
    let witnessed =
        records.iter().filter_map(Delivered::read).filter(|record| watermark.witness(&record.position).is_some());
    let mut others = witnessed.filter(|record| decide(Some(watermark), &record.seen()) == Step::Regression);
    others.next().map(|record| &record.position)
}

/// Another record stands where one was done.
#[derive(Debug, thiserror::Error)]
#[error(
    "another record stands at {0} than was done there; the partition stands still until it is rewound or gets a new \
     generation"
)]
struct Regression(Position);
