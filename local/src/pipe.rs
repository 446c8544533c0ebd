//! A pipe: a table's stream, filtered and transformed, into a queue or the event bus.
//!
//! The checkpoint moves only after the target has the message, so a stop in between delivers it again: at least once,
//! as on AWS. With `--data` stream, checkpoint and queue survive together, and the pipe goes on where it was.

use std::time::Duration;

use anyhow::{Context, Result};
use rustack_sqs_model::input::SendMessageInput;
use serde_json::Value;

use crate::{
    activity::{Activity, Place, Tone},
    dynamodb::Stream,
    events::Events,
    shard::{Position, RETENTION, Shard, ShardRecord},
    sqs::Queues,
    storage::Storage,
    template,
};
use transform::Variables;

pub(crate) mod pattern;
pub(crate) mod transform;

/// How long a new record may wait. DynamoDB Streams are polled about four times a second on AWS; a test need not wait
/// that long.
const POLL: Duration = Duration::from_millis(100);

const RETRY: Duration = Duration::from_secs(1);

pub(crate) struct Pipe {
    pub name: String,
    pub settings: template::Pipe,
    pub target: Target,
    pub region: String,
    pub stream: Stream,
    pub storage: Storage,
    pub activity: Activity,
}

/// Where a pipe leads.
pub(crate) enum Target {
    Queue { name: String, queues: Queues },
    Bus(Events),
}

impl Pipe {
    pub(crate) async fn run(self) {
        let mut failures = 0;
        loop {
            match self.advance(&mut failures).await {
                Ok(true) => {}
                Ok(false) => tokio::time::sleep(POLL).await,
                Err(error) => {
                    tracing::warn!("pipe {}: {error:#}; trying again", self.name);
                    failures += 1;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// One batch. Whether there was anything. `failures` counts how often the first record of the batch has failed.
    async fn advance(&self, failures: &mut u32) -> Result<bool> {
        let checkpoint = Position::new(&self.storage, format!("checkpoint of pipe {}", self.name));
        let after = checkpoint.read(&self.stream, self.settings.from_latest).await?;
        let records = self.stream.records(after.as_deref(), self.settings.batch_size).await?;
        let found = !records.is_empty();
        for record in records {
            match self.deliver(&record) {
                Err(error) if !self.gives_up(&record, *failures) => return Err(error),
                Err(error) => {
                    tracing::error!("pipe {}: gives up on record {}: {error:#}", self.name, record.sequence_number)
                }
                Ok(()) => {}
            }
            *failures = 0;
            checkpoint.set(&record.sequence_number)?;
        }
        Ok(found)
    }

    fn deliver(&self, record: &ShardRecord) -> Result<()> {
        let mut event = record.event.clone();
        event["awsRegion"] = Value::String(self.region.clone());
        event["eventSourceARN"] = Value::String(self.settings.source_arn.clone());
        if !pattern::passes(&self.settings.patterns, &event) {
            return Ok(());
        }
        let body = match &self.settings.input_template {
            Some(template) => transform::apply(template, &event, &self.variables()),
            None => event.to_string(),
        };
        match &self.target {
            Target::Queue { name, queues } => {
                let input = SendMessageInput {
                    message_body: body,
                    message_group_id: dynamic(self.settings.message_group_id.as_deref(), &event),
                    message_deduplication_id: dynamic(self.settings.message_deduplication_id.as_deref(), &event),
                    ..SendMessageInput::default()
                };
                queues.send(name, input).with_context(|| format!("cannot send to {name}"))?;
                self.activity.step(Place::Records, Place::Outbox, Tone::Normal);
                self.activity.step(Place::Outbox, Place::Queue, Tone::Normal);
            }
            Target::Bus(events) => {
                // Without its parameters, an event has these (AWS, "PipeTargetEventBridgeEventBusParameters").
                let source = dynamic(self.settings.event_source.as_deref(), &event);
                let detail_type = dynamic(self.settings.detail_type.as_deref(), &event);
                let source = source.unwrap_or_else(|| format!("Pipe {}", self.name));
                events.put(&source, &detail_type.unwrap_or_else(|| "Event from aws:dynamodb".to_owned()), &body)?;
            }
        }
        Ok(())
    }

    fn gives_up(&self, record: &ShardRecord, failures: u32) -> bool {
        record.age() > self.settings.maximum_age.unwrap_or(RETENTION)
            || self.settings.maximum_retries.is_some_and(|retries| failures >= retries)
    }

    fn variables(&self) -> Variables {
        Variables {
            pipe_name: self.name.clone(),
            source_arn: self.settings.source_arn.clone(),
            target_arn: self.settings.target_arn.clone(),
            ingestion_time: chrono::Utc::now().to_rfc3339(),
        }
    }
}

/// A parameter of the target may be a path into the event (AWS, "Dynamic path parameters").
fn dynamic(parameter: Option<&str>, event: &Value) -> Option<String> {
    let parameter = parameter?;
    match transform::select(parameter, event) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value) => Some(value.to_string()),
        None => Some(parameter.to_owned()),
    }
}
