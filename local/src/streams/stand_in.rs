//! The stand-in of a Kafka cluster: partitions with offsets in the stack's storage, which survive with `--data`.
//!
//! It has no protocol, no groups and no retention: records come in by `/_local/streams/` and go out by the mappings'
//! pollers, and each function reads all partitions. What only a real broker does, such as a rebalance while a batch
//! runs, needs `--kafka`.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use anyhow::{Result, ensure};
use krafka::producer::murmur2;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::Notify;

use super::{
    Contents, Headers, NewRecord, PARTITIONS, PartitionContents, Place, Record,
    source::{Batch, Part, Partition, Source},
};
use crate::{now, storage::Storage};

/// A row without a timestamp is a marker: an offset without a record.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS topic_partitions (topic TEXT PRIMARY KEY, partitions INTEGER NOT NULL) STRICT;
    CREATE TABLE IF NOT EXISTS topic_records (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        key BLOB, value BLOB, timestamp INTEGER,
        PRIMARY KEY (topic, partition, offset)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS topic_headers (
        topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL, position INTEGER NOT NULL,
        name TEXT NOT NULL, value BLOB NOT NULL,
        PRIMARY KEY (topic, partition, offset, position)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS topic_positions (
        consumer TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
        PRIMARY KEY (consumer, topic, partition)
    ) STRICT, WITHOUT ROWID;";

const NEXT_OFFSET: &str = "SELECT ifnull(max(offset) + 1, 0) FROM topic_records WHERE topic = ?1 AND partition = ?2";

/// The name that events give: it resolves nowhere (RFC 2606), because nothing listens.
const SERVERS: &str = "stand-in.invalid:9092";

#[derive(Clone)]
pub(crate) struct StandIn(Arc<Inner>);

struct Inner {
    storage: Storage,
    topics: BTreeSet<String>,
    /// Wakes the pollers.
    arrival: Notify,
}

impl StandIn {
    pub(crate) fn open(storage: Storage, topics: impl IntoIterator<Item = String>) -> Result<Self> {
        storage.connection().execute_batch(SCHEMA)?;
        Ok(Self(Arc::new(Inner { storage, topics: topics.into_iter().collect(), arrival: Notify::new() })))
    }

    pub(crate) fn topics(&self) -> &BTreeSet<String> {
        &self.0.topics
    }

    /// These topics, as a function reads them. A new one begins at the start or the end.
    pub(crate) fn source(&self, consumer: &str, topics: &[String], from_latest: bool) -> Result<impl Source + use<>> {
        for topic in topics {
            for partition in 0..self.partitions(topic)? {
                let connection = self.0.storage.connection();
                let start = if from_latest { next_offset(&connection, topic, partition)? } else { 0 };
                connection.execute(
                    "INSERT OR IGNORE INTO topic_positions (consumer, topic, partition, offset) VALUES (?1, ?2, ?3, ?4)",
                    params![consumer, topic, partition, start],
                )?;
            }
        }
        Ok(Reader { stand_in: self.clone(), consumer: consumer.to_owned(), topics: topics.to_vec() })
    }

    pub(crate) fn append(&self, topic: &str, record: NewRecord) -> Result<Place> {
        let partitions = self.partitions(topic)?;
        let NewRecord { partition, key, value, headers } = record;
        let mut connection = self.0.storage.connection();
        let transaction = connection.transaction()?;
        let partition = match (partition, &key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, partitions),
            (None, None) => emptiest(&transaction, topic, partitions)?,
        };
        ensure!(partition < partitions, "the topic has the partitions 0 to {}", partitions - 1);
        let offset = next_offset(&transaction, topic, partition)?;
        transaction.execute(
            "INSERT INTO topic_records (topic, partition, offset, key, value, timestamp) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![topic, partition, offset, key, value, now::milliseconds()],
        )?;
        for (position, (name, value)) in headers.iter().enumerate() {
            let sql = "INSERT INTO topic_headers (topic, partition, offset, position, name, value)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            transaction.execute(sql, params![topic, partition, offset, position as i64, name, value])?;
        }
        transaction.commit()?;
        drop(connection);
        self.0.arrival.notify_waiters();
        Ok(Place { partition, offset })
    }

    pub(crate) fn rewind(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        let sql = "UPDATE topic_positions SET offset = min(offset, ?3) WHERE topic = ?1 AND partition = ?2";
        self.0.storage.connection().execute(sql, params![topic, partition, offset])?;
        self.0.arrival.notify_waiters();
        Ok(())
    }

    pub(crate) fn recreate(&self, topic: &str, partitions: u32) -> Result<()> {
        ensure!(partitions > 0, "a topic has at least one partition");
        let mut connection = self.0.storage.connection();
        let transaction = connection.transaction()?;
        transaction.execute("DELETE FROM topic_records WHERE topic = ?1", [topic])?;
        transaction.execute("DELETE FROM topic_headers WHERE topic = ?1", [topic])?;
        transaction.execute("UPDATE topic_positions SET offset = 0 WHERE topic = ?1", [topic])?;
        let sql = "INSERT OR REPLACE INTO topic_partitions (topic, partitions) VALUES (?1, ?2)";
        transaction.execute(sql, params![topic, partitions])?;
        Ok(transaction.commit()?)
    }

    pub(crate) fn compact(&self, topic: &str) -> Result<()> {
        let replaced = "EXISTS (
            SELECT 1 FROM topic_records AS later
            WHERE later.topic = topic_records.topic AND later.partition = topic_records.partition
            AND later.key = topic_records.key AND later.offset > topic_records.offset)";
        let connection = self.0.storage.connection();
        connection.execute(&format!("DELETE FROM topic_records WHERE topic = ?1 AND {replaced}"), [topic])?;
        let left = "NOT EXISTS (
            SELECT 1 FROM topic_records AS of WHERE of.topic = topic_headers.topic
            AND of.partition = topic_headers.partition AND of.offset = topic_headers.offset)";
        connection.execute(&format!("DELETE FROM topic_headers WHERE topic = ?1 AND {left}"), [topic])?;
        Ok(())
    }

    pub(crate) fn mark(&self, topic: &str, partition: u32) -> Result<()> {
        let partitions = self.partitions(topic)?;
        ensure!(partition < partitions, "the topic has the partitions 0 to {}", partitions - 1);
        let connection = self.0.storage.connection();
        let offset = next_offset(&connection, topic, partition)?;
        let sql = "INSERT INTO topic_records (topic, partition, offset) VALUES (?1, ?2, ?3)";
        connection.execute(sql, params![topic, partition, offset])?;
        Ok(())
    }

    pub(crate) fn contents(&self, topic: &str) -> Result<Contents> {
        let partitions = (0..self.partitions(topic)?).map(|partition| {
            let records = self.records(topic, partition, 0, usize::MAX >> 1)?;
            let connection = self.0.storage.connection();
            let mut statement = connection
                .prepare_cached("SELECT consumer, offset FROM topic_positions WHERE topic = ?1 AND partition = ?2")?;
            let positions = statement.query_map(params![topic, partition], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let text = |value: &Vec<u8>| String::from_utf8_lossy(value).into_owned();
            Ok(PartitionContents {
                partition,
                end: next_offset(&connection, topic, partition)?,
                positions: positions.collect::<rusqlite::Result<_>>()?,
                values: records.iter().map(|record| record.value.as_ref().map(text)).collect(),
            })
        });
        Ok(Contents { partitions: partitions.collect::<Result<_>>()? })
    }

    fn partitions(&self, topic: &str) -> Result<u32> {
        let sql = "SELECT partitions FROM topic_partitions WHERE topic = ?1";
        let found = self.0.storage.connection().query_row(sql, [topic], |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(PARTITIONS))
    }

    /// Up to `limit` records from an offset on.
    fn records(&self, topic: &str, partition: u32, from: i64, limit: usize) -> Result<Vec<Record>> {
        let connection = self.0.storage.connection();
        let mut statement = connection.prepare_cached(
            "SELECT offset, timestamp, key, value FROM topic_records
             WHERE topic = ?1 AND partition = ?2 AND offset >= ?3 AND timestamp IS NOT NULL ORDER BY offset LIMIT ?4",
        )?;
        let mut headers = connection.prepare_cached(
            "SELECT name, value FROM topic_headers WHERE topic = ?1 AND partition = ?2 AND offset = ?3 ORDER BY position",
        )?;
        let rows = statement.query_map(params![topic, partition, from, limit as i64], |row| {
            let offset: i64 = row.get(0)?;
            let of_record =
                headers.query_map(params![topic, partition, offset], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(Record {
                offset,
                timestamp: row.get(1)?,
                timestamp_type: "CREATE_TIME",
                key: row.get(2)?,
                value: row.get(3)?,
                headers: of_record.collect::<rusqlite::Result<Headers>>()?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

/// The stand-in's topics, as one function reads them.
struct Reader {
    stand_in: StandIn,
    consumer: String,
    topics: Vec<String>,
}

impl Reader {
    fn position(&self, (topic, partition): &Partition) -> Result<i64> {
        let sql = "SELECT offset FROM topic_positions WHERE consumer = ?1 AND topic = ?2 AND partition = ?3";
        let values = params![self.consumer, topic, partition];
        let found = self.stand_in.0.storage.connection().query_row(sql, values, |row| row.get(0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    fn read(&self, limits: &BTreeMap<Partition, usize>) -> Result<Batch> {
        let mut batch = Batch::new();
        for (partition, limit) in limits {
            let from = self.position(partition)?;
            let records = self.stand_in.records(&partition.0, partition.1, from, *limit)?;
            if !records.is_empty() {
                // The generation is the position: it is another one after the partition was set back.
                batch.insert(partition.clone(), Part { records, generation: from.unsigned_abs() });
            }
        }
        Ok(batch)
    }
}

impl Source for Reader {
    fn bootstrap_servers(&self) -> &str {
        SERVERS
    }

    async fn partitions(&mut self) -> Result<Vec<Partition>> {
        let mut partitions = Vec::new();
        for topic in &self.topics {
            partitions.extend((0..self.stand_in.partitions(topic)?).map(|partition| (topic.clone(), partition)));
        }
        Ok(partitions)
    }

    async fn collect(&mut self, limits: &BTreeMap<Partition, usize>, wait: Duration) -> Result<Batch> {
        let arrival = self.stand_in.0.arrival.notified();
        let batch = self.read(limits)?;
        if !batch.is_empty() || tokio::time::timeout(wait, arrival).await.is_err() {
            return Ok(batch);
        }
        self.read(limits)
    }

    async fn remain(&mut self) -> Result<Infallible> {
        std::future::pending().await
    }

    async fn checkpoint(&mut self, (topic, partition): &Partition, part: &Part, next: i64) -> Result<()> {
        let from = i64::try_from(part.generation)?;
        let sql = "INSERT INTO topic_positions (consumer, topic, partition, offset) VALUES (?1, ?2, ?3, ?5)
                   ON CONFLICT DO UPDATE SET offset = ?5 WHERE offset = ?4";
        let values = params![self.consumer, topic, partition, from, next];
        self.stand_in.0.storage.connection().execute(sql, values)?;
        Ok(())
    }
}

fn next_offset(connection: &Connection, topic: &str, partition: u32) -> rusqlite::Result<i64> {
    connection.query_row(NEXT_OFFSET, params![topic, partition], |row| row.get(0))
}

/// The partition that Kafka's clients choose for a key.
fn partition_of(key: &[u8], partitions: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Where a record without a key goes: evenly over the partitions, as clients spread them.
fn emptiest(connection: &Connection, topic: &str, partitions: u32) -> rusqlite::Result<u32> {
    let ends = (0..partitions).map(|partition| Ok((next_offset(connection, topic, partition)?, partition)));
    let ends = ends.collect::<rusqlite::Result<Vec<_>>>()?;
    Ok(ends.into_iter().min().map_or(0, |(_, partition)| partition))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: &str = "sales";

    fn open() -> StandIn {
        StandIn::open(Storage::open(None).expect("in memory"), [TOPIC.to_owned()]).expect("a schema")
    }

    fn record(key: Option<&str>, value: Option<&str>) -> NewRecord {
        NewRecord {
            partition: Some(0),
            key: key.map(Into::into),
            value: value.map(Into::into),
            headers: vec![("h".to_owned(), vec![0, 255]), ("h".to_owned(), Vec::new()), ("a".to_owned(), vec![7])],
        }
    }

    fn limits(limit: usize) -> BTreeMap<Partition, usize> {
        (0..PARTITIONS).map(|partition| ((TOPIC.to_owned(), partition), limit)).collect()
    }

    #[tokio::test]
    async fn tombstones_and_headers_come_back_as_they_were_appended() {
        let topic = open();
        topic.append(TOPIC, record(Some("k"), None)).expect("appended");
        topic.append(TOPIC, record(None, Some(""))).expect("appended");
        let records = topic.records(TOPIC, 0, 0, 9).expect("read");
        assert_eq!((&records[0].key, &records[0].value), (&Some(b"k".to_vec()), &None));
        assert_eq!((&records[1].key, &records[1].value), (&None, &Some(Vec::new())));
        assert_eq!(records[0].headers, record(None, None).headers, "bytes, repeats and order");
        assert_eq!(topic.contents(TOPIC).expect("read").partitions[0].values, [None, Some(String::new())]);
    }

    #[tokio::test]
    async fn compaction_and_markers_leave_gaps_that_a_reader_passes() {
        let topic = open();
        for (key, value) in [("a", "1"), ("b", "2"), ("a", "3")] {
            topic.append(TOPIC, record(Some(key), Some(value))).expect("appended");
        }
        topic.mark(TOPIC, 0).expect("marked");
        topic.append(TOPIC, record(Some("b"), None)).expect("appended");
        topic.mark(TOPIC, 0).expect("marked");
        topic.compact(TOPIC).expect("compacted");
        let mut source = topic.source("reader", &[TOPIC.to_owned()], false).expect("a source");
        let mut offsets = Vec::new();
        loop {
            let batch = source.collect(&limits(1), Duration::ZERO).await.expect("read");
            let Some((partition, part)) = batch.first_key_value() else { break };
            offsets.extend(part.records.iter().map(|record| record.offset));
            source.checkpoint(partition, part, part.end()).await.expect("written");
        }
        assert_eq!(offsets, [2, 4]);
        assert_eq!(topic.contents(TOPIC).expect("read").partitions[0].end, 6, "a marker has an offset");
    }

    #[tokio::test]
    async fn a_checkpoint_of_a_part_from_before_a_rewind_changes_nothing() {
        let topic = open();
        for value in ["1", "2"] {
            topic.append(TOPIC, record(None, Some(value))).expect("appended");
        }
        let mut source = topic.source("reader", &[TOPIC.to_owned()], false).expect("a source");
        let partition = (TOPIC.to_owned(), 0);
        let first = source.collect(&limits(1), Duration::ZERO).await.expect("read");
        source.checkpoint(&partition, &first[&partition], 1).await.expect("written");
        let second = source.collect(&limits(1), Duration::ZERO).await.expect("read");
        topic.rewind(TOPIC, 0, 0).expect("rewound");
        source.checkpoint(&partition, &second[&partition], 2).await.expect("written");
        let again = source.collect(&limits(9), Duration::ZERO).await.expect("read");
        assert_eq!(again[&partition].first(), 0);
    }

    #[test]
    fn a_topic_that_was_created_anew_may_have_other_partitions() {
        let topic = open();
        topic.append(TOPIC, record(None, Some("1"))).expect("appended");
        topic.recreate(TOPIC, 5).expect("recreated");
        let contents = topic.contents(TOPIC).expect("read");
        assert_eq!(contents.partitions.iter().map(|partition| partition.end).collect::<Vec<_>>(), [0; 5]);
        assert!(topic.recreate(TOPIC, 0).is_err());
    }

    #[test]
    fn keys_go_where_kafka_puts_them_and_records_without_one_are_spread() {
        // From the tests of Kafka's own hash, of which the sign is dropped: "21" and "foobar".
        assert_eq!([partition_of(b"21", 7), partition_of(b"foobar", 7)], [1_173_551_340 % 7, 1_357_151_166 % 7]);
        let topic = open();
        let spread = |_| topic.append(TOPIC, NewRecord::default()).expect("appended").partition;
        assert_eq!((0..6).map(spread).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
    }
}
