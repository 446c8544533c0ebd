//! Kinesis data streams.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::KinesisEventRecord;
use aws_lambda_events::event::streams::KinesisEventResponse;
use derive_where::derive_where;
use serde::Deserialize;
use serde_json::Value;

use super::{Delivered, InvalidPosition, Position, Record, Stream};
use crate::engine::{Attempt, IntoVerdict};
use crate::envelope;
use crate::protocol::EpochMs;
use crate::store::Store;
use crate::store::watermarks::Watermarks;

/// Handles the records of a Kinesis stream. The mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.
#[derive_where(Clone, Debug)]
pub struct Kinesis<S: Store>(Stream<S>);

/// A Kinesis event as Lambda delivers it. Each record is parsed separately: one that cannot be read stops only its own
/// shard.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct KinesisBatch {
    #[serde(rename = "Records")]
    records: Vec<Value>,
}

/// The mapping handles several parts of a shard concurrently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a parallelization factor of {0} delivers parts of a shard at the same time, and one part's watermark would skip \
     records of another; set it to 1, and split shards for more throughput"
)]
pub struct Parallel(pub u32);

impl<S: Watermarks<Effect: Clone>> Kinesis<S> {
    /// Creates a handler with these settings. `parallelization_factor` is the event source mapping's setting. Events do
    /// not contain it, so pass it here; the template can put it into the function's environment.
    ///
    /// # Errors
    /// [`Parallel`] unless it is 1, the mapping's default.
    pub fn new(stream: Stream<S>, parallelization_factor: u32) -> Result<Self, Parallel> {
        match parallelization_factor {
            1 => Ok(Self(stream)),
            other => Err(Parallel(other)),
        }
    }

    /// Handles a batch and reports the sequence numbers from which to redeliver: Lambda uses the lowest as the shard's
    /// checkpoint.
    ///
    /// # Errors
    /// [`InvalidPosition`] if a record has no sequence number to report; Lambda then redelivers the whole batch.
    pub async fn handle<H, R>(
        &self,
        event: KinesisBatch,
        deadline: EpochMs,
        handler: H,
    ) -> Result<KinesisEventResponse, InvalidPosition>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output: IntoVerdict>,
    {
        let mut shards: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
        for record in &event.records {
            let record = read(record)?;
            shards.entry(record.partition().to_owned()).or_default().push(record);
        }
        let stopped = self.0.handle(shards.into_values().collect(), deadline, handler).await;
        let mut response = KinesisEventResponse::default();
        response.set_failures(stopped.into_iter().map(|(_shard, position)| position.to_string()));
        Ok(response)
    }
}

fn read(record: &Value) -> Result<Delivered, InvalidPosition> {
    let position = Position::new(envelope::text(record, "/kinesis/sequenceNumber").ok_or(InvalidPosition)?)?;
    // `shardId-000000000006:49590338271490256608559692538361571095921575989136588898`
    let event_id = envelope::text(record, "/eventID").ok_or(InvalidPosition)?;
    let (shard, _) = event_id.rsplit_once(':').ok_or(InvalidPosition)?;
    let partition = shard.to_owned();
    Ok(match envelope::read::<KinesisEventRecord>(record) {
        Ok(record) => Delivered::Read(Record {
            partition,
            position,
            timestamp_ms: record.kinesis.approximate_arrival_timestamp.timestamp_millis(),
            key: Some(record.kinesis.partition_key.into_bytes()),
            value: Some(record.kinesis.data.0),
            trace: None,
        }),
        Err(why) => Delivered::Unreadable { partition, position, why },
    })
}
