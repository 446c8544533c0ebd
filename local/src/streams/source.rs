//! What an event source mapping needs of topics.

use std::{collections::BTreeMap, convert::Infallible, time::Duration};

use anyhow::Result;

use super::Record;

/// A topic and the number of a partition.
pub(crate) type Partition = (String, u32);

/// The records of topics, as one function reads them.
pub(crate) trait Source: Send {
    /// The addresses of the brokers, for the event.
    fn bootstrap_servers(&self) -> &str;

    /// The partitions that the function reads now.
    fn partitions(&mut self) -> impl Future<Output = Result<Vec<Partition>>> + Send;

    /// The first records after those that were checkpointed, up to the limit of each partition. Waits a little for them
    /// if there are none.
    fn collect(
        &mut self,
        limits: &BTreeMap<Partition, usize>,
        wait: Duration,
    ) -> impl Future<Output = Result<Batch>> + Send;

    /// Remains a reader of its partitions while the function runs. Never ends, unless it fails.
    fn remain(&mut self) -> impl Future<Output = Result<Infallible>> + Send;

    /// The function has handled a partition's part of a batch up to an offset: the next batch begins there. Does
    /// nothing if the partition was taken away or set back since the part was collected; its records then come again.
    fn checkpoint(&mut self, partition: &Partition, part: &Part, next: i64) -> impl Future<Output = Result<()>> + Send;
}

pub(crate) type Batch = BTreeMap<Partition, Part>;

/// The part of a batch from one partition. Never empty.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub records: Vec<Record>,
    /// The source's own mark, by which it recognises a part that came before a partition was taken away.
    pub generation: u64,
}

impl Part {
    pub(crate) fn first(&self) -> i64 {
        self.records[0].offset
    }

    /// The offset after the last record.
    pub(crate) fn end(&self) -> i64 {
        self.records[self.records.len() - 1].offset + 1
    }
}
