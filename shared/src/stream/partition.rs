//! One partition: its watermark, and its records in order.

use super::run::{Committed, Run};
use super::watermark::{Seen, Step, Watermark, decide};
use super::{Position, Record, Stream};
use crate::engine::{Attempt, Verdict, until_deadline};
use crate::metrics::Metric;
use crate::protocol::{EpochMs, TransactionId};
use crate::queue::Failed;
use crate::store::StoreError;
use crate::store::watermarks::{Advanced, Watermarks};
use sha2::{Digest, Sha256};

/// A partition or shard of a [`Stream`].
pub struct Partition<'a, S> {
    pub(super) stream: &'a Stream<S>,
    pub(super) id: String,
}

/// Why a watermark was not rewound. It is as it was, if the store did not say otherwise.
#[derive(Debug, thiserror::Error)]
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
        let next = Watermark::rewound(found.as_ref(), to, engine.time());
        match engine.store().advance(&self.id, &next, Vec::new(), std::time::Duration::from_secs(1)).await? {
            Advanced::Applied => {}
            Advanced::Refused(Some(found)) if found == next => {}
            Advanced::Refused(_) | Advanced::EffectRefused(_) => return Err(RewindError::Moved),
            Advanced::Rejected(error) => return Err(error.into()),
        }
        tracing::warn!(watermark = self.id, name, position = ?next.position, "the watermark was rewound");
        Ok(next)
    }

    /// Handles records in order. The index of the first that is to come again.
    pub(super) async fn handle<H, R>(&self, records: &[Record], deadline: EpochMs, handler: &H) -> Option<usize>
    where
        S::Effect: Clone,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let stopped = match self.watermark().await {
            Ok(watermark) => self.go(watermark, records, deadline, handler).await,
            Err(error) => {
                tracing::error!(watermark = self.id, error = &error as &dyn std::error::Error, "cannot be read");
                Some(0)
            }
        };
        if let Some(index) = stopped {
            self.count(Metric::RecordReturned);
            tracing::warn!(watermark = self.id, position = %records[index].position, "returned from here");
        }
        stopped
    }

    async fn go<H, R>(
        &self,
        mut watermark: Option<Watermark>,
        records: &[Record],
        deadline: EpochMs,
        handler: &H,
    ) -> Option<usize>
    where
        S::Effect: Clone,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut next = 0;
        loop {
            let (run, end) = self.collect(watermark.as_ref(), records, next, deadline, handler).await;
            match self.commit(run, watermark, deadline).await {
                Committed::All(moved) => watermark = moved,
                Committed::Until(index) => return Some(index),
                // Its records are duplicates now, or some of them: the watermark says which.
                Committed::Changed(found, first) => {
                    watermark = found;
                    next = first;
                    continue;
                }
            }
            match end {
                End::Full(index) => next = index,
                End::Stop(index) => return Some(index),
                End::Done => return None,
            }
        }
    }

    /// Runs records from `first` on, until a transaction is full of their effects.
    async fn collect<H, R>(
        &self,
        watermark: Option<&Watermark>,
        records: &[Record],
        first: usize,
        deadline: EpochMs,
        handler: &H,
    ) -> (Run<S>, End)
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut run = Run::default();
        for (index, record) in records.iter().enumerate().skip(first) {
            let seen = record.seen();
            match decide(watermark, &seen) {
                Step::Duplicate => {
                    self.count(Metric::DuplicateSkipped);
                    continue;
                }
                Step::Regression(evidence) => {
                    self.count(Metric::WatermarkRegression);
                    tracing::error!(
                        watermark = self.id,
                        position = %record.position,
                        ?evidence,
                        "another record stands where one was done: the partition stands still until it is rewound or \
                         gets a new generation"
                    );
                    return (run, End::Stop(index));
                }
                Step::Run => {}
            }
            let attempt = self.attempt(&seen, deadline);
            if attempt.remaining().is_zero() {
                return (run, End::Stop(index));
            }
            if let Err(reason) = self.run(&attempt, record, handler).await {
                tracing::error!(watermark = self.id, position = %record.position, reason, "the record did not run");
                return (run, End::Stop(index));
            }
            if let Err(_full) = run.add(index, seen, attempt.take_guarded_effects()) {
                return (run, End::Full(index));
            }
        }
        (run, End::Done)
    }

    async fn run<H, R>(&self, attempt: &Attempt<S::Effect>, record: &Record, handler: &H) -> Result<(), String>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        match until_deadline(attempt, |attempt| handler(attempt, record.clone())).await {
            Ok(Verdict::Success(())) => Ok(()),
            Ok(Verdict::Failed(())) => match self.stream.failed {
                Failed::Drop => Ok(()),
                Failed::Redrive => Err("it failed".to_owned()),
            },
            Ok(Verdict::NotExecuted(())) => Err("it was not executed".to_owned()),
            Ok(Verdict::Unknown(reason)) | Err(reason) => Err(reason.to_string()),
        }
    }

    /// The transaction id follows from the place, so that it is the same over all deliveries.
    fn attempt(&self, seen: &Seen, deadline: EpochMs) -> Attempt<S::Effect> {
        let digest = Sha256::digest(format!("{}#{}", self.id, seen.position));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let transaction = TransactionId::from_bytes(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes());
        self.stream.engine.attempt_of(transaction, deadline)
    }

    pub(super) fn count(&self, metric: Metric) {
        self.stream.engine.count(metric, self.stream.operation.name());
    }
}

/// Why a run ends.
enum End {
    /// The batch is at its end.
    Done,
    /// The record at this index begins another run.
    Full(usize),
    /// The record at this index is to come again.
    Stop(usize),
}
