//! Kinesis data streams, on `rustack-kinesis-core`: its JSON protocol over HTTP, and their shards for mappings.
//!
//! They are in memory, also with `--data`, and their shards stay as they are: a mapping reads those that there are when
//! the stack starts.

use std::{sync::Arc, time::SystemTime};

use anyhow::{Context, Result};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::HeaderMap,
    response::IntoResponse,
    routing::post,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustack_kinesis_core::{config::KinesisConfig, handler::RustackKinesisHandler, provider::RustackKinesis};
use rustack_kinesis_http::{dispatch::dispatch_operation, response::error_to_response, router::resolve_operation};
use rustack_kinesis_model::{
    input::{CreateStreamInput, GetRecordsInput, GetShardIteratorInput, ListShardsInput},
    types::{Record, ShardIteratorType},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    shard::{self, ShardRecord},
    template::{DataStream, Deployment},
};

#[derive(Clone)]
pub(crate) struct Kinesis {
    provider: Arc<RustackKinesis>,
    handler: Arc<RustackKinesisHandler>,
}

/// A shard of a stream.
#[derive(Clone)]
pub(crate) struct Shard {
    provider: Arc<RustackKinesis>,
    stream: String,
    id: String,
}

impl Kinesis {
    pub(crate) fn open<'s>(streams: impl IntoIterator<Item = &'s DataStream>, deployment: &Deployment) -> Result<Self> {
        let provider = Arc::new(RustackKinesis::new(KinesisConfig {
            default_region: deployment.region.clone(),
            default_account_id: deployment.account.clone(),
            ..KinesisConfig::default()
        }));
        for DataStream { name, shards } in streams {
            let input = CreateStreamInput {
                stream_name: name.clone(),
                shard_count: Some(*shards),
                ..CreateStreamInput::default()
            };
            provider.create_stream(input).map_err(anyhow::Error::new).with_context(|| format!("in stream {name}"))?;
        }
        let handler = Arc::new(RustackKinesisHandler::new(Arc::clone(&provider)));
        Ok(Self { provider, handler })
    }

    /// Kinesis over HTTP, as `AWS_ENDPOINT_URL_KINESIS` names it.
    pub(crate) fn router(&self) -> Router {
        Router::new().fallback(post(serve)).with_state(self.clone())
    }

    pub(crate) fn shards(&self, stream: &str) -> Result<Vec<Shard>> {
        let input = ListShardsInput { stream_name: Some(stream.to_owned()), ..ListShardsInput::default() };
        let shards = self.provider.list_shards(input)?.shards.into_iter();
        let shard = |id| Shard { provider: Arc::clone(&self.provider), stream: stream.to_owned(), id };
        Ok(shards.map(|found| shard(found.shard_id)).collect())
    }
}

async fn serve(State(kinesis): State<Kinesis>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    let answer = match resolve_operation(&headers) {
        Ok(operation) => dispatch_operation(&*kinesis.handler, operation, body).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error_to_response(&error, &Uuid::new_v4().to_string())).map(Body::new)
}

impl Shard {
    async fn read(&self, after: Option<&str>, limit: usize) -> Result<Vec<Record>> {
        let input = GetShardIteratorInput {
            stream_name: Some(self.stream.clone()),
            shard_id: self.id.clone(),
            shard_iterator_type: match after {
                None => ShardIteratorType::TrimHorizon,
                Some(_) => ShardIteratorType::AfterSequenceNumber,
            },
            starting_sequence_number: after.map(str::to_owned),
            ..GetShardIteratorInput::default()
        };
        let shard_iterator = self.provider.get_shard_iterator(input).await?.shard_iterator.context("no iterator")?;
        let input =
            GetRecordsInput { shard_iterator, limit: Some(i32::try_from(limit)?), ..GetRecordsInput::default() };
        Ok(self.provider.get_records(input).await?.records)
    }
}

impl shard::Shard for Shard {
    const EVENT_SOURCE: &'static str = "aws:kinesis";
    const BATCH_INFO: &'static str = "KinesisBatchInfo";

    async fn records(&self, after: Option<&str>, limit: usize) -> Result<Vec<ShardRecord>> {
        Ok(self.read(after, limit).await?.iter().map(|record| shown(&self.id, record)).collect())
    }

    fn id(&self) -> Option<&str> {
        Some(&self.id)
    }
}

/// AWS, "Using Lambda to process records from Amazon Kinesis Data Streams", "Example event".
fn shown(shard: &str, record: &Record) -> ShardRecord {
    let created = record.approximate_arrival_timestamp.map_or_else(SystemTime::now, SystemTime::from);
    let arrived = created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let kinesis = json!({
        "kinesisSchemaVersion": "1.0",
        "partitionKey": record.partition_key,
        "sequenceNumber": record.sequence_number,
        "data": STANDARD.encode(&record.data),
        "approximateArrivalTimestamp": arrived as f64 / 1000.0,
    });
    // "Lambda decodes the data before it filters" (AWS, "Using event filtering with a Kinesis event source").
    let mut filtered = kinesis.clone();
    filtered["data"] = serde_json::from_slice(&record.data)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&record.data).into_owned()));
    ShardRecord {
        event: json!({
            "kinesis": kinesis,
            "eventVersion": "1.0",
            "eventID": format!("{shard}:{}", record.sequence_number),
            "eventName": "aws:kinesis:record",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/local",
        }),
        sequence_number: record.sequence_number.clone(),
        created,
        filtered: Some(filtered),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of Lambda's documentation.
    #[test]
    fn records_have_the_form_of_the_documentation_and_the_library_reads_them() {
        let record = Record {
            approximate_arrival_timestamp: chrono::DateTime::from_timestamp_millis(1_545_084_650_987),
            data: Bytes::from_static(b"Hello, this is a test."),
            partition_key: "1".to_owned(),
            sequence_number: "49590338271490256608559692538361571095921575989136588898".to_owned(),
            ..Record::default()
        };
        let ShardRecord { event, filtered, .. } = shown("shardId-000000000006", &record);
        assert_eq!(
            event["kinesis"],
            json!({
                "kinesisSchemaVersion": "1.0",
                "partitionKey": "1",
                "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
                "data": "SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==",
                "approximateArrivalTimestamp": 1_545_084_650.987,
            })
        );
        assert_eq!(event["eventID"], "shardId-000000000006:49590338271490256608559692538361571095921575989136588898");
        assert_eq!(filtered.expect("what filters see")["data"], "Hello, this is a test.");
        let mut sent = event;
        sent["eventSource"] = "aws:kinesis".into();
        sent["awsRegion"] = "us-east-1".into();
        sent["eventSourceARN"] = "arn:aws:kinesis:us-east-1:000000000000:stream/lambda-stream".into();
        let batch = json!({ "Records": [sent] });
        let _: idempotency::streams::KinesisBatch = serde_json::from_value(batch.clone()).expect("readable");
        let _: aws_lambda_events::kinesis::KinesisEvent = serde_json::from_value(batch).expect("readable");
    }
}
