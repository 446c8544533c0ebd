//! SQS's JSON protocol (AWS, "Making requests using the AWS JSON protocol"): one operation per request, batches entry
//! by entry.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::HeaderMap,
    response::IntoResponse,
    routing::post,
};
use rustack_sqs_http::{
    response::{error_to_response, json_response},
    router::resolve_operation,
};
use rustack_sqs_model::{
    error::{SqsError, SqsErrorCode},
    input::*,
    operations::SqsOperation,
    output::*,
    types::*,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use super::{
    error::{Error, Result},
    queue,
    queues::Queues,
};

/// SQS over HTTP, as `AWS_ENDPOINT_URL_SQS` names it.
pub(crate) fn router(queues: &Queues) -> Router {
    Router::new().fallback(post(serve)).with_state(queues.clone())
}

async fn serve(State(queues): State<Queues>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let request = Uuid::new_v4().to_string();
    let answer = match resolve_operation(&headers) {
        Ok(operation) => queues.perform(operation, &body).await,
        Err(error) => Err(error.into()),
    };
    match answer {
        Ok(json) => json_response(json, &request),
        Err(Error(error)) => error_to_response(&error, &request),
    }
    .map(Body::new)
}

impl Queues {
    async fn perform(&self, operation: SqsOperation, body: &[u8]) -> Result<Vec<u8>> {
        match operation {
            SqsOperation::SendMessage => self.send_one(read(body)?),
            SqsOperation::SendMessageBatch => self.send_batch(read(body)?),
            SqsOperation::ReceiveMessage => self.receive_some(&read(body)?).await,
            SqsOperation::DeleteMessage => self.delete_one(&read(body)?),
            SqsOperation::DeleteMessageBatch => self.delete_batch(read(body)?),
            SqsOperation::ChangeMessageVisibility => self.change_visibility_of_one(&read(body)?),
            SqsOperation::ChangeMessageVisibilityBatch => self.change_visibility_of_batch(read(body)?),
            SqsOperation::GetQueueUrl => self.url(&read(body)?),
            SqsOperation::ListQueues => self.list(read(body)?),
            SqsOperation::GetQueueAttributes => self.attributes(&read(body)?),
            SqsOperation::PurgeQueue => self.purge(&read(body)?),
            SqsOperation::StartMessageMoveTask => self.start_redrive(&read(body)?),
            operation => Err(Error::new(
                SqsErrorCode::UnsupportedOperation,
                &format!("The local stack's queues come from the template; {operation} is not supported."),
            )),
        }
    }

    fn send_one(&self, input: SendMessageInput) -> Result<Vec<u8>> {
        let name = &self.entry_of_url(&input.queue_url)?.queue.name;
        write(&self.send(name, input)?)
    }

    fn send_batch(&self, input: SendMessageBatchInput) -> Result<Vec<u8>> {
        let name = &self.entry_of_url(&input.queue_url)?.queue.name;
        let url = &input.queue_url;
        let Batch { successful, failed } = batch(
            input.entries,
            |entry| entry.id.clone(),
            |entry| {
                self.send(
                    name,
                    SendMessageInput {
                        queue_url: url.clone(),
                        message_body: entry.message_body,
                        delay_seconds: entry.delay_seconds,
                        message_deduplication_id: entry.message_deduplication_id,
                        message_group_id: entry.message_group_id,
                        message_attributes: entry.message_attributes,
                        message_system_attributes: entry.message_system_attributes,
                    },
                )
            },
        )?;
        let successful = successful
            .into_iter()
            .map(|(id, output)| SendMessageBatchResultEntry {
                id,
                message_id: output.message_id.unwrap_or_default(),
                md5_of_message_body: output.md5_of_message_body.unwrap_or_default(),
                md5_of_message_attributes: output.md5_of_message_attributes,
                sequence_number: output.sequence_number,
            })
            .collect();
        write(&SendMessageBatchOutput { successful, failed })
    }

    async fn receive_some(&self, input: &ReceiveMessageInput) -> Result<Vec<u8>> {
        let queue = &self.entry_of_url(&input.queue_url)?.queue;
        let wait = input
            .wait_time_seconds
            .map_or(queue.receive_wait, |seconds| Duration::from_secs(seconds.clamp(0, 20).unsigned_abs().into()));
        let messages = self.receive(&queue.name, input, wait).await?;
        let messages = messages.into_iter().map(|message| requested(message, input)).collect();
        write(&ReceiveMessageOutput { messages })
    }

    fn delete_one(&self, input: &DeleteMessageInput) -> Result<Vec<u8>> {
        self.delete(&self.entry_of_url(&input.queue_url)?.queue.name, &input.receipt_handle)?;
        write(&DeleteMessageOutput {})
    }

    fn delete_batch(&self, input: DeleteMessageBatchInput) -> Result<Vec<u8>> {
        let name = &self.entry_of_url(&input.queue_url)?.queue.name;
        batch(input.entries, |entry| entry.id.clone(), |entry| self.delete(name, &entry.receipt_handle))?.write()
    }

    fn change_visibility_of_one(&self, input: &ChangeMessageVisibilityInput) -> Result<Vec<u8>> {
        let name = &self.entry_of_url(&input.queue_url)?.queue.name;
        self.change_visibility(name, &input.receipt_handle, input.visibility_timeout)?;
        write(&json!({}))
    }

    fn change_visibility_of_batch(&self, input: ChangeMessageVisibilityBatchInput) -> Result<Vec<u8>> {
        let name = &self.entry_of_url(&input.queue_url)?.queue.name;
        let results = batch(
            input.entries,
            |entry| entry.id.clone(),
            |entry| self.change_visibility(name, &entry.receipt_handle, entry.visibility_timeout),
        )?;
        results.write()
    }

    fn url(&self, input: &GetQueueUrlInput) -> Result<Vec<u8>> {
        write(&json!({ "QueueUrl": self.0.deployment.queue_url(&self.entry(&input.queue_name)?.queue.name) }))
    }

    fn list(&self, input: ListQueuesInput) -> Result<Vec<u8>> {
        let prefix = input.queue_name_prefix.unwrap_or_default();
        let names = self.0.queues.keys().filter(|name| name.starts_with(&prefix));
        let urls: Vec<_> = names.map(|name| self.0.deployment.queue_url(name)).collect();
        write(&json!({ "QueueUrls": urls }))
    }

    fn attributes(&self, input: &GetQueueAttributesInput) -> Result<Vec<u8>> {
        let queue = &self.entry_of_url(&input.queue_url)?.queue;
        let contents = self.contents(&queue.name)?;
        let mut attributes = HashMap::from([
            ("QueueArn", self.0.deployment.arn("sqs", &queue.name)),
            ("ApproximateNumberOfMessages", contents.visible.to_string()),
            ("ApproximateNumberOfMessagesNotVisible", contents.in_flight.to_string()),
            ("ApproximateNumberOfMessagesDelayed", contents.delayed.to_string()),
            ("VisibilityTimeout", queue.visibility.as_secs().to_string()),
            ("MessageRetentionPeriod", queue.retention.as_secs().to_string()),
            ("DelaySeconds", queue.delay.as_secs().to_string()),
            ("ReceiveMessageWaitTimeSeconds", queue.receive_wait.as_secs().to_string()),
            ("MaximumMessageSize", queue.maximum_message_size.to_string()),
        ]);
        if queue.fifo {
            attributes.insert("FifoQueue", "true".to_owned());
            attributes.insert("ContentBasedDeduplication", queue.content_based_deduplication.to_string());
        }
        if let Some(redrive) = &queue.redrive {
            let policy = json!({ "deadLetterTargetArn": redrive.dead_letter_target_arn, "maxReceiveCount": redrive.max_receive_count });
            attributes.insert("RedrivePolicy", policy.to_string());
        }
        let wanted = |name: &str| input.attribute_names.iter().any(|wanted| wanted == "All" || wanted == name);
        attributes.retain(|name, _| wanted(name));
        write(&json!({ "Attributes": attributes }))
    }

    fn purge(&self, input: &PurgeQueueInput) -> Result<Vec<u8>> {
        queue::purge(&self.0.storage.connection(), &self.entry_of_url(&input.queue_url)?.queue)?;
        write(&json!({}))
    }

    fn start_redrive(&self, input: &StartMessageMoveTaskInput) -> Result<Vec<u8>> {
        self.redrive(input.source_arn.rsplit(':').next().unwrap_or_default())?;
        write(&json!({ "TaskHandle": Uuid::new_v4().to_string() }))
    }
}

struct Batch<T> {
    successful: Vec<(String, T)>,
    failed: Vec<BatchResultErrorEntry>,
}

impl Batch<()> {
    fn write(self) -> Result<Vec<u8>> {
        let successful: Vec<_> = self.successful.into_iter().map(|(id, ())| json!({ "Id": id })).collect();
        write(&json!({ "Successful": successful, "Failed": self.failed }))
    }
}

/// Each entry for itself: one bad entry does not fail the others (AWS, "Amazon SQS batch actions").
fn batch<E, T>(
    entries: Vec<E>,
    id: impl Fn(&E) -> String,
    mut perform: impl FnMut(E) -> Result<T>,
) -> Result<Batch<T>> {
    let ids: BTreeSet<String> = entries.iter().map(&id).collect();
    match entries.len() {
        0 => return Err(SqsError::empty_batch_request().into()),
        1..=10 if ids.len() < entries.len() => return Err(SqsError::batch_entry_ids_not_distinct().into()),
        1..=10 => {}
        _ => return Err(SqsError::too_many_entries_in_batch().into()),
    }
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        let id = id(&entry);
        match perform(entry) {
            Ok(output) => successful.push((id, output)),
            Err(Error(error)) => failed.push(BatchResultErrorEntry {
                id,
                sender_fault: error.code.is_sender_fault(),
                code: error.code.error_type().to_owned(),
                message: Some(error.message),
            }),
        }
    }
    Ok(Batch { successful, failed })
}

/// A receiver gets only the attributes that it asked for.
fn requested(mut message: Message, input: &ReceiveMessageInput) -> Message {
    let system: Vec<&String> = input.attribute_names.iter().chain(&input.message_system_attribute_names).collect();
    message.attributes.retain(|name, _| system.iter().any(|wanted| *wanted == "All" || *wanted == name));
    let chosen = |name: &str| {
        input.message_attribute_names.iter().any(|wanted| match wanted.strip_suffix(".*") {
            Some(prefix) => name.starts_with(prefix),
            None => wanted == "All" || wanted == name,
        })
    };
    message.message_attributes.retain(|name, _| chosen(name));
    message
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    Ok(serde_json::from_slice(body)?)
}

fn write(output: &impl Serialize) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(output)?)
}
