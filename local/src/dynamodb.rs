//! Tables, on embedded DynamoDB (`dynoxide`), served over HTTP.
//!
//! The engine works synchronously under one lock, so it has a thread and a runtime of its own: a slow request must
//! not hold up the sandboxes, the pipe or the front.

use std::{path::Path, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use dynoxide::{
    Database, DynoxideError,
    actions::{
        TableDescription, create_table::CreateTableRequest, describe_stream::DescribeStreamRequest,
        describe_table::DescribeTableRequest, get_records::GetRecordsRequest,
        get_shard_iterator::GetShardIteratorRequest, update_time_to_live::UpdateTimeToLiveRequest,
    },
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::template::Table;
pub(crate) use gate::{Gate, SESSION_TOKEN};

mod access;
mod gate;

#[derive(Clone)]
pub(crate) struct Tables {
    database: Database,
}

#[derive(Clone)]
pub(crate) struct Stream {
    database: Database,
    arn: String,
    shard: String,
}

/// A record as a stream delivers it, and its place.
#[derive(Debug, Clone)]
pub(crate) struct StreamRecord {
    pub event: Value,
    pub sequence_number: String,
}

impl Tables {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self> {
        let database = match folder {
            None => Database::memory()?,
            Some(folder) => Database::new(&folder.join("dynamodb.db").to_string_lossy())?,
        };
        Ok(Self { database })
    }

    /// Creates what the template declares and an earlier run did not.
    pub(crate) fn create<'t>(&self, tables: impl IntoIterator<Item = &'t Table>) -> Result<()> {
        tables
            .into_iter()
            .try_for_each(|table| self.create_one(table).with_context(|| format!("in table {}", table.name)))
    }

    /// Serves on a thread of its own until `end`. DynamoDB deletes expired items in its own time (AWS, "Time to
    /// Live": within a few days), dynoxide when told: every `sweep`.
    pub(crate) fn serve(
        &self,
        listener: TcpListener,
        sweep: Duration,
        end: CancellationToken,
    ) -> Result<thread::JoinHandle<()>> {
        let database = self.database.clone();
        let listener = listener.into_std()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("dynamodb".to_owned()).spawn(move || {
            runtime.block_on(async {
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    _ = dynoxide::server::serve_with_shutdown(listener, database.clone(), std::future::pending()) => {}
                    () = sweep_expired(database, sweep) => {}
                    () = end.cancelled() => {}
                }
            });
        })?;
        Ok(thread)
    }

    pub(crate) fn stream(&self, table: &str) -> Result<Stream> {
        let description = self.describe(table)?.with_context(|| format!("no table {table}"))?;
        let arn = description.latest_stream_arn.with_context(|| format!("table {table} has no stream"))?;
        let stream = self
            .database
            .describe_stream(DescribeStreamRequest { stream_arn: arn.clone(), ..DescribeStreamRequest::default() })?;
        // dynoxide's streams have one shard, for ever.
        let shard = stream.stream_description.shards.into_iter().next().context("a stream without a shard")?;
        Ok(Stream { database: self.database.clone(), arn, shard: shard.shard_id })
    }

    fn create_one(&self, table: &Table) -> Result<()> {
        match self.describe(&table.name)? {
            None => {
                let request: CreateTableRequest = serde_json::from_value(table.definition.clone())?;
                self.database.create_table(request)?;
            }
            Some(existing) => ensure!(
                keys(&serde_json::to_value(&existing)?) == keys(&table.definition),
                "the template gives it other keys or indexes than the data folder has; use another --data folder or \
                 delete this one"
            ),
        }
        if let Some(specification) = &table.time_to_live {
            let request: UpdateTimeToLiveRequest =
                serde_json::from_value(json!({ "TableName": table.name, "TimeToLiveSpecification": specification }))?;
            match self.database.update_time_to_live(request) {
                Err(error) if error.to_string().contains("already") => {}
                result => drop(result?),
            }
        }
        Ok(())
    }

    fn describe(&self, table: &str) -> Result<Option<TableDescription>> {
        match self.database.describe_table(DescribeTableRequest { table_name: table.to_owned() }) {
            Ok(response) => Ok(Some(response.table)),
            Err(DynoxideError::ResourceNotFoundException(_)) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Stream {
    /// Up to `limit` records after the one at `after`, or from the oldest.
    pub(crate) fn records(&self, after: Option<&str>, limit: usize) -> Result<Vec<StreamRecord>> {
        let request = GetShardIteratorRequest {
            stream_arn: self.arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: after.map_or("TRIM_HORIZON", |_| "AFTER_SEQUENCE_NUMBER").to_owned(),
            sequence_number: after.map(str::to_owned),
        };
        let iterator = self.database.get_shard_iterator(request)?.shard_iterator.context("no shard iterator")?;
        let response = self.database.get_records(GetRecordsRequest { shard_iterator: iterator, limit: Some(limit) })?;
        response
            .records
            .into_iter()
            .map(|record| {
                Ok(StreamRecord {
                    sequence_number: record.dynamodb.sequence_number.clone(),
                    event: serde_json::to_value(record)?,
                })
            })
            .collect()
    }

    /// The newest record's place, for `StartingPosition: LATEST`.
    pub(crate) fn latest(&self) -> Result<Option<String>> {
        let mut latest = None;
        while let Some(record) = self.records(latest.as_deref(), 1000)?.pop() {
            latest = Some(record.sequence_number);
        }
        Ok(latest)
    }
}

async fn sweep_expired(database: Database, every: Duration) {
    let mut interval = tokio::time::interval(every);
    loop {
        interval.tick().await;
        let database = database.clone();
        match tokio::task::spawn_blocking(move || database.sweep_ttl()).await {
            Ok(Ok(0)) => {}
            Ok(Ok(deleted)) => tracing::debug!("time to live: {deleted} items deleted"),
            Ok(Err(error)) => tracing::warn!("time to live: {error}"),
            Err(error) => tracing::warn!("time to live: {error}"),
        }
    }
}

/// What cannot change under existing data: the key schemas of the table and its indexes.
fn keys(definition: &Value) -> Value {
    let indexes: std::collections::BTreeMap<String, Value> = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"]
        .iter()
        .filter_map(|kind| definition[kind].as_array())
        .flatten()
        .map(|index| (index["IndexName"].to_string(), index["KeySchema"].clone()))
        .collect();
    json!([definition["KeySchema"], indexes])
}
