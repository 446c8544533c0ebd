//! Tables, on embedded DynamoDB (`dynoxide`), served over HTTP.
//!
//! The engine works synchronously under one lock, so it has a thread and a runtime of its own: a slow request must
//! not hold up the sandboxes, the pipe or the API.
//!
//! dynoxide answers every caller, including pages of any site (`Access-Control-Allow-Origin: *`, as DynamoDB Local
//! does), and accepts no middleware. So it is behind a proxy that forwards requests of this machine only, and its own
//! address is kept secret.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{StatusCode, Uri, uri::Scheme},
    response::{IntoResponse, Response},
};
use dynoxide::{
    Database, DynoxideError,
    actions::{
        TableDescription, create_table::CreateTableRequest, describe_stream::DescribeStreamRequest,
        describe_table::DescribeTableRequest, get_records::GetRecordsRequest,
        get_shard_iterator::GetShardIteratorRequest, update_time_to_live::UpdateTimeToLiveRequest,
    },
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    listener,
    shard::{Shard, ShardRecord},
    template::Table,
};
pub(crate) use gate::{Gate, Outage, SESSION_TOKEN};

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
                let (Ok(listener), Ok((inner, address))) = (TcpListener::from_std(listener), bind_out_of_reach().await)
                else {
                    return tracing::error!("DynamoDB cannot listen");
                };
                tokio::select! {
                    _ = dynoxide::server::serve_with_shutdown(inner, database.clone(), std::future::pending()) => {}
                    () = listener::serve_machine(listener, Door::to(address), std::future::pending()) => {}
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

impl Shard for Stream {
    const EVENT_SOURCE: &'static str = "aws:dynamodb";
    const BATCH_INFO: &'static str = "DDBStreamBatchInfo";

    async fn records(&self, after: Option<&str>, limit: usize) -> Result<Vec<ShardRecord>> {
        let request = GetShardIteratorRequest {
            stream_arn: self.arn.clone(),
            shard_id: self.shard.clone(),
            shard_iterator_type: after.map_or("TRIM_HORIZON", |_| "AFTER_SEQUENCE_NUMBER").to_owned(),
            sequence_number: after.map(str::to_owned),
        };
        let iterator = self.database.get_shard_iterator(request)?.shard_iterator.context("no shard iterator")?;
        let response = self.database.get_records(GetRecordsRequest { shard_iterator: iterator, limit: Some(limit) })?;
        let shown = response.records.into_iter().map(|record| {
            let sequence_number = record.dynamodb.sequence_number.clone();
            let event = serde_json::to_value(record)?;
            let created = event["dynamodb"]["ApproximateCreationDateTime"].as_f64().unwrap_or_default();
            let created = UNIX_EPOCH + Duration::from_secs_f64(created.max(0.0));
            Ok(ShardRecord { event, sequence_number, created, filtered: None })
        });
        shown.collect()
    }

    fn id(&self) -> Option<&str> {
        None
    }
}

/// A page may try each port of 127.0.0.1, but not each of the 16 million addresses that Linux has for loopback. Where
/// there is one only, the port alone is not told.
async fn bind_out_of_reach() -> std::io::Result<(TcpListener, SocketAddr)> {
    let [a, b, c, ..] = *Uuid::new_v4().as_bytes();
    let listener = match TcpListener::bind((Ipv4Addr::new(127, a, b, c.clamp(1, 254)), 0)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Passes requests on as they are.
#[derive(Clone)]
struct Door {
    address: SocketAddr,
    client: Client<HttpConnector, Body>,
}

impl Door {
    fn to(address: SocketAddr) -> Router {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Router::new().fallback(pass_on).with_state(Self { address, client })
    }
}

async fn pass_on(State(door): State<Door>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let uri = Uri::builder().scheme(Scheme::HTTP).authority(door.address.to_string()).path_and_query(path).build();
    let Ok(uri) = uri else { return StatusCode::BAD_REQUEST.into_response() };
    *request.uri_mut() = uri;
    match door.client.request(request).await {
        Ok(response) => response.map(Body::new),
        // The SDK repeats it.
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
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

/// The properties that cannot change under existing data: the key schemas of the table and its indexes.
fn keys(definition: &Value) -> Value {
    let indexes: std::collections::BTreeMap<String, Value> = ["GlobalSecondaryIndexes", "LocalSecondaryIndexes"]
        .iter()
        .filter_map(|kind| definition[kind].as_array())
        .flatten()
        .map(|index| (index["IndexName"].to_string(), index["KeySchema"].clone()))
        .collect();
    json!([definition["KeySchema"], indexes])
}
