//! Streams: Kafka, Kinesis, and the streams of DynamoDB tables.
//!
//! A Kafka partition or a Kinesis shard is delivered in order, and again from some position until its records are done.
//! So one idempotency record per message would be a waste. Instead, one **watermark** item per partition holds the
//! position up to which everything is done, and moves in the transaction of the effects of a run of records. Storage is
//! constant, however long the stream; a run costs one read and one transaction, however many records it has. For a
//! delayed or duplicated poller the watermark's condition fails, and it changes nothing.
//!
//! The guarantee: transactional effects are applied once and in order. For external effects give each record
//! [an idempotency record of its own](Stream::record_each). Gaps between positions are normal (compaction, transaction markers). A position at
//! or below the watermark is a repetition, unless the record there is evidently another one: see
//! [`watermark`](crate::protocol::watermark).
//!
//! A record that fails stops its partition: the records before it are committed, it and the following ones are
//! returned, and other partitions continue. A record that cannot be read does the same. When the event source mapping
//! gives it up (`MaximumRetryAttempts`), the partition continues after it; so give the mapping an on-failure
//! destination, or the record is lost.
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

/// A retention that covers the default of Kafka's topics, seven days, and some outages.
pub const RECORD_RETENTION: Duration = Duration::from_secs(29 * 24 * 60 * 60);

/// A record of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its partition (`topic-0`) or shard.
    pub partition: String,
    /// Its position there: Kafka's offset or Kinesis' sequence number.
    pub position: Position,
    /// When it was produced or arrived, according to the source, in epoch milliseconds.
    pub timestamp_ms: i64,
    /// Kafka's key or Kinesis' partition key.
    pub key: Option<Vec<u8>>,
    /// The payload; `None` for Kafka's tombstone.
    pub value: Option<Vec<u8>>,
    /// The trace in which it was sent: Kafka's header `traceparent`. Kinesis has none.
    pub trace: Option<Trace>,
}

impl Record {
    /// The payload, read as a type from JSON.
    ///
    /// # Errors
    /// [`Unreadable`] names the member that has another form; it shows no content, so a handler may return it.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Unreadable> {
        let document = Document::parse(self.value.as_deref().unwrap_or_default());
        crate::envelope::read(&document.map_err(|_| Unreadable { member: "the payload, which is not JSON".into() })?)
    }

    /// What the watermark compares about a record.
    fn seen(&self) -> RecordDigest {
        let mut hash = Sha256::new();
        hash.update(as_first_read(self.timestamp_ms).to_be_bytes());
        for part in [&self.key, &self.value] {
            // The length first, or for an absent part a value that no length has.
            hash.update(part.as_ref().map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
            hash.update(part.as_deref().unwrap_or_default());
        }
        let digest = hash.finalize();
        let mut short = [0; 16];
        short.copy_from_slice(&digest[..16]);
        RecordDigest { position: self.position.clone(), timestamp_ms: self.timestamp_ms, digest: short }
    }
}

/// The timestamp as earlier versions parsed it, through a floating-point number, which makes some a millisecond less.
/// The stored digests of witnesses contain these values.
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
    /// `None`: with a watermark for each partition.
    each: Option<Each>,
    resolver: Option<AnyResolver<S::Effect, ()>>,
    source: String,
    generation: String,
    on_failure: OnFailure,
    concurrency: usize,
}

impl<S: Watermarks> Stream<S> {
    /// Settings for the records of one source: a cluster, or a Kinesis stream. `source` is its name in the watermarks'
    /// ids. Never change it, or every record that is delivered again runs again.
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

    /// The generation of the source. Default: `1`. A topic that was deleted and created again restarts its offsets;
    /// under another generation it has separate watermarks.
    #[must_use]
    pub fn generation(mut self, generation: impl Into<String>) -> Self {
        self.generation = generation.into();
        self
    }

    /// What happens to a record whose verdict is `Failed`: [`OnFailure::Return`], the default, stops the partition at
    /// it until the mapping gives it up; [`OnFailure::Discard`] commits its effects and continues.
    #[must_use]
    pub const fn on_failure(mut self, on_failure: OnFailure) -> Self {
        self.on_failure = on_failure;
        self
    }

    /// Gives each record an idempotency record, like a message of a queue, instead of a watermark for each partition:
    /// for handlers with effects in other systems, to which they pass the attempt's transaction id. `principal` is the
    /// producer. Two writes per record instead of one per run of records. They are kept for [`RECORD_RETENTION`], unless
    /// the operation has a [retention](Operation::retention), which must exceed that of the stream.
    ///
    /// The records of a partition still run in order, and one that is not settled stops it. One that is in progress elsewhere
    /// is waited for while there is [time to run](Operation::run_within) it afterwards: if it were returned, it would be
    /// delivered again at once. Set that time, or the wait may leave none.
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

    /// Looks for evidence when a record comes again whose outcome is unknown, if there is
    /// [one for each](Self::record_each). With watermarks no outcome is unknown, and no resolver is asked.
    #[must_use]
    pub fn resolver(mut self, resolver: impl Resolver<S::Effect, ()> + 'static) -> Self {
        self.resolver = Some(AnyResolver::new(resolver));
        self
    }

    /// How many partitions of a batch run concurrently, at least 1. Default: 10.
    #[must_use]
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency.max(1);
        self
    }

    /// A partition (`topic-0`) or shard, for operators who inspect or rewind its watermark.
    pub fn partition(&self, name: impl Into<String>) -> Partition<'_, S> {
        Partition::new(self, name.into())
    }

    /// Handles the records of several partitions, each in order. Returns where each must be delivered again from, in
    /// the order of the partitions.
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
        // In the order of their ends, so that one that waits holds up no other that could begin.
        let mut stopped: Vec<_> =
            stopped.buffer_unordered(self.concurrency).filter_map(std::future::ready).collect().await;
        self.engine.flush();
        stopped.sort_unstable_by_key(|(place, _)| *place);
        stopped.into_iter().map(|(_, stopped)| stopped).collect()
    }
}

#[cfg(test)]
mod tests;
