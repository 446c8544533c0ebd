//! An event source mapping of a shard, which is a table's stream or a part of a Kinesis stream: batches to a function,
//! and what the function's answer means for them (AWS, "Using AWS Lambda with Amazon DynamoDB", "How Lambda processes
//! records from stream and queue-based event sources", "Configuring partial batch response").
//!
//! The shard goes on only when a batch is settled, so a stop in between delivers the batch again: at least once, as on
//! AWS. With `--data` stream and position survive together.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rustack_sqs_model::input::SendMessageInput;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    function::Function,
    pipe::pattern,
    shard::{Position, RETENTION, Shard, ShardRecord},
    sqs::Queues,
    sqs_mapping,
    storage::Storage,
    template,
    template::ShardMapping,
};

/// How long a new record may wait. Lambda polls a shard about four times a second; a test need not wait that long.
const POLL: Duration = Duration::from_millis(100);

/// Between a failure and the next try; longer with each.
const RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

/// The records of one request (AWS, "GetRecords").
const READ: usize = 1000;

/// A batch ends before the limit of a payload, 6 MB (AWS, "Polling and batching streams").
const BATCH_BYTES: usize = 5 * 1024 * 1024;

pub(crate) struct Mapping<S> {
    pub settings: ShardMapping,
    pub region: String,
    pub shard: S,
    pub function: Function,
    pub storage: Storage,
    pub queues: Queues,
    pub status: Status,
}

/// How far a mapping is, for `GET /_local/mappings`, and where it is sent back to.
#[derive(Clone, Default)]
pub(crate) struct Status(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    seen: Seen,
    rewound: bool,
}

#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Seen {
    pub batches: u64,
    pub delivered: u64,
    pub filtered: u64,
    pub failed_batches: u64,
    pub given_up: u64,
    /// The age of the last record of the last batch when the function had handled it (the metric `IteratorAge`).
    pub iterator_age_ms: u64,
}

impl Status {
    pub(crate) fn seen(&self) -> Seen {
        self.0.lock().seen.clone()
    }

    /// Delivers the whole shard again, as AWS may.
    pub(crate) fn rewind(&self) {
        self.0.lock().rewound = true;
    }

    fn takes_rewind(&self) -> bool {
        std::mem::take(&mut self.0.lock().rewound)
    }

    fn count(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.0.lock().seen);
    }
}

/// What has been read of the shard and not been settled.
#[derive(Default)]
struct Batch {
    records: Vec<ShardRecord>,
    bytes: usize,
    /// The last record that was read, whether it passed the filter or not.
    last: Option<String>,
    since: Option<Instant>,
}

/// How it goes with a batch that has failed.
#[derive(Default)]
struct RetryState {
    failures: u32,
    /// How many records the next batch takes: halved with each failure, if the mapping bisects.
    limit: Option<usize>,
}

impl<S: Shard> Mapping<S> {
    pub(crate) async fn run(self) {
        let mut retry = RetryState::default();
        loop {
            let advanced = async {
                let batch = self.collect(&retry).await?;
                self.invoke(batch, &mut retry).await
            };
            if let Err(error) = advanced.await {
                tracing::error!("{}: {error:#}; trying again", self.name());
                retry.failures = retry.failures.saturating_add(1);
            }
            if retry.failures > 0 {
                tokio::time::sleep(RETRY.saturating_mul(1 << retry.failures.min(10)).min(LONGEST_RETRY)).await;
            }
        }
    }

    /// Up to a batch: what arrives within the window after the first record that passes the filter. A batch that is
    /// delivered again does not wait.
    async fn collect(&self, retry: &RetryState) -> Result<Batch> {
        let limit = retry.limit.unwrap_or(self.settings.batch_size).max(1);
        let window = if retry.failures > 0 { Duration::ZERO } else { self.settings.window };
        let position = self.position();
        let last = position.read(&self.shard, self.settings.from_latest).await?;
        let mut batch = Batch { last, ..Batch::default() };
        loop {
            if self.status.takes_rewind() {
                position.rewind()?;
                batch = Batch::default();
            }
            // Up to the limit only, so that the position is exactly behind the batch.
            let most = READ.min(limit - batch.records.len());
            let read = self.shard.records(batch.last.as_deref(), most).await?;
            let found = !read.is_empty();
            for record in read {
                batch.bytes += record.event.to_string().len();
                if batch.bytes > BATCH_BYTES && !batch.records.is_empty() {
                    return Ok(batch);
                }
                batch.last = Some(record.sequence_number.clone());
                match pattern::passes(&self.settings.patterns, record.filtered.as_ref().unwrap_or(&record.event)) {
                    true => batch.records.push(record),
                    false => {
                        batch.bytes -= record.event.to_string().len();
                        self.status.count(|seen| seen.filtered += 1);
                    }
                }
            }
            if batch.records.is_empty() {
                // What does not pass is done at once.
                if let (true, Some(last)) = (found, &batch.last) {
                    position.set(last)?;
                }
            } else {
                let since = *batch.since.get_or_insert_with(Instant::now);
                if batch.records.len() >= limit || since.elapsed() >= window {
                    return Ok(batch);
                }
            }
            if !found {
                tokio::time::sleep(POLL).await;
            }
        }
    }

    async fn invoke(&self, batch: Batch, retry: &mut RetryState) -> Result<()> {
        let event = json!({ "Records": batch.records.iter().map(|record| self.event(record)).collect::<Vec<_>>() });
        let outcome = self.function.invoke(event.to_string()).await;
        let report = self.settings.report_batch_item_failures;
        let numbers = sqs_mapping::reported(&outcome, report).map(|failures| places(&failures, &batch.records));
        self.status.count(|seen| {
            seen.batches += 1;
            seen.delivered += batch.records.len() as u64;
            seen.iterator_age_ms = batch.records.last().map_or(0, |record| record.age().as_millis() as u64);
        });
        // A report that names what the batch did not have is a complete failure.
        let failed = match numbers {
            Some(Some(None)) => return self.settled(&batch, retry),
            Some(Some(Some(place))) => place,
            Some(None) | None => 0,
        };
        self.status.count(|seen| seen.failed_batches += 1);
        tracing::warn!(
            "{}: a batch of {} is delivered again from its record {failed} on",
            self.name(),
            batch.records.len()
        );
        let rest = &batch.records[failed..];
        retry.failures = if failed > 0 { 1 } else { retry.failures + 1 };
        if self.gives_up(rest, retry) {
            return self.give_up(&batch, rest, retry);
        }
        retry.limit = Some(if self.settings.bisect { (rest.len() / 2).max(1) } else { rest.len() });
        match failed.checked_sub(1).and_then(|before| batch.records.get(before)) {
            Some(before) => self.position().set(&before.sequence_number),
            None => Ok(()),
        }
    }

    fn settled(&self, batch: &Batch, retry: &mut RetryState) -> Result<()> {
        *retry = RetryState::default();
        batch.last.as_deref().map_or(Ok(()), |last| self.position().set(last))
    }

    fn gives_up(&self, rest: &[ShardRecord], retry: &RetryState) -> bool {
        let alone = rest.len() <= 1 || !self.settings.bisect;
        let too_old = rest.first().is_some_and(|first| first.age() > self.settings.maximum_age.unwrap_or(RETENTION));
        too_old || alone && self.settings.maximum_retries.is_some_and(|retries| retry.failures > retries)
    }

    /// The destination learns where the records are, not what they are (AWS, "Discarded event destinations").
    fn give_up(&self, batch: &Batch, rest: &[ShardRecord], retry: &mut RetryState) -> Result<()> {
        let (Some(first), Some(last)) = (rest.first(), rest.last()) else { return self.settled(batch, retry) };
        tracing::error!("{}: gives up {} records from {} on", self.name(), rest.len(), first.sequence_number);
        if let Some(arn) = &self.settings.failed_queue {
            let mut info = json!({
                "startSequenceNumber": first.sequence_number,
                "endSequenceNumber": last.sequence_number,
                "batchSize": rest.len(),
                "streamArn": self.settings.stream_arn,
            });
            if let Some(id) = self.shard.id() {
                info["shardId"] = id.into();
            }
            let letter = json!({
                "requestContext": { "functionArn": self.function.definition().arn, "condition": "RetryAttemptsExhausted" },
                "version": "1.0",
                S::BATCH_INFO: info,
            });
            let queue = arn.rsplit(':').next().unwrap_or_default();
            let input = SendMessageInput { message_body: letter.to_string(), ..SendMessageInput::default() };
            self.queues.send(queue, input).with_context(|| format!("cannot send to {queue}"))?;
        }
        self.status.count(|seen| seen.given_up += rest.len() as u64);
        self.settled(batch, retry)
    }

    /// AWS, "Example event" of each source.
    fn event(&self, record: &ShardRecord) -> Value {
        let mut event = record.event.clone();
        event["awsRegion"] = Value::String(self.region.clone());
        event["eventSource"] = Value::String(S::EVENT_SOURCE.to_owned());
        event["eventSourceARN"] = Value::String(self.settings.stream_arn.clone());
        event
    }

    fn position(&self) -> Position {
        Position::new(&self.storage, format!("position of mapping {}", self.name()))
    }

    pub(crate) fn name(&self) -> String {
        name(&self.function, &self.settings, self.shard.id())
    }
}

/// As SAM names the mapping: by its function and its event; behind it the shard, where there are several.
fn name(function: &Function, settings: &template::ShardMapping, shard: Option<&str>) -> String {
    let shard = shard.map(|shard| format!("-{shard}")).unwrap_or_default();
    format!("{}{}{shard}", function.name(), settings.name)
}

/// The mappings by name, as `GET /_local/mappings` shows them.
pub(crate) type Statuses = BTreeMap<String, Status>;

/// From which record on the batch is to come again: `Some(None)` if all is done, `None` if the report cannot be read.
fn places(failures: &[Value], records: &[ShardRecord]) -> Option<Option<usize>> {
    let mut first = None;
    for failure in failures {
        let number = failure["itemIdentifier"].as_str()?;
        let place = records.iter().position(|record| record.sequence_number == number)?;
        first = Some(first.map_or(place, |first: usize| first.min(place)));
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_records_of_the_batch_or_all_comes_again() {
        let record = |number: &str| ShardRecord {
            event: Value::Null,
            sequence_number: number.to_owned(),
            created: std::time::SystemTime::now(),
            filtered: None,
        };
        let records = [record("8"), record("9"), record("10")];
        let read = |numbers: Value| {
            let failures: Vec<_> =
                numbers.as_array().expect("a list").iter().map(|number| json!({ "itemIdentifier": number })).collect();
            places(&failures, &records)
        };
        assert_eq!(read(json!([])), Some(None));
        assert_eq!(read(json!(["10", "9"])), Some(Some(1)));
        assert_eq!(read(json!(["8"])), Some(Some(0)));
        for wrong in [json!(["7"]), json!([""]), json!([null]), json!(["9", "7"])] {
            assert_eq!(read(wrong.clone()), None, "{wrong}");
        }
    }
}
