//! Handles the records of streams: Kafka, Kinesis, and the streams of DynamoDB tables.
//!
//! A Kafka partition or a Kinesis shard is delivered in order, and is redelivered from some position until its records
//! are done, so one idempotency record per message would be wasteful. Instead, one **watermark** item per partition
//! holds the position up to which everything is done. It moves in the same transaction as the effects of a run of
//! records. Storage is constant, however long the stream; a run costs one read and one transaction, however many
//! records it has. If a delayed or duplicate poller tries to commit, the watermark's condition fails, and nothing
//! changes.
//!
//! The guarantee: transactional effects are applied once and in order. For external effects, give each record [its own
//! idempotency record](Stream::record_each). Gaps between positions are normal (compaction, transaction markers). A
//! position at or below the watermark is a duplicate, unless the record there evidently differs from the one that was
//! done: see [`watermark`](crate::protocol::watermark).
//!
//! A record that fails, or that cannot be read, stops its partition: the records before it are committed, this record
//! and the following ones are returned, and other partitions continue. When the event source mapping gives the record
//! up (`MaximumRetryAttempts`), the partition continues after it. Configure an on-failure destination for the mapping;
//! otherwise the record is lost.
//!
//! | source | handler | one item per |
//! |---|---|---|
//! | Kafka, MSK and self-managed | [`Kafka`] | topic, generation, partition |
//! | Kinesis | [`Kinesis`] | shard |
//! | Kafka or Kinesis, [one for each record](Stream::record_each) | the same | record |
//! | DynamoDB Streams | [`TableStream`] | record: their order is not one that a watermark could follow |

mod each;
mod handling;
mod kafka;
mod kinesis;
mod partition;
mod run;
mod table;

pub use each::RecordKey;
pub use kafka::{Kafka, KafkaBatch, KafkaBatchResponse, KafkaFailure, KafkaPosition};
pub use kinesis::{Kinesis, KinesisBatch, Parallel};
pub use partition::{Partition, RewindError};
pub use table::{NoSequenceNumber, TABLE_STREAM_RETENTION, TableBatch, TableStream, new_image, old_image};

use std::time::Duration;

use derive_where::derive_where;
use futures::stream::{self, StreamExt};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::engine::{Attempt, Engine, IntoVerdict, OnFailure, Operation};
pub use crate::envelope::Unreadable;
use crate::protocol::watermark::RecordDigest;
use crate::protocol::{Document, EpochMs, Principal, Trace};
pub use crate::protocol::{InvalidPosition, Position};
use crate::reconcile::{AnyResolver, Resolver};
use crate::store::Store;
use crate::store::watermarks::Watermarks;
use crate::telemetry::span::Span;
use each::Each;
use handling::Handling;
use partition::Delivery;

/// A retention that covers the default retention of Kafka topics, seven days, and several weeks of outages.
pub const RECORD_RETENTION: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A record of a Kafka partition or a Kinesis shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition (`topic-0`) or shard.
    pub partition: String,
    /// The position in the partition: Kafka's offset or Kinesis' sequence number.
    pub position: Position,
    /// The time at which the record was produced or arrived, according to the source, in epoch milliseconds.
    pub timestamp_ms: i64,
    /// Kafka's key or Kinesis' partition key.
    pub key: Option<Vec<u8>>,
    /// The payload; `None` for a Kafka tombstone.
    pub value: Option<Vec<u8>>,
    /// The trace in which the record was sent: Kafka's header `traceparent`. Kinesis records have none.
    pub trace: Option<Trace>,
}

impl Record {
    /// Deserializes the payload from JSON.
    ///
    /// # Errors
    /// [`Unreadable`], which names the invalid member. It contains no payload data, so a handler may return it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let document = Document::parse(self.value.as_deref().unwrap_or_default());
        crate::envelope::read(&document.map_err(|_| Unreadable { member: "the payload, which is not JSON".into() })?)
    }

    /// The digest by which the watermark compares records.
    fn seen(&self) -> RecordDigest {
        let mut hash = Sha256::new();
        hash.update(as_first_read(self.timestamp_ms).to_be_bytes());
        for part in [&self.key, &self.value] {
            // The length comes first; an absent part has a value that no length has.
            hash.update(part.as_ref().map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.as_deref().unwrap_or_default());
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        RecordDigest { position: self.position.clone(), timestamp_ms: self.timestamp_ms, digest: short }
    }
}

/// The timestamp as earlier versions parsed it, through a floating-point number, which lowers some timestamps by a
/// millisecond. The stored digests of witnesses contain these values.
fn as_first_read(timestamp_ms: i64) -> i64 {
    let seconds = timestamp_ms as f64 / 1000.0;
    let milliseconds = (seconds.fract() * 1000.0) as u32;
    (seconds as i64).saturating_mul(1000).saturating_add(i64::from(milliseconds))
}

/// A record as it was delivered. Its position is always known, so that it can be returned.
#[derive(Clone, Debug)]
enum Delivered {
    Read(Record),
    Unreadable { partition: String, position: Position, why: Unreadable },
}

impl Delivered {
    fn partition(&self) -> &str {
        match self {
            Self::Read(record) => &record.partition,
            Self::Unreadable { partition, .. } => partition,
        }
    }

    const fn position(&self) -> &Position {
        match self {
            Self::Read(record) => &record.position,
            Self::Unreadable { position, .. } => position,
        }
    }

    const fn read(&self) -> Option<&Record> {
        match self {
            Self::Read(record) => Some(record),
            Self::Unreadable { .. } => None,
        }
    }
}

/// The settings that [`Kafka`] and [`Kinesis`] share: where the watermarks are stored, and how records run.
///
/// Watermarks are items in the table of the engine's store, next to the idempotency records.
#[derive_where(Clone, Debug)]
pub struct Stream<S: Store> {
    engine: Engine<S>,
    operation: Operation,
    /// `None` if the stream has a watermark per partition.
    each: Option<Each>,
    resolver: Option<AnyResolver<S::Effect, ()>>,
    source: String,
    generation: String,
    on_failure: OnFailure,
    concurrency: usize,
}

impl<S: Watermarks> Stream<S> {
    /// Creates the settings for the records of one source: a Kafka cluster or a Kinesis stream. `source` is its name in
    /// the watermarks' ids. Never change it; otherwise every redelivered record runs again.
    pub fn new(engine: Engine<S>, operation: Operation, source: impl Into<String>) -> Self {
        Self {
            engine,
            operation,
            each: None,
            resolver: None,
            source: source.into(),
            generation: "1".into(),
            on_failure: OnFailure::default(),
            concurrency: 10,
        }
    }

    /// Sets the generation of the source. Default: `1`. A topic that was deleted and created again restarts its
    /// offsets; under another generation it has separate watermarks.
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = generation.into();
        self
    }

    /// Sets what happens to a record whose verdict is `Failed`: [`OnFailure::Return`], the default, stops the partition
    /// at this record until the mapping gives it up; [`OnFailure::Discard`] commits the record's effects and continues.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Gives each record its own idempotency record, like a queue message, instead of one watermark per partition. This
    /// is for handlers with external effects, which pass the attempt's transaction id to other systems. `principal` is
    /// the producer. It costs two writes per record instead of one per run of records. The idempotency records are kept
    /// for [`RECORD_RETENTION`], unless the operation has a [retention](Operation::retention), which must exceed that
    /// of the stream.
    ///
    /// The records of a partition still run in order, and a record that is not settled stops its partition. If a record
    /// is in progress elsewhere, the handler waits for it while there is [time to run](Operation::run_within) it
    /// afterwards: a returned record would be delivered again at once. Set that time limit; otherwise the wait may
    /// leave no time to run.
    ///
    /// ```
    /// use idempotency::protocol::Principal;
    /// use idempotency::streams::{Record, RecordKey, Stream};
    /// # use idempotency::{Engine, Operation, store::memory::MemoryStore};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Sale {
    ///     id: String,
    /// }
    ///
    /// # let (engine, operation) = (Engine::builder(MemoryStore::new()).build(), Operation::new("sales", "announce"));
    /// let key = RecordKey::function(|record: &Record| Some(record.json::<Sale>().ok()?.id));
    /// let stream = Stream::new(engine, operation, "cluster-1").record_each(Principal::new("tills")?, key);
    /// # Ok::<_, idempotency::protocol::InvalidPrincipal>(())
    /// ```
    #[must_use]
    pub fn record_each(mut self, principal: Principal, key: RecordKey) -> Self {
        self.operation = self.operation.or_retention(RECORD_RETENTION);
        self.each = Some(Each { principal, key });
        self
    }

    /// Looks for evidence when a record is redelivered whose outcome is unknown, if [each record has an idempotency
    /// record](Self::record_each). With watermarks no outcome is unknown, and the resolver is not called.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver<S::Effect, ()> + 'static) -> Self {
        self.resolver = Some(AnyResolver::new(resolver));
        self
    }

    /// Sets how many partitions of a batch run concurrently, at least 1. Default: 10.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// Returns a partition (`topic-0`) or shard, for operators who inspect or rewind its watermark.
    pub fn partition(&self, name: impl Into<String>) -> Partition<'_, S> {
        Partition::new(self, name.into())
    }

    /// Handles the records of several partitions, each in order. Returns, in the order of the partitions, from where
    /// each must be redelivered.
    async fn handle<H, R>(
        &self,
        partitions: Vec<Vec<Delivered>>,
        deadline: EpochMs,
        handler: H,
    ) -> Vec<(String, Position)>
    where
        S::Effect: Clone,
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let handler = &handler;
        let stopped = stream::iter(partitions).enumerate().map(|(place, mut records)| async move {
            records.sort_by(|one, other| one.position().cmp(other.position()));
            records.dedup_by(|one, other| one.position() == other.position());
            let name = records.first()?.partition().to_owned();
            let partition = self.partition(name.clone());
            let stopped = match &self.each {
                Some(each) => each.handle(self, &records, deadline, handler).await,
                None => {
                    let delivery = Delivery { records: &records, began: self.engine.now(), deadline };
                    let handling = Handling { partition: &partition, delivery, handler };
                    Span::message(self.operation.name()).of(handling.handle()).await
                }
            };
            stopped.map(|index| (place, (name, records[index].position().clone())))
        });
        // In the order in which they end, so that a waiting partition does not delay one that could begin.
        let mut stopped: Vec<_> =
            stopped.buffer_unordered(self.concurrency).filter_map(std::future::ready).collect().await;
        self.engine.flush();
        stopped.sort_unstable_by_key(|(place, _)| *place);
        stopped.into_iter().map(|(_, stopped)| stopped).collect()
    }
}

#[cfg(test)]
mod tests;
