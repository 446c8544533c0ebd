//! The records of one partition in one batch, run in order.

use std::time::Duration;

use super::partition::{Delivery, Partition, Stopped};
use super::run::{Commit, Committed, Run};
use super::{Delivered, Position, Record};
use crate::engine::{Attempt, IntoVerdict, OnFailure, Verdict, until_deadline};
use crate::protocol::watermark::{Step, Watermark, decide};
use crate::store::Store;
use crate::store::watermarks::Watermarks;
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogOutcome, LogSummary, RequestLog};
use crate::telemetry::span::Span;

/// The handling of one delivery from a partition.
pub(super) struct Handling<'a, S: Store, H> {
    pub(super) partition: &'a Partition<'a, S>,
    pub(super) delivery: Delivery<'a>,
    pub(super) handler: &'a H,
}

impl<S, H, R> Handling<'_, S, H>
where
    S: Watermarks<Effect: Clone>,
    H: Fn(Attempt<S::Effect>, Record) -> R,
    R: Future<Output: IntoVerdict>,
{
    /// Runs the records in order. Returns the index of the first record to deliver again.
    pub(super) async fn handle(&self) -> Option<usize> {
        let partition = self.partition;
        let (watermark, stopped) = match partition.watermark().await {
            Ok(watermark) => self.process(watermark).await,
            Err(error) => {
                partition.count(Metric::StoreError);
                (None, Some(Stopped { index: 0, summary: LogSummary::failed(LogOutcome::Error, &error) }))
            }
        };
        let Stopped { index, summary } = stopped?;
        partition.count(Metric::RecordReturned);
        let line = partition.line(&self.delivery, index, watermark.as_ref(), summary);
        RequestLog { returned: Some(true), behind: Some(self.delivery.records.len() - index - 1), ..line }.write();
        Some(index)
    }

    /// Processes the records. Returns the watermark at the end and, if the partition stopped, where.
    async fn process(&self, mut watermark: Option<Watermark>) -> (Option<Watermark>, Option<Stopped>) {
        let mut next = 0;
        loop {
            let (run, end) = self.collect(watermark.as_ref(), next).await;
            let Commit { moved, ended } = self.partition.commit(run, watermark, &self.delivery).await;
            watermark = moved;
            match (ended, end) {
                (Committed::Until(stopped), _) | (Committed::All, End::Stop(stopped)) => {
                    return (watermark, Some(stopped));
                }
                // Some or all of the run's records are duplicates now; the watermark shows which.
                (Committed::Changed(first), _) => next = first,
                (Committed::All, End::Full(index)) => next = index,
                (Committed::All, End::Done) => return (watermark, None),
            }
        }
    }

    /// Runs records from `first` on, until the transaction is full.
    async fn collect(&self, watermark: Option<&Watermark>, first: usize) -> (Run<S>, End) {
        let Self { partition, delivery, .. } = self;
        let mut run = Run::default();
        let another = another(watermark, &delivery.records[first..]);
        for (index, delivered) in delivery.records.iter().enumerate().skip(first) {
            let stop = |summary| End::Stop(Stopped { index, summary });
            if watermark.is_some_and(|watermark| watermark.covers(delivered.position())) {
                if let Some(position) = another {
                    partition.count(Metric::WatermarkRegression);
                    return (run, stop(LogSummary::failed(LogOutcome::Regression, &Regression(position.clone()))));
                }
                partition.count(Metric::DuplicateSkipped);
                partition.done(delivery, index, watermark, LogSummary::new(LogOutcome::Duplicate), Duration::ZERO);
                continue;
            }
            let record = match delivered {
                Delivered::Read(record) => record,
                Delivered::Unreadable { why, .. } => {
                    return (run, stop(LogSummary::failed(LogOutcome::Unreadable, why)));
                }
            };
            let seen = record.seen();
            let attempt = partition.attempt(&seen, record.trace, delivery.deadline);
            if attempt.remaining().is_zero() {
                return (run, stop(LogSummary::new(LogOutcome::NoTimeToBegin)));
            }
            let span = Span::step("run").linked(record.trace);
            if let Err(summary) = span.of(self.run(&attempt, record)).await {
                return (run, stop(summary));
            }
            if let Err(_full) = run.add(index, seen, attempt.take_guarded_effects()) {
                return (run, End::Full(index));
            }
        }
        (run, End::Done)
    }

    async fn run(&self, attempt: &Attempt<S::Effect>, record: &Record) -> Result<(), LogSummary> {
        let run = async |attempt| (self.handler)(attempt, record.clone()).await.into_verdict();
        match until_deadline(attempt, run).await {
            Ok(Verdict::Success(())) => Ok(()),
            Ok(Verdict::Failed(())) => match self.partition.stream.on_failure {
                OnFailure::Discard => Ok(()),
                OnFailure::Return => Err(LogSummary::new(LogOutcome::Failed)),
            },
            Ok(Verdict::NotExecuted(())) => Err(LogSummary::new(LogOutcome::NotExecuted)),
            // All effects of a record are transactional, so nothing happened.
            Ok(Verdict::Unknown(reason)) | Err(reason) => Err(LogSummary::failed(LogOutcome::Error, reason.error())),
        }
    }
}

/// The reason that a run ends.
enum End {
    /// The batch has no more records.
    Done,
    /// The transaction is full; the record at this index begins the next run.
    Full(usize),
    Stop(Stopped),
}

/// The position of the first record that evidently differs from the one that was done there. A batch never mixes
/// records from before and after a re-creation, so one such record decides about all records at or below the watermark,
/// including earlier ones in the batch.
fn another<'r>(watermark: Option<&Watermark>, records: &'r [Delivered]) -> Option<&'r Position> {
    let watermark = watermark?;
    let witnessed =
        records.iter().filter_map(Delivered::read).filter(|record| watermark.witness(&record.position).is_some());
    let mut others = witnessed.filter(|record| decide(Some(watermark), &record.seen()) == Step::Regression);
    others.next().map(|record| &record.position)
}

/// The record at a position differs from the one that was done there.
#[derive(Debug, thiserror::Error)]
#[error(
    "the record at {0} differs from the one that was done there; no record of this partition runs until the partition is \
     rewound or gets a new generation, and the mapping gives up the records that it has retried often enough"
)]
struct Regression(Position);
