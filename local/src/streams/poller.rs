//! An event source mapping of Kafka topics: batches of several partitions to a function, each partition in order, and
//! what the function's answer means for them (AWS, "Configuring error handling controls for Kafka event sources").

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{
    NewRecord, Record, Streams,
    source::{Batch, Part, Partition, Source},
};
use crate::{function::Function, sqs_mapping, template};

/// How long a batch waits for its first record at most; a record wakes it.
const POLL: Duration = Duration::from_millis(200);

/// Between a failure and the next try; longer with each.
const RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Poller {
    pub settings: template::StreamMapping,
    pub streams: Streams,
    pub function: Function,
}

/// How it goes with a partition that has failed.
#[derive(Debug, Clone, Default)]
struct RetryState {
    /// How often the first record of the batch has failed.
    failures: u32,
    /// How many records the next batch takes: halved with each failure, if the mapping bisects.
    limit: usize,
}

impl Poller {
    pub(crate) async fn run(self) {
        let (topics, from_latest) = (&self.settings.topics, self.settings.from_latest);
        let begun = match &self.streams {
            Streams::StandIn(stand_in) => match stand_in.source(self.function.name(), topics, from_latest) {
                Ok(source) => return self.read(source).await,
                Err(error) => error,
            },
            Streams::Broker(broker) => match broker.source(self.function.name(), topics, from_latest).await {
                Ok(source) => return self.read(source).await,
                Err(error) => error,
            },
        };
        tracing::error!("{}: cannot read the topics: {begun:#}", self.function.name());
    }

    async fn read(&self, mut source: impl Source) {
        let mut retries: BTreeMap<Partition, RetryState> = BTreeMap::new();
        loop {
            let wait = match self.advance(&mut source, &mut retries).await {
                Ok(true) => retries.values().map(|retry| retry.failures).max().unwrap_or(0),
                Ok(false) => continue,
                Err(error) => {
                    tracing::error!("{}: {error:#}; trying again", self.function.name());
                    u32::MAX
                }
            };
            tokio::time::sleep(RETRY.saturating_mul(wait).min(LONGEST_RETRY)).await;
        }
    }

    /// One batch. Whether there was anything.
    async fn advance(&self, source: &mut impl Source, retries: &mut BTreeMap<Partition, RetryState>) -> Result<bool> {
        let limits = self.limits(&source.partitions().await?, retries);
        let batch = source.collect(&limits, POLL).await?;
        if batch.is_empty() {
            return Ok(false);
        }
        let event = self.event(source.bootstrap_servers(), &batch).to_string();
        let outcome = tokio::select! {
            outcome = self.function.invoke(event) => outcome,
            failed = source.remain() => match failed? {},
        };
        let ignored = sqs_mapping::ignored(&outcome, self.settings.report_batch_item_failures);
        for ((topic, partition), offset) in places(&ignored, &batch).unwrap_or_default() {
            tracing::warn!(
                "{}: {topic}-{partition} is passed over from offset {offset} on, which the function reported as failed: \
                 the mapping has no {}",
                self.function.name(),
                template::REPORT
            );
        }
        let failed = sqs_mapping::reported(&outcome, self.settings.report_batch_item_failures)
            .and_then(|failures| places(&failures, &batch));
        for (partition, part) in batch {
            // A complete failure is one at the first record of every partition.
            let failed = failed.as_ref().map_or(Some(part.first()), |places| places.get(&partition).copied());
            self.settle(source, partition, &part, failed, retries).await?;
        }
        Ok(true)
    }

    /// A share of the batch for each partition, so that none waits for another.
    fn limits(
        &self,
        partitions: &[Partition],
        retries: &BTreeMap<Partition, RetryState>,
    ) -> BTreeMap<Partition, usize> {
        let share = (self.settings.batch_size / partitions.len().max(1)).max(1);
        let limit = |partition| retries.get(partition).map_or(share, |retry| retry.limit.min(share));
        partitions.iter().map(|partition| (partition.clone(), limit(partition))).collect()
    }

    /// Moves a partition on, or notes that it failed.
    async fn settle(
        &self,
        source: &mut impl Source,
        partition: Partition,
        part: &Part,
        failed: Option<i64>,
        retries: &mut BTreeMap<Partition, RetryState>,
    ) -> Result<()> {
        let Some(failed) = failed else {
            retries.remove(&partition);
            return source.checkpoint(&partition, part, part.end()).await;
        };
        let rest: Vec<&Record> = part.records.iter().filter(|record| record.offset >= failed).collect();
        let retry = retries.entry(partition.clone()).or_default();
        retry.failures = if failed > part.first() { 1 } else { retry.failures + 1 };
        let alone = rest.len() <= 1 || !self.settings.bisect;
        let exhausted = self.retries().is_some_and(|retries| retry.failures > retries);
        if alone && exhausted {
            tracing::error!("{}: gives up {}-{} at {failed}", self.function.name(), partition.0, partition.1);
            self.give_up(&rest).await?;
            retries.remove(&partition);
            return source.checkpoint(&partition, part, part.end()).await;
        }
        retry.limit = if self.settings.bisect { (rest.len() / 2).max(1) } else { rest.len() };
        source.checkpoint(&partition, part, failed).await
    }

    /// With an on-failure destination, no limit means 10 (AWS, "Using a Kafka topic as an on-failure destination").
    fn retries(&self) -> Option<u32> {
        self.settings.maximum_retries.or(self.settings.failed_topic.as_ref().map(|_| 10))
    }

    /// A topic as destination gets the records themselves.
    async fn give_up(&self, records: &[&Record]) -> Result<()> {
        let Some(topic) = &self.settings.failed_topic else { return Ok(()) };
        for record in records {
            let Record { key, value, headers, .. } = (*record).clone();
            self.streams.append(topic, NewRecord { partition: None, key, value, headers }).await?;
        }
        Ok(())
    }

    fn event(&self, servers: &str, batch: &Batch) -> Value {
        event(self.settings.source_arn.as_deref(), servers, batch)
    }
}

/// AWS, "Using Lambda with Amazon MSK" and "Using Lambda with self-managed Apache Kafka", "Example event". What a
/// record does not have, its key or its value, is left out.
fn event(source_arn: Option<&str>, servers: &str, batch: &Batch) -> Value {
    let records: Map<String, Value> = batch
        .iter()
        .map(|((topic, partition), part)| {
            let records = part.records.iter().map(|record| of_record(topic, *partition, record));
            (format!("{topic}-{partition}"), records.collect())
        })
        .collect();
    let mut event = json!({
        "eventSource": if source_arn.is_some() { "aws:kafka" } else { "SelfManagedKafka" },
        "bootstrapServers": servers,
        "records": records,
    });
    if let Some(arn) = source_arn {
        event["eventSourceArn"] = json!(arn);
    }
    event
}

fn of_record(topic: &str, partition: u32, record: &Record) -> Value {
    // Java's bytes, which have a sign; each header is an object of its own.
    let bytes = |value: &[u8]| value.iter().map(|byte| byte.cast_signed()).collect::<Vec<_>>();
    let headers = record.headers.iter().map(|(name, value)| json!({ name: bytes(value) })).collect::<Vec<_>>();
    let mut event = json!({
        "topic": topic,
        "partition": partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        "timestampType": record.timestamp_type,
        "headers": headers,
    });
    for (member, bytes) in [("key", &record.key), ("value", &record.value)] {
        if let Some(bytes) = bytes {
            event[member] = json!(STANDARD.encode(bytes));
        }
    }
    event
}

/// From where each partition is to come again. Nothing for a report that names what the batch did not have: the whole
/// batch comes again.
fn places(failures: &[Value], batch: &Batch) -> Option<BTreeMap<Partition, i64>> {
    let mut places = BTreeMap::new();
    for failure in failures {
        let place = &failure["itemIdentifier"];
        let (topic, number) = place["partition"].as_str()?.rsplit_once('-')?;
        let partition = (topic.to_owned(), number.parse().ok()?);
        let offset = place["offset"].as_i64()?;
        batch.get(&partition)?.records.iter().find(|record| record.offset == offset)?;
        let lowest = places.get(&partition).map_or(offset, |earlier: &i64| offset.min(*earlier));
        places.insert(partition, lowest);
    }
    Some(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        let part = |offsets: std::ops::Range<i64>| Part { records: offsets.map(record).collect(), generation: 0 };
        BTreeMap::from([(("t-x".to_owned(), 0), part(5..8)), (("t-x".to_owned(), 2), part(0..3))])
    }

    fn record(offset: i64) -> Record {
        Record {
            offset,
            timestamp: 1_545_084_650_987,
            timestamp_type: "CREATE_TIME",
            key: Some(b"recordKey".to_vec()),
            value: Some(br#"{"key":"value"}"#.to_vec()),
            headers: vec![("headerKey".to_owned(), b"headerValue".to_vec())],
        }
    }

    fn read(failures: Value) -> Option<Vec<(u32, i64)>> {
        let places = places(failures.as_array().expect("a list"), &batch())?;
        Some(places.into_iter().map(|((_, partition), offset)| (partition, offset)).collect())
    }

    #[test]
    fn a_report_names_partitions_and_offsets_of_the_batch_or_all_comes_again() {
        let place =
            |partition: &str, offset: i64| json!({"itemIdentifier": {"partition": partition, "offset": offset}});
        assert_eq!(read(json!([])), Some(vec![]));
        assert_eq!(read(json!([place("t-x-2", 1)])), Some(vec![(2, 1)]));
        assert_eq!(read(json!([place("t-x-0", 7), place("t-x-0", 6)])), Some(vec![(0, 6)]));
        for wrong in [place("t-x-0", 8), place("t-x-1", 0), place("u-0", 5), json!({"itemIdentifier": "t-x-0-5"})] {
            assert_eq!(read(json!([wrong])), None, "{wrong}");
        }
    }

    /// The examples of Lambda's documentation for Amazon MSK and for self-managed clusters, and an event that Lambda
    /// sent to a function for a record without a key, which its author published.
    #[test]
    fn events_have_the_form_of_recorded_ones() {
        let part = |records| Part { records, generation: 0 };
        let batch = Batch::from([(("mytopic".to_owned(), 0), part(vec![record(15)]))]);
        let servers = "b-2.demo-cluster-1.a1bcde.c1.kafka.us-east-1.amazonaws.com:9092,\
                       b-1.demo-cluster-1.a1bcde.c1.kafka.us-east-1.amazonaws.com:9092";
        let arn = "arn:aws:kafka:us-east-1:0123456789019:cluster/SalesCluster/abcd1234-abcd-cafe-abab-9876543210ab-4";
        let records = json!({
            "mytopic-0": [{
                "topic": "mytopic",
                "partition": 0,
                "offset": 15,
                "timestamp": 1_545_084_650_987_i64,
                "timestampType": "CREATE_TIME",
                "key": "cmVjb3JkS2V5",
                "value": "eyJrZXkiOiJ2YWx1ZSJ9",
                "headers": [{"headerKey": [104, 101, 97, 100, 101, 114, 86, 97, 108, 117, 101]}],
            }],
        });
        let managed = json!({
            "eventSource": "aws:kafka", "eventSourceArn": arn, "bootstrapServers": servers, "records": records,
        });
        assert_eq!(event(Some(arn), servers, &batch), managed);
        let self_managed = json!({
            "eventSource": "SelfManagedKafka", "bootstrapServers": servers, "records": records,
        });
        assert_eq!(event(None, servers, &batch), self_managed);

        let bare = Record { key: None, value: Some(b"Jun King".to_vec()), headers: Vec::new(), ..record(13) };
        let shown = of_record("topic-names", 0, &bare);
        assert_eq!((&shown["value"], shown.get("key")), (&json!("SnVuIEtpbmc="), None));
    }

    #[test]
    fn a_tombstone_has_no_value_and_header_bytes_have_a_sign() {
        let headers = vec![("h".to_owned(), vec![0, 127, 128, 255]), ("h".to_owned(), Vec::new())];
        let shown = of_record("sales", 1, &Record { value: None, headers, ..record(2) });
        assert!(shown.get("value").is_none(), "{shown}");
        assert_eq!(shown["headers"], json!([{"h": [0, 127, -128, -1]}, {"h": []}]));
    }

    /// The library reads what the stack sends, and so does the crate of Lambda's events.
    #[test]
    fn events_are_read_by_the_library_and_by_the_crate_of_events() {
        let bare = Record { key: None, value: None, headers: Vec::new(), ..record(16) };
        let records = vec![record(15), bare];
        let sent = event(None, "broker:9092", &Batch::from([(("t".to_owned(), 0), Part { records, generation: 0 })]));
        let read: aws_lambda_events::kafka::KafkaEvent = serde_json::from_value(sent.clone()).expect("readable");
        assert_eq!(read.records["t-0"].len(), 2);
        let _: idempotency::streams::KafkaBatch = serde_json::from_value(sent).expect("readable");
    }
}
