//! Kinesis data streams.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;

use super::{InvalidPosition, Position, Record, Stream};
use crate::engine::{Attempt, Verdict};
use crate::protocol::EpochMs;
use crate::store::watermarks::Watermarks;

/// Handles the records of a Kinesis stream. The mapping needs `FunctionResponseTypes: [ReportBatchItemFailures]`.
#[derive(Clone)]
pub struct Kinesis<S>(Stream<S>);

/// A mapping that handles several parts of a shard at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a parallelization factor of {0} delivers parts of a shard at the same time; one part's watermark would skip \
     records of another. Set it to 1, and split shards for more throughput"
)]
pub struct Parallel(pub u32);

impl<S: Watermarks<Effect: Clone>> Kinesis<S> {
    /// A handler. `parallelization_factor` is the event source mapping's. It is not in the event, so it must be said
    /// here: the template can hand it over in the function's environment.
    ///
    /// # Errors
    /// [`Parallel`] unless it is 1, the mapping's default.
    pub fn new(stream: Stream<S>, parallelization_factor: u32) -> Result<Self, Parallel> {
        match parallelization_factor {
            1 => Ok(Self(stream)),
            other => Err(Parallel(other)),
        }
    }

    /// Handles a batch and reports from which sequence number it is to come again: Lambda takes the lowest for the
    /// shard's checkpoint.
    ///
    /// # Errors
    /// [`InvalidPosition`] if a record has no sequence number that could be reported; Lambda then returns the whole
    /// batch.
    pub async fn handle<H, R>(
        &self,
        event: KinesisEvent,
        deadline: EpochMs,
        handler: H,
    ) -> Result<KinesisEventResponse, InvalidPosition>
    where
        H: Fn(Attempt<S::Effect>, Record) -> R,
        R: Future<Output = Verdict<()>>,
    {
        let mut shards: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for record in event.records {
            let record = read(record)?;
            shards.entry(record.partition.clone()).or_default().push(record);
        }
        let stopped = self.0.handle(shards.into_values().collect(), deadline, handler).await;
        let mut response = KinesisEventResponse::default();
        response.set_failures(stopped.into_iter().map(|(_shard, position)| position.to_string()));
        Ok(response)
    }
}

fn read(record: KinesisEventRecord) -> Result<Record, InvalidPosition> {
    let position = Position::new(&record.kinesis.sequence_number)?;
    // `shardId-000000000006:49590338271490256608559692538361571095921575989136588898`
    let event_id = record.event_id.unwrap_or_default();
    let (shard, _) = event_id.rsplit_once(':').ok_or(InvalidPosition)?;
    Ok(Record {
        partition: shard.to_owned(),
        position,
        timestamp_ms: record.kinesis.approximate_arrival_timestamp.timestamp_millis(),
        key: Some(record.kinesis.partition_key.into_bytes()),
        value: Some(record.kinesis.data.0),
        trace: None,
    })
}
