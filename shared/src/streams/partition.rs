//! One partition and its watermark.

use std::time::Duration;

use derive_where::derive_where;

use super::{Delivered, Position, Stream};
use crate::engine::{Attempt, Timings};
use crate::protocol::watermark::{RecordDigest, Watermark};
use crate::protocol::{EpochMs, Trace, TransactionId};
use crate::store::watermarks::{Advanced, Watermarks};
use crate::store::{Store, StoreError};
use crate::telemetry::metrics::Metric;
use crate::telemetry::request_log::{LogSummary, RequestLog};
use sha2::{Digest, Sha256};

/// A partition or shard of a [`Stream`].
#[derive_where(Debug)]
pub struct Partition<'a, S: Store> {
    pub(super) stream: &'a Stream<S>,
    pub(super) id: String,
}

/// The reason that a watermark was not rewound. The watermark is unchanged, unless the store's error leaves that open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RewindError {
    /// A rewind needs a name, for example that of an incident or a ticket.
    #[error("a rewind needs a name")]
    Nameless,
    /// The watermark moved meanwhile: read it again.
    #[error("the watermark moved meanwhile")]
    Moved,
    /// The store's error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl<'a, S: Watermarks> Partition<'a, S> {
    pub(super) fn new(stream: &'a Stream<S>, name: String) -> Self {
        // `#` separates the parts of the id, so no part may contain it.
        let part = |text: &str| text.replace('%', "%25").replace('#', "%23");
        let id = format!("watermark#{}#{}#{}", part(&stream.source), part(&stream.generation), part(&name));
        Self { stream, id }
    }

    /// Reads the partition's watermark; `None` if no record has run.
    ///
    /// # Errors
    /// [`StoreError`] if the watermark could not be read.
    pub async fn watermark(&self) -> Result<Option<Watermark>, StoreError> {
        self.stream.engine.store().watermark(&self.id).await
    }

    /// Restarts a stopped partition: the records above `to` (all records if `None`) run, even if they ran before.
    ///
    /// For operators who know the cause: records above `to` that already ran take effect a second time, unless the
    /// effects' own conditions prevent that. `name` is the name of the incident and is logged.
    ///
    /// # Errors
    /// [`RewindError`] if the name is empty, the watermark moved meanwhile, or the store failed.
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
        }
        tracing::warn!(watermark = self.id, name, position = ?next.position, "the watermark was rewound");
        Ok(next)
    }

    /// Logs a record that is done.
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

    pub(super) fn line<'l>(
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

    /// The transaction id is derived from the position, so that it is the same for every delivery.
    pub(super) fn attempt(&self, seen: &RecordDigest, trace: Option<Trace>, deadline: EpochMs) -> Attempt<S::Effect> {
        let digest = Sha256::digest(self.place(&seen.position));
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        let transaction = TransactionId::from_bytes(*uuid::Builder::from_custom_bytes(bytes).as_uuid().as_bytes());
        self.stream.engine.attempt_of(transaction, trace, deadline)
    }

    /// The name of a position, which is unique across partitions.
    pub(super) fn place(&self, position: &Position) -> String {
        format!("{}#{position}", self.id)
    }

    pub(super) fn count(&self, metric: Metric) {
        self.stream.engine.count(metric, self.stream.operation.name());
    }
}

/// The records of a partition, as they were delivered.
pub(super) struct Delivery<'a> {
    pub(super) records: &'a [Delivered],
    pub(super) began: EpochMs,
    pub(super) deadline: EpochMs,
}

/// The point at which a partition stops, and the reason: the record at this index and all later ones are redelivered.
pub(super) struct Stopped {
    pub(super) index: usize,
    pub(super) summary: LogSummary,
}
