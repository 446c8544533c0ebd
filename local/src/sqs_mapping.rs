//! An SQS event source mapping: batches from a queue to a function, and what the function's answer means for them
//! (AWS, "Using Lambda with Amazon SQS", "Handling errors for an SQS event source").

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use rustack_sqs_model::{input::ReceiveMessageInput, types::Message};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;

use crate::{function::Function, invocation::Outcome, pipe::pattern, sqs::Queues, template};

/// One receive gives at most ten messages.
const RECEIVE: usize = 10;

/// The longest long poll of SQS.
const POLL: Duration = Duration::from_secs(20);

#[derive(Clone)]
pub(crate) struct Poller {
    pub settings: template::Mapping,
    pub queue: String,
    pub region: String,
    pub queues: Queues,
    pub function: Function,
}

/// Which messages of a batch are done.
#[derive(Debug, PartialEq, Eq)]
enum Settlement {
    All,
    None,
    AllBut(BTreeSet<String>),
}

impl Poller {
    /// One loop collects; as many batches as are allowed run beside it.
    pub(crate) async fn run(self) {
        let limit = Arc::new(Semaphore::new(
            self.settings.maximum_concurrency.unwrap_or(self.function.definition().concurrency),
        ));
        loop {
            // The semaphore is never closed.
            let Ok(permit) = limit.clone().acquire_owned().await else { return };
            let batch = self.collect().await;
            if batch.is_empty() {
                continue;
            }
            let poller = self.clone();
            tokio::spawn(async move {
                poller.process(batch).await;
                drop(permit);
            });
        }
    }

    /// Up to a batch: what is there, or what comes within the window.
    async fn collect(&self) -> Vec<Message> {
        let mut batch = self.receive(self.settings.batch_size, POLL).await;
        if self.settings.window.is_zero() || batch.is_empty() {
            return batch;
        }
        let end = Instant::now() + self.settings.window;
        while batch.len() < self.settings.batch_size && Instant::now() < end {
            let more = self
                .receive(self.settings.batch_size - batch.len(), end.saturating_duration_since(Instant::now()))
                .await;
            batch.extend(more);
        }
        batch
    }

    async fn receive(&self, wanted: usize, wait: Duration) -> Vec<Message> {
        let count = i32::try_from(wanted.min(RECEIVE)).ok();
        let input = ReceiveMessageInput { max_number_of_messages: count, ..ReceiveMessageInput::default() };
        match self.queues.receive(&self.queue, &input, wait).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!("{}: cannot receive from {}: {error}", self.function.name(), self.queue);
                tokio::time::sleep(Duration::from_secs(1)).await;
                Vec::new()
            }
        }
    }

    async fn process(&self, batch: Vec<Message>) {
        let (batch, filtered): (Vec<_>, Vec<_>) = batch.into_iter().partition(|message| self.wanted(message));
        // What the filter leaves out is deleted (AWS, "Control which events Lambda sends to your function").
        self.delete(&filtered, |_| true);
        if batch.is_empty() {
            return;
        }
        let records: Vec<Value> =
            batch.iter().map(|message| record(message, &self.settings.queue_arn, &self.region)).collect();
        let outcome = self.function.invoke(json!({ "Records": records }).to_string()).await;
        let ids = batch.iter().filter_map(|message| message.message_id.clone()).collect();
        let lost = ignored(&outcome, self.settings.report_batch_item_failures).len();
        if lost > 0 {
            let (messages, are) = if lost == 1 { ("message", "is") } else { ("messages", "are") };
            tracing::warn!(
                "{}: {lost} {messages} of {} that the function reported as failed {are} deleted: the mapping has no {}",
                self.function.name(),
                self.queue,
                template::REPORT
            );
        }
        let settlement = settle(&outcome, &ids, self.settings.report_batch_item_failures);
        if settlement == Settlement::None {
            tracing::warn!(
                "{}: a batch of {} from {} stays in the queue",
                self.function.name(),
                batch.len(),
                self.queue
            );
        }
        self.delete(&batch, |id| match &settlement {
            Settlement::All => true,
            Settlement::None => false,
            Settlement::AllBut(failed) => !failed.contains(id),
        });
    }

    fn wanted(&self, message: &Message) -> bool {
        if self.settings.patterns.is_empty() {
            return true;
        }
        let mut event = record(message, &self.settings.queue_arn, &self.region);
        if let Some(body) = message.body.as_deref().and_then(|body| serde_json::from_str(body).ok()) {
            event["body"] = body;
        }
        pattern::passes(&self.settings.patterns, &event)
    }

    fn delete(&self, messages: &[Message], done: impl Fn(&str) -> bool) {
        for message in messages {
            let (Some(id), Some(receipt)) = (&message.message_id, &message.receipt_handle) else { continue };
            if done(id)
                && let Err(error) = self.queues.delete(&self.queue, receipt)
            {
                tracing::warn!("{}: cannot delete {id} from {}: {error}", self.function.name(), self.queue);
            }
        }
    }
}

fn settle(outcome: &Outcome, ids: &BTreeSet<String>, report: bool) -> Settlement {
    let Some(failures) = reported(outcome, report) else { return Settlement::None };
    let failed: Option<BTreeSet<String>> =
        failures.iter().map(|failure| Some(failure["itemIdentifier"].as_str()?.to_owned())).collect();
    match failed {
        Some(failed) if failed.is_empty() => Settlement::All,
        Some(failed) if failed.is_subset(ids) => Settlement::AllBut(failed),
        Some(_) | None => Settlement::None,
    }
}

/// The failures that a function reports: none of them is a complete success, and nothing a complete failure (AWS,
/// "Implementing partial batch responses").
pub(crate) fn reported(outcome: &Outcome, report: bool) -> Option<Vec<Value>> {
    let payload = outcome.as_ref().ok()?;
    if !report || payload.is_empty() {
        return Some(Vec::new());
    }
    let failures = match serde_json::from_slice(payload) {
        Ok(Value::Null) => Value::Null,
        Ok(Value::Object(mut response)) => response.remove("batchItemFailures").unwrap_or_default(),
        Ok(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) | Err(_) => return None,
    };
    match failures {
        Value::Null => Some(Vec::new()),
        Value::Array(failures) => Some(failures),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

/// The failures that a function reports to a mapping that does not ask for them: Lambda takes its answer for a success.
pub(crate) fn ignored(outcome: &Outcome, report: bool) -> Vec<Value> {
    if report { Vec::new() } else { reported(outcome, true).unwrap_or_default() }
}

/// AWS, "Example Amazon SQS message event".
fn record(message: &Message, queue_arn: &str, region: &str) -> Value {
    let attributes: HashMap<&String, Value> = message
        .message_attributes
        .iter()
        .map(|(name, attribute)| {
            let mut value = Map::from_iter([
                ("stringListValues".to_owned(), json!([])),
                ("binaryListValues".to_owned(), json!([])),
                ("dataType".to_owned(), json!(attribute.data_type)),
            ]);
            if let Some(text) = &attribute.string_value {
                value.insert("stringValue".to_owned(), json!(text));
            }
            if let Some(bytes) = &attribute.binary_value {
                value.insert(
                    "binaryValue".to_owned(),
                    json!(base64::Engine::encode(&base64::engine::general_purpose::STANDARD, bytes)),
                );
            }
            (name, Value::Object(value))
        })
        .collect();
    let mut record = json!({
        "messageId": message.message_id,
        "receiptHandle": message.receipt_handle,
        "body": message.body,
        "attributes": message.attributes,
        "messageAttributes": attributes,
        "md5OfBody": message.md5_of_body,
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    });
    if let Some(digest) = &message.md5_of_message_attributes {
        record["md5OfMessageAttributes"] = json!(digest);
    }
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocation::Failure;
    use axum::body::Bytes;

    fn settled(response: &'static str, report: bool) -> Settlement {
        let ids = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        settle(&Ok(Bytes::from_static(response.as_bytes())), &ids, report)
    }

    #[test]
    fn a_response_settles_as_lambda_documents_it() {
        let but = |ids: &[&str]| Settlement::AllBut(ids.iter().map(|id| (*id).to_owned()).collect());
        let cases = [
            ("", Settlement::All),
            ("null", Settlement::All),
            ("{}", Settlement::All),
            (r#"{"batchItemFailures":null}"#, Settlement::All),
            (r#"{"batchItemFailures":[]}"#, Settlement::All),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#, but(&["a"])),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"b"}]}"#, but(&["a", "b"])),
            (r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#, Settlement::None),
            (r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#, Settlement::None),
            (r#"{"batchItemFailures":[{"itemIdentifier":"unknown"}]}"#, Settlement::None),
            (r#"{"batchItemFailures":[{"itemIdentifier":"a"},{"itemIdentifier":"unknown"}]}"#, Settlement::None),
            (r#"{"batchItemFailures":[{"itemId":"a"}]}"#, Settlement::None),
            (r#"{"batchItemFailures":"a"}"#, Settlement::None),
            ("\"done\"", Settlement::None),
            ("{not json", Settlement::None),
        ];
        for (response, expected) in cases {
            assert_eq!(settled(response, true), expected, "{response}");
        }
    }

    #[test]
    fn without_the_flag_the_response_is_ignored_and_it_is_known_what_that_loses() {
        let losses =
            |response: &'static str, report| ignored(&Ok(Bytes::from_static(response.as_bytes())), report).len();
        let reported = r#"{"batchItemFailures":[{"itemIdentifier":"a"}]}"#;
        assert_eq!(settled(reported, false), Settlement::All);
        assert_eq!((losses(reported, false), losses(reported, true)), (1, 0));
        for nothing in ["", "null", "{}", r#"{"batchItemFailures":[]}"#, "\"done\"", "[1]"] {
            assert_eq!((settled(nothing, false), losses(nothing, false)), (Settlement::All, 0), "{nothing}");
        }
    }

    #[test]
    fn an_error_keeps_the_whole_batch() {
        let failure = Err(Failure::error("Unhandled", "no"));
        assert_eq!(settle(&failure, &BTreeSet::new(), true), Settlement::None);
        assert_eq!(settle(&failure, &BTreeSet::new(), false), Settlement::None);
    }

    #[test]
    fn a_record_reads_as_an_sqs_message() {
        let message = Message {
            message_id: Some("1".to_owned()),
            body: Some("{}".to_owned()),
            attributes: HashMap::from([("SentTimestamp".to_owned(), "1".to_owned())]),
            ..Message::default()
        };
        let event = json!({ "Records": [record(&message, "arn:aws:sqs:us-east-1:000000000000:Queue", "us-east-1")] });
        let event: aws_lambda_events::event::sqs::SqsEvent = serde_json::from_value(event).expect("an SqsEvent");
        assert_eq!(event.records[0].message_id.as_deref(), Some("1"));
        assert_eq!(event.records[0].event_source.as_deref(), Some("aws:sqs"));
    }
}
