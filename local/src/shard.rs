//! A shard: a table's stream, or a part of a Kinesis stream, as pipes and event source mappings read it.

use std::time::{Duration, SystemTime};

use anyhow::Result;
use serde_json::Value;

pub(crate) use position::Position;

mod position;

/// Streams keep records for a day, by default.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

pub(crate) trait Shard: Send + Sync + 'static {
    /// The `eventSource` of its records.
    const EVENT_SOURCE: &'static str;

    /// The member of a dead letter that says where the records are.
    const BATCH_INFO: &'static str;

    /// Records behind this one, in order; from the oldest on without one.
    fn records(&self, after: Option<&str>, limit: usize) -> impl Future<Output = Result<Vec<ShardRecord>>> + Send;

    /// Its id, if its stream has several.
    fn id(&self) -> Option<&str>;

    /// The place of the newest record, for `StartingPosition: LATEST`.
    fn latest(&self) -> impl Future<Output = Result<Option<String>>> + Send {
        async {
            let mut latest = None;
            while let Some(record) = self.records(latest.as_deref(), 1000).await?.pop() {
                latest = Some(record.sequence_number);
            }
            Ok(latest)
        }
    }
}

/// A record as a stream delivers it, and its place.
#[derive(Debug, Clone)]
pub(crate) struct ShardRecord {
    pub event: Value,
    pub sequence_number: String,
    pub created: SystemTime,
    /// What filters look at, if it is not the event.
    pub filtered: Option<Value>,
}

impl ShardRecord {
    pub(crate) fn age(&self) -> Duration {
        self.created.elapsed().unwrap_or_default()
    }
}
