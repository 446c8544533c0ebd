//! An embedded DynamoDB with the tables that the subjects use, behind a proxy.

use std::sync::Arc;

use anyhow::Result;
use dynoxide::actions::create_table::CreateTableRequest;
use serde_json::json;
use tokio::net::TcpListener;

use crate::tls::{Certificates, Terminator};
use fault_proxy::Proxy;

/// The table of records, with the keys and the index of `template.yaml`. The peers use the same table.
pub const RECORDS: &str = "Records";

/// The table of effects.
pub const EFFECTS: &str = "Effects";

/// A database in memory, on its own thread.
pub struct Database {
    /// The proxy between the functions and the database.
    pub proxy: Proxy,
    /// The TLS terminator in front of the proxy, if the functions use TLS.
    terminator: Option<Terminator>,
}

impl Database {
    /// Starts a database with empty tables.
    ///
    /// # Errors
    /// When there is no free port, or no memory.
    pub async fn start() -> Result<Self> {
        let database = dynoxide::Database::memory()?;
        for table in [records(), effects()] {
            database.create_table(table)?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        serve(listener, database)?;
        Ok(Self { proxy: Proxy::start(address).await?, terminator: None })
    }

    /// The same, reached with TLS.
    ///
    /// # Errors
    /// The same as for [`start`](Self::start), or when the certificates cannot be read.
    pub async fn start_with_tls(certificates: Arc<Certificates>) -> Result<Self> {
        let database = Self::start().await?;
        let terminator = Terminator::start(certificates, database.proxy.address()).await?;
        Ok(Self { terminator: Some(terminator), ..database })
    }

    /// The endpoint of DynamoDB for functions.
    #[must_use]
    pub fn url(&self) -> String {
        self.terminator.as_ref().map_or_else(|| self.proxy.url(), Terminator::url)
    }

    /// The certificates that functions must trust.
    #[must_use]
    pub fn certificates(&self) -> Option<&Certificates> {
        self.terminator.as_ref().map(|terminator| &*terminator.certificates)
    }
}

/// Serves the database on its own thread: its engine works synchronously under one lock and must not delay the Runtime
/// API.
fn serve(listener: TcpListener, database: dynoxide::Database) -> Result<()> {
    let listener = listener.into_std()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("dynamodb".to_owned()).spawn(move || {
        runtime.block_on(async {
            if let Ok(listener) = TcpListener::from_std(listener) {
                dynoxide::server::serve_on(listener, database).await;
            }
        });
    })?;
    Ok(())
}

fn records() -> CreateTableRequest {
    let definition = json!({
        "TableName": RECORDS,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            { "AttributeName": "id", "AttributeType": "S" },
            { "AttributeName": "unresolved", "AttributeType": "S" },
            { "AttributeName": "created", "AttributeType": "N" },
        ],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
        "GlobalSecondaryIndexes": [{
            "IndexName": "unresolved",
            "KeySchema": [
                { "AttributeName": "unresolved", "KeyType": "HASH" },
                { "AttributeName": "created", "KeyType": "RANGE" },
            ],
            "Projection": { "ProjectionType": "ALL" },
        }],
    });
    serde_json::from_value(definition).expect("a table")
}

fn effects() -> CreateTableRequest {
    let definition = json!({
        "TableName": EFFECTS,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    });
    serde_json::from_value(definition).expect("a table")
}
