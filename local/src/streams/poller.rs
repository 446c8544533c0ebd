//! An event source mapping of Kafka topics: batches of several partitions to a function, each partition in order, and
//! what the function's answer means for them (AWS, "Configuring error handling controls for Kafka event sources").

use std::{collections::BTreeMap, time::Duration};

use anyhow::Result;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::{PARTITIONS, Record, Streams};
use crate::{function::Function, sqs_mapping, template};

/// How long a batch waits for its first record at most; appending wakes it.
const POLL: Duration = Duration::from_millis(200);

/// Between a failure and the next try; longer with each.
const RETRY: Duration = Duration::from_millis(20);
const LONGEST_RETRY: Duration = Duration::from_millis(100);

pub(crate) struct Poller {
    pub settings: template::StreamMapping,
    pub streams: Streams,
    pub function: Function,
}

type Partition = (String, u32);

/// What a batch has of one partition.
struct Part {
    records: Vec<Record>,
}

/// How it goes with a partition that has failed.
#[derive(Debug, Clone, Default)]
struct Trouble {
    /// How often the first record of the batch has failed.
    failures: u32,
    /// How many records the next batch takes: halved with each failure, if the mapping bisects.
    limit: usize,
}

impl Poller {
    pub(crate) async fn run(self) {
        if let Err(error) = self.begin() {
            tracing::error!("{}: cannot read the topics: {error:#}", self.function.name());
        }
        let mut troubles: BTreeMap<Partition, Trouble> = BTreeMap::new();
        loop {
            let wait = match self.advance(&mut troubles).await {
                Ok(true) => troubles.values().map(|trouble| trouble.failures).max().unwrap_or(0),
                Ok(false) => {
                    self.streams.arrival(POLL).await;
                    continue;
                }
                Err(error) => {
                    tracing::error!("{}: {error:#}; trying again", self.function.name());
                    u32::MAX
                }
            };
            tokio::time::sleep(RETRY.saturating_mul(wait).min(LONGEST_RETRY)).await;
        }
    }

    /// A new consumer begins at the start or the end.
    fn begin(&self) -> Result<()> {
        for (topic, partition) in self.partitions() {
            if self.streams.position(self.consumer(), &topic, partition)?.is_none() {
                let all = self.streams.records(&topic, partition, 0, usize::MAX >> 1)?;
                let end = all.last().map_or(0, |record| record.offset + 1);
                let start = if self.settings.from_latest { end } else { 0 };
                self.streams.set_position(self.consumer(), &topic, partition, start)?;
            }
        }
        Ok(())
    }

    /// One batch. Whether there was anything.
    async fn advance(&self, troubles: &mut BTreeMap<Partition, Trouble>) -> Result<bool> {
        let batch = self.collect(troubles)?;
        if batch.is_empty() {
            return Ok(false);
        }
        let outcome = self.function.invoke(self.event(&batch).to_string()).await;
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
            let first = part.records[0].offset;
            // A complete failure is one at the first record of every partition.
            let failed = failed.as_ref().map_or(Some(first), |places| places.get(&partition).copied());
            self.settle(partition, part, failed, troubles)?;
        }
        Ok(true)
    }

    fn collect(&self, troubles: &BTreeMap<Partition, Trouble>) -> Result<BTreeMap<Partition, Part>> {
        let mut batch = BTreeMap::new();
        let partitions: Vec<Partition> = self.partitions().collect();
        // A share for each, so that no partition waits for another.
        let share = (self.settings.batch_size / partitions.len()).max(1);
        for partition in partitions {
            let limit = troubles.get(&partition).map_or(share, |trouble| trouble.limit.min(share));
            let from = self.streams.position(self.consumer(), &partition.0, partition.1)?.unwrap_or(0);
            let records = self.streams.records(&partition.0, partition.1, from, limit)?;
            if !records.is_empty() {
                batch.insert(partition, Part { records });
            }
        }
        Ok(batch)
    }

    /// Moves a partition on, or notes its trouble.
    fn settle(
        &self,
        partition: Partition,
        part: Part,
        failed: Option<i64>,
        troubles: &mut BTreeMap<Partition, Trouble>,
    ) -> Result<()> {
        let (first, last) = (part.records[0].offset, part.records[part.records.len() - 1].offset);
        let Some(failed) = failed else {
            troubles.remove(&partition);
            return self.streams.checkpoint(self.consumer(), &partition.0, partition.1, first, last + 1);
        };
        let rest: Vec<&Record> = part.records.iter().filter(|record| record.offset >= failed).collect();
        let trouble = troubles.entry(partition.clone()).or_default();
        trouble.failures = if failed > first { 1 } else { trouble.failures + 1 };
        let alone = rest.len() <= 1 || !self.settings.bisect;
        let exhausted = self.retries().is_some_and(|retries| trouble.failures > retries);
        if alone && exhausted {
            tracing::error!("{}: gives up {}-{} at {failed}", self.function.name(), partition.0, partition.1);
            self.give_up(&rest)?;
            troubles.remove(&partition);
            return self.streams.checkpoint(self.consumer(), &partition.0, partition.1, first, last + 1);
        }
        trouble.limit = if self.settings.bisect { (rest.len() / 2).max(1) } else { rest.len() };
        self.streams.checkpoint(self.consumer(), &partition.0, partition.1, first, failed)
    }

    /// With an on-failure destination, no limit means 10 (AWS, "Using a Kafka topic as an on-failure destination").
    fn retries(&self) -> Option<u32> {
        self.settings.maximum_retries.or(self.settings.failed_topic.as_ref().map(|_| 10))
    }

    /// A topic as destination gets the records themselves.
    fn give_up(&self, records: &[&Record]) -> Result<()> {
        let Some(topic) = &self.settings.failed_topic else { return Ok(()) };
        for record in records {
            self.streams.append(topic, None, record.key.as_deref(), &record.value, &record.headers)?;
        }
        Ok(())
    }

    /// AWS, "Using Lambda with Amazon MSK", "Example event".
    fn event(&self, batch: &BTreeMap<Partition, Part>) -> Value {
        let records: Map<String, Value> = batch
            .iter()
            .map(|((topic, partition), part)| {
                let records = part.records.iter().map(|record| {
                    json!({
                        "topic": topic,
                        "partition": partition,
                        "offset": record.offset,
                        "timestamp": record.timestamp,
                        "timestampType": "CREATE_TIME",
                        "key": record.key.as_ref().map(|key| STANDARD.encode(key)),
                        "value": STANDARD.encode(&record.value),
                        // Each a member of its own, its value as a list of bytes.
                        "headers": record.headers.iter().map(|(name, value)| json!({ name: value.as_bytes() })).collect::<Vec<_>>(),
                    })
                });
                (format!("{topic}-{partition}"), records.collect())
            })
            .collect();
        json!({
            "eventSource": if self.settings.source_arn.is_some() { "aws:kafka" } else { "SelfManagedKafka" },
            "eventSourceArn": self.settings.source_arn,
            "bootstrapServers": "local:9092",
            "records": records,
        })
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.settings.topics.iter().flat_map(|topic| (0..PARTITIONS).map(|partition| (topic.clone(), partition)))
    }

    fn consumer(&self) -> &str {
        self.function.name()
    }
}

/// From where each partition is to come again. Nothing for a report that names what the batch did not have: the whole
/// batch comes again.
fn places(failures: &[Value], batch: &BTreeMap<Partition, Part>) -> Option<BTreeMap<Partition, i64>> {
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

    fn batch() -> BTreeMap<Partition, Part> {
        let part = |offsets: std::ops::Range<i64>| Part {
            records: offsets
                .map(|offset| Record {
                    offset,
                    timestamp: 0,
                    key: None,
                    value: Vec::new(),
                    headers: Default::default(),
                })
                .collect(),
        };
        BTreeMap::from([(("t-x".to_owned(), 0), part(5..8)), (("t-x".to_owned(), 2), part(0..3))])
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
}
