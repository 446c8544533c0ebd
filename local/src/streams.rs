//! Kafka topics, as far as an event source mapping shows them: partitions with offsets, kept like all data of the
//! stack.
//!
//! There is no broker and no protocol: records come in by `/_local/streams/` and go out by the [`poller`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use rusqlite::{OptionalExtension, params};
use serde::Serialize;
use tokio::sync::Notify;

use crate::storage::Storage;

pub(crate) mod poller;

/// How many partitions each topic has.
pub(crate) const PARTITIONS: u32 = 3;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS stream_records (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        key BLOB, value BLOB NOT NULL, timestamp INTEGER NOT NULL,
        PRIMARY KEY (topic, partition, offset)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS stream_headers (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
        PRIMARY KEY (topic, partition, offset, name)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS stream_positions (
        consumer TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        PRIMARY KEY (consumer, topic, partition)
    ) STRICT, WITHOUT ROWID;";

#[derive(Clone)]
pub(crate) struct Streams(Arc<Inner>);

struct Inner {
    storage: Storage,
    topics: BTreeSet<String>,
    /// Wakes the pollers.
    arrival: Notify,
}

/// A record of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Vec<u8>,
    pub headers: Headers,
}

/// By name, as text.
pub(crate) type Headers = BTreeMap<String, String>;

/// The place of a record.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub partition: u32,
    pub offset: i64,
}

/// The contents of a topic.
#[derive(Debug, Serialize)]
pub(crate) struct Contents {
    pub partitions: Vec<Glimpse>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Glimpse {
    pub partition: u32,
    /// The next offset.
    pub end: i64,
    /// The next offset of each function.
    pub positions: BTreeMap<String, i64>,
    /// The values, as text.
    pub values: Vec<String>,
}

impl Streams {
    pub(crate) fn open(storage: Storage, topics: impl IntoIterator<Item = String>) -> Result<Self> {
        storage.connection().execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Inner { storage, topics: topics.into_iter().collect(), arrival: Notify::new() })))
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &str> {
        self.0.topics.iter().map(String::as_str)
    }

    /// Appends a record, to the partition of its key unless one is named.
    pub(crate) fn append(
        &self,
        topic: &str,
        partition: Option<u32>,
        key: Option<&[u8]>,
        value: &[u8],
        headers: &Headers,
    ) -> Result<Place> {
        let partition = partition.unwrap_or_else(|| partition_of(key.unwrap_or_default()));
        ensure!(partition < PARTITIONS, "a topic has the partitions 0 to {}", PARTITIONS - 1);
        let sql = "INSERT INTO stream_records (topic, partition, offset, key, value, timestamp)
                   SELECT ?1, ?2, ifnull(max(offset) + 1, 0), ?3, ?4, ?5 FROM stream_records
                   WHERE topic = ?1 AND partition = ?2
                   RETURNING offset";
        let values = params![topic, partition, key, value, now()];
        let mut connection = self.0.storage.connection();
        let transaction = connection.transaction()?;
        let offset = transaction.query_row(sql, values, |row| row.get(0))?;
        for (name, value) in headers {
            let sql = "INSERT INTO stream_headers (topic, partition, offset, name, value) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, params![topic, partition, offset, name, value])?;
        }
        transaction.commit()?;
        drop(connection);
        self.0.arrival.notify_waiters();
        Ok(Place { partition, offset })
    }

    /// Up to `limit` records from an offset on.
    fn records(&self, topic: &str, partition: u32, from: i64, limit: usize) -> Result<Vec<Record>> {
        let connection = self.0.storage.connection();
        let mut statement = connection.prepare_cached(
            "SELECT offset, timestamp, key, value FROM stream_records
             WHERE topic = ?1 AND partition = ?2 AND offset >= ?3 ORDER BY offset LIMIT ?4",
        )?;
        let mut headers = connection.prepare_cached(
            "SELECT name, value FROM stream_headers WHERE topic = ?1 AND partition = ?2 AND offset = ?3",
        )?;
        let rows = statement.query_map(params![topic, partition, from, limit as i64], |row| {
            let offset: i64 = row.get(0)?;
            let of_record =
                headers.query_map(params![topic, partition, offset], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Record {
                offset,
                timestamp: row.get(1)?,
                key: row.get(2)?,
                value: row.get(3)?,
                headers: of_record.collect::<rusqlite::Result<_>>()?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    fn position(&self, consumer: &str, topic: &str, partition: u32) -> Result<Option<i64>> {
        let sql = "SELECT offset FROM stream_positions WHERE consumer = ?1 AND topic = ?2 AND partition = ?3";
        let values = params![consumer, topic, partition];
        Ok(self.0.storage.connection().query_row(sql, values, |row| row.get(0)).optional()?)
    }

    fn set_position(&self, consumer: &str, topic: &str, partition: u32, offset: i64) -> Result<()> {
        let sql =
            "INSERT OR REPLACE INTO stream_positions (consumer, topic, partition, offset) VALUES (?1, ?2, ?3, ?4)";
        self.0.storage.connection().execute(sql, params![consumer, topic, partition, offset])?;
        Ok(())
    }

    /// Moves on from where a batch was read; not if somebody has rewound meanwhile.
    fn checkpoint(&self, consumer: &str, topic: &str, partition: u32, from: i64, to: i64) -> Result<()> {
        let sql = "UPDATE stream_positions SET offset = ?5
                   WHERE consumer = ?1 AND topic = ?2 AND partition = ?3 AND offset = ?4";
        self.0.storage.connection().execute(sql, params![consumer, topic, partition, from, to])?;
        Ok(())
    }

    /// Sets every consumer of a partition back, as a rebalance does before it has committed.
    pub(crate) fn rewind(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        let sql = "UPDATE stream_positions SET offset = min(offset, ?3) WHERE topic = ?1 AND partition = ?2";
        self.0.storage.connection().execute(sql, params![topic, partition, offset])?;
        self.0.arrival.notify_waiters();
        Ok(())
    }

    /// Deletes the topic and creates it again: offsets and consumers start at 0.
    pub(crate) fn recreate(&self, topic: &str) -> Result<()> {
        let connection = self.0.storage.connection();
        connection.execute("DELETE FROM stream_records WHERE topic = ?1", [topic])?;
        connection.execute("DELETE FROM stream_headers WHERE topic = ?1", [topic])?;
        connection.execute("UPDATE stream_positions SET offset = 0 WHERE topic = ?1", [topic])?;
        Ok(())
    }

    pub(crate) fn contents(&self, topic: &str) -> Result<Contents> {
        let partitions = (0..PARTITIONS).map(|partition| {
            let records = self.records(topic, partition, 0, usize::MAX >> 1)?;
            let connection = self.0.storage.connection();
            let mut statement = connection
                .prepare_cached("SELECT consumer, offset FROM stream_positions WHERE topic = ?1 AND partition = ?2")?;
            let positions = statement.query_map(params![topic, partition], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Glimpse {
                partition,
                end: records.last().map_or(0, |record| record.offset + 1),
                positions: positions.collect::<rusqlite::Result<_>>()?,
                values: records.iter().map(|record| String::from_utf8_lossy(&record.value).into_owned()).collect(),
            })
        });
        Ok(Contents { partitions: partitions.collect::<Result<_>>()? })
    }

    /// Waits for a record, or a little.
    async fn arrival(&self, wait: Duration) {
        let _ = tokio::time::timeout(wait, self.0.arrival.notified()).await;
    }
}

/// Equal keys, one partition. Not Kafka's hash: nobody else computes it here.
fn partition_of(key: &[u8]) -> u32 {
    key.iter().fold(7_u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(u32::from(*byte))) % PARTITIONS
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}
