//! The topics of a real Kafka cluster.
//!
//! Only committed records are read: what a transaction aborted does not exist here, as for Lambda.

mod reader;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result, anyhow};
use krafka::{
    Kafka, KrafkaError,
    admin::{
        AdminClient, CreateTopicsOptions, DeleteTopicsOptions, ListConsumerGroupOffsetsOptions, ListOffsetsOptions,
        NewTopic, OffsetSpec, TopicPartition,
    },
    consumer::{AutoOffsetReset, ConsumerRecord, IsolationLevel, TimestampType},
    error::ErrorCode,
    producer::Producer,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Contents, NewRecord, PARTITIONS, PartitionContents, Place, Record, source::Source};
use reader::{Change, Reader};

/// How long a request may take. A broker on this machine answers in milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to create a topic whose predecessor is still being deleted.
const RETRY: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Broker(Arc<Inner>);

struct Inner {
    kafka: Kafka,
    servers: String,
    admin: AdminClient,
    producer: Producer,
    topics: BTreeSet<String>,
    /// By the name of the function, which is also that of its group.
    readers: Mutex<BTreeMap<String, mpsc::UnboundedSender<Change>>>,
}

impl Broker {
    /// Connects, and creates the topics that are missing.
    pub(crate) async fn connect(servers: &str, topics: impl IntoIterator<Item = String>) -> Result<Self> {
        let unreachable = || format!("no Kafka broker answers at {servers}");
        let builder = Kafka::builder(servers).client_id("local-stack").allow_auto_create_topics(false);
        let connecting = builder.request_timeout(TIMEOUT).connect_timeout(TIMEOUT).connect();
        let kafka = tokio::time::timeout(TIMEOUT, connecting).await.with_context(unreachable)?;
        let kafka = kafka.with_context(unreachable)?;
        let producer = kafka.producer().linger(Duration::ZERO).metrics_push(false).build().await?;
        let topics: BTreeSet<String> = topics.into_iter().collect();
        let inner = Inner {
            admin: kafka.admin(),
            kafka,
            servers: servers.to_owned(),
            producer,
            topics,
            readers: Mutex::default(),
        };
        for topic in &inner.topics {
            inner.create(topic, PARTITIONS).await?;
        }
        Ok(Self(Arc::new(inner)))
    }

    pub(crate) fn topics(&self) -> &BTreeSet<String> {
        &self.0.topics
    }

    /// These topics, as a function reads them: a member of the group with its name.
    pub(crate) async fn source(
        &self,
        group: &str,
        topics: &[String],
        from_latest: bool,
    ) -> Result<impl Source + use<>> {
        let (changes, receiver) = mpsc::unbounded_channel();
        self.0.readers.lock().insert(group.to_owned(), changes);
        Reader::join(&self.0.kafka, self.0.servers.clone(), group, topics, from_latest, receiver).await
    }

    pub(crate) async fn append(&self, topic: &str, record: NewRecord) -> Result<Place> {
        let NewRecord { partition, key, value, headers } = record;
        let mut sent = krafka::Record::new(topic, value.clone().unwrap_or_default());
        if value.is_none() {
            sent = sent.without_value();
        }
        if let Some(key) = key {
            sent = sent.key(key);
        }
        if let Some(partition) = partition {
            sent = sent.partition(i32::try_from(partition)?);
        }
        let sent = headers.into_iter().fold(sent, |sent, (name, value)| sent.header(name, value));
        let begun = std::time::Instant::now();
        loop {
            match self.0.producer.send(sent.clone()).await {
                Ok(appended) => {
                    return Ok(Place { partition: appended.partition.unsigned_abs(), offset: appended.offset });
                }
                // The client still knows a topic that was deleted and created anew.
                Err(error) if begun.elapsed() < TIMEOUT => {
                    tracing::debug!("{topic}: {error}");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Only a group's own member may set it back while it is active.
    pub(crate) async fn rewind(&self, topic: &str, partition: u32, offset: i64) -> Result<()> {
        let partition = (topic.to_owned(), partition);
        self.change(|done| Change::Rewind { partition: partition.clone(), offset, done }).await
    }

    pub(crate) async fn recreate(&self, topic: &str, partitions: u32) -> Result<()> {
        let deleted = self.0.admin.delete_topics([topic], DeleteTopicsOptions::default().timeout(TIMEOUT)).await?;
        deleted.into_values().collect::<krafka::Result<()>>()?;
        self.0.create(topic, partitions).await?;
        // Groups may remember places of the topic that was deleted.
        let partitions: Vec<_> = (0..partitions).map(|partition| (topic.to_owned(), partition)).collect();
        self.change(|done| Change::Begin { partitions: partitions.clone(), done }).await
    }

    /// Asks each reader for a change, and waits until all have made it.
    async fn change(&self, change: impl Fn(reader::Done) -> Change) -> Result<()> {
        let readers: Vec<_> = self.0.readers.lock().values().cloned().collect();
        for reader in readers {
            let (done, made) = tokio::sync::oneshot::channel();
            reader.send(change(done)).map_err(|_| anyhow!("the reader has ended"))?;
            made.await.context("the reader has ended")??;
        }
        Ok(())
    }

    pub(crate) async fn contents(&self, topic: &str) -> Result<Contents> {
        let ends = self.0.ends(topic).await?;
        let mut values = self.0.values(topic, &ends).await?;
        let mut positions = self.0.positions(topic).await?;
        let groups: Vec<String> = self.0.readers.lock().keys().cloned().collect();
        let partitions = ends.into_iter().map(|(partition, end)| {
            let mut positions = positions.remove(&partition).unwrap_or_default();
            if end == 0 {
                // There is no other place in an empty partition; a group commits none.
                positions.extend(groups.iter().map(|group| (group.clone(), 0)));
            }
            PartitionContents { partition, end, positions, values: values.remove(&partition).unwrap_or_default() }
        });
        Ok(Contents { partitions: partitions.collect() })
    }
}

impl Inner {
    /// Creates a topic, unless it exists. One that was just deleted can be in the way for a moment.
    async fn create(&self, topic: &str, partitions: u32) -> Result<()> {
        let begun = std::time::Instant::now();
        loop {
            let new = NewTopic::new(topic, i32::try_from(partitions)?, -1)?;
            let created = self.admin.create_topics([new], CreateTopicsOptions::default().timeout(TIMEOUT)).await?;
            match created.into_values().collect::<krafka::Result<()>>() {
                Ok(()) => break,
                Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. }) => {
                    if self.partitions(topic).await.is_ok_and(|partitions| !partitions.is_empty()) {
                        break;
                    }
                }
                Err(error) => return Err(error).with_context(|| format!("the topic {topic} cannot be created")),
            }
            anyhow::ensure!(begun.elapsed() < TIMEOUT, "the topic {topic} cannot be created: it is being deleted");
            tokio::time::sleep(RETRY).await;
        }
        Ok(())
    }

    async fn partitions(&self, topic: &str) -> Result<Vec<u32>> {
        let partitions = self.producer.partitions_for(topic).await?;
        let mut partitions: Vec<u32> =
            partitions.into_iter().map(|partition| partition.partition.unsigned_abs()).collect();
        partitions.sort_unstable();
        Ok(partitions)
    }

    /// The offset after the last committed record of each partition.
    async fn ends(&self, topic: &str) -> Result<BTreeMap<u32, i64>> {
        let asked = self.partitions(topic).await?.into_iter();
        let asked = asked.map(|partition| Ok((place(topic, partition)?, OffsetSpec::Latest)));
        let asked = asked.collect::<Result<Vec<_>>>()?;
        let options = ListOffsetsOptions::default().read_committed(true).timeout(TIMEOUT);
        let found = self.admin.list_offsets(asked, options).await?.into_iter();
        found.map(|(place, end)| Ok((place.partition().unsigned_abs(), end?.offset))).collect()
    }

    async fn values(&self, topic: &str, ends: &BTreeMap<u32, i64>) -> Result<BTreeMap<u32, Vec<Option<String>>>> {
        let consumer = self
            .kafka
            .consumer_without_group()
            .isolation_level(IsolationLevel::ReadCommitted)
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .metrics_push(false)
            .build()
            .await?;
        let partitions = ends.keys().map(|partition| Ok(i32::try_from(*partition)?)).collect::<Result<Vec<_>>>()?;
        consumer.assign(topic, partitions).await?;
        let mut values: BTreeMap<u32, Vec<Option<String>>> = BTreeMap::new();
        let begun = std::time::Instant::now();
        while !self.is_read(&consumer, topic, ends).await? && begun.elapsed() < TIMEOUT {
            for record in consumer.poll(RETRY).await? {
                let text = record.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
                values.entry(record.partition.unsigned_abs()).or_default().push(text);
            }
        }
        consumer.close().await?;
        Ok(values)
    }

    /// Whether a consumer has read up to these ends, and handed out what it read.
    async fn is_read(
        &self,
        consumer: &krafka::consumer::Consumer,
        topic: &str,
        ends: &BTreeMap<u32, i64>,
    ) -> Result<bool> {
        for (partition, end) in ends {
            let partition = i32::try_from(*partition)?;
            let (position, fetched) =
                (consumer.position(topic, partition).await, consumer.fetch_position(topic, partition).await);
            // After the last record there may be a marker, which is fetched and not handed out.
            let handed_out = position == fetched || position.is_some_and(|position| position >= *end);
            if *end > 0 && (!handed_out || fetched.is_none_or(|fetched| fetched < *end)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The committed places of each function, by partition.
    async fn positions(&self, topic: &str) -> Result<BTreeMap<u32, BTreeMap<String, i64>>> {
        let groups: Vec<String> = self.readers.lock().keys().cloned().collect();
        let mut positions: BTreeMap<u32, BTreeMap<String, i64>> = BTreeMap::new();
        for group in groups {
            let options = ListConsumerGroupOffsetsOptions::default().timeout(TIMEOUT);
            let found = self.admin.list_consumer_group_offsets(group.as_str(), options).await?;
            for (place, offset) in found.into_iter().filter(|(place, _)| place.topic() == topic) {
                if let Some(offset) = offset?.offset {
                    positions.entry(place.partition().unsigned_abs()).or_default().insert(group.clone(), offset);
                }
            }
        }
        Ok(positions)
    }
}

fn place(topic: &str, partition: u32) -> Result<TopicPartition> {
    Ok(TopicPartition::new(topic, i32::try_from(partition)?))
}

impl From<ConsumerRecord> for Record {
    fn from(record: ConsumerRecord) -> Self {
        let bytes = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            offset: record.offset,
            timestamp: record.timestamp,
            timestamp_type: match record.timestamp_type {
                TimestampType::LogAppendTime => "LOG_APPEND_TIME",
                _ => "CREATE_TIME",
            },
            key: bytes(record.key.as_deref()),
            value: bytes(record.value.as_deref()),
            // Lambda's form has no place for a header that is null.
            headers: record
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.as_deref().unwrap_or_default().to_vec()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_without_a_broker_is_an_error_that_names_it() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        drop(listener);
        let error = Broker::connect(&address, []).await.err().expect("nothing listens");
        assert_eq!(error.to_string(), format!("no Kafka broker answers at {address}"));
    }
}
