//! Kafka topics, as the event source mappings and `/_local/` use them: of the [stand-in](StandIn), which is kept like
//! all data of the stack, or of a real [broker](Broker).

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Serialize;

mod broker;
pub(crate) mod poller;
mod source;
mod stand_in;

pub(crate) use broker::Broker;
pub(crate) use stand_in::StandIn;

/// How many partitions a topic gets that has none yet.
const PARTITIONS: u32 = 3;

#[derive(Clone)]
pub(crate) enum Streams {
    StandIn(StandIn),
    Broker(Broker),
}

/// A record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub timestamp_type: &'static str,
    pub key: Option<Vec<u8>>,
    /// `None` is a tombstone.
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// In their order; a name can occur repeatedly.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// A record to append, to the partition of its key unless one is named.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewRecord {
    pub partition: Option<u32>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Headers,
}

/// The place of a record.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub partition: u32,
    pub offset: i64,
}

/// The contents of a topic.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    pub partitions: Vec<PartitionContents>,
}

#[derive(Debug, Serialize)]
pub(crate) struct PartitionContents {
    pub partition: u32,
    /// The next offset.
    pub end: i64,
    /// The next offset of each function.
    pub positions: BTreeMap<String, i64>,
    /// The values, as text; a tombstone has none.
    pub values: Vec<Option<String>>,
}

impl Streams {
    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        let topics = match self {
            Self::StandIn(stand_in) => stand_in.topics(),
            Self::Broker(broker) => broker.topics(),
        };
        topics.iter().map(String::as_str)
    }

    pub(crate) async fn append(&self, topic: &str, record: NewRecord) -> Result<Place> {
        match self {
            Self::StandIn(stand_in) => stand_in.append(topic, record),
            Self::Broker(broker) => broker.append(topic, record).await,
        }
    }

    pub(crate) async fn contents(&self, topic: &str) -> Result<Contents> {
        match self {
            Self::StandIn(stand_in) => stand_in.contents(topic),
            Self::Broker(broker) => broker.contents(topic).await,
        }
    }

    /// Sets every function of a partition back to an offset, if it is beyond that.
    pub(crate) async fn rewind(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        match self {
            Self::StandIn(stand_in) => stand_in.rewind(topic, partition, offset),
            Self::Broker(broker) => broker.rewind(topic, partition, offset).await,
        }
    }

    /// Deletes the topic and creates it again: offsets and functions start at 0.
    pub(crate) async fn recreate(&self, topic: &str, partitions: Option<u32>) -> Result<()> {
        let partitions = partitions.unwrap_or(PARTITIONS);
        match self {
            Self::StandIn(stand_in) => stand_in.recreate(topic, partitions),
            Self::Broker(broker) => broker.recreate(topic, partitions).await,
        }
    }

    /// Deletes every record that a later one of the same key replaces, as compaction does.
    pub(crate) fn compact(&self, topic: &str) -> Result<()> {
        match self {
            Self::StandIn(stand_in) => stand_in.compact(topic),
            Self::Broker(_) => bail!("a broker compacts by itself"),
        }
    }

    /// Uses up an offset without a record, as a transaction's marker does.
    pub(crate) fn mark(&self, topic: &str, partition: u32) -> Result<()> {
        match self {
            Self::StandIn(stand_in) => stand_in.mark(topic, partition),
            Self::Broker(_) => bail!("a broker writes markers for transactions only"),
        }
    }
}
