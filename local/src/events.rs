//! The default event bus of EventBridge, as far as pipes put events into it: it keeps them, and nobody listens.

use anyhow::{Context, Result};
use rusqlite::params;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{storage::Storage, template::Deployment};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS events (number INTEGER PRIMARY KEY, event TEXT NOT NULL) STRICT";

#[derive(Clone)]
pub(crate) struct Events {
    storage: Storage,
    deployment: Deployment,
}

impl Events {
    pub(crate) fn open(storage: Storage, deployment: Deployment) -> Result<Self> {
        storage.connection().execute_batch(SCHEMA)?;
        Ok(Self { storage, deployment })
    }

    /// Whether this ARN is the bus.
    pub(crate) fn is_bus(&self, arn: &str) -> bool {
        arn == self.deployment.default_event_bus()
    }

    /// Puts an event (AWS, "PutEvents"); `detail` must be a JSON object.
    pub(crate) fn put(&self, source: &str, detail_type: &str, detail: &str) -> Result<()> {
        let detail: Value = serde_json::from_str(detail).context("the detail of an event must be JSON")?;
        let event = json!({
            "version": "0",
            "id": Uuid::new_v4().to_string(),
            "detail-type": detail_type,
            "source": source,
            "account": self.deployment.account,
            "time": chrono::Utc::now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "region": self.deployment.region,
            "resources": [],
            "detail": detail,
        });
        let sql = "INSERT INTO events (event) VALUES (?1)";
        self.storage.connection().execute(sql, params![event.to_string()])?;
        Ok(())
    }

    /// All events, oldest first.
    pub(crate) fn all(&self) -> Result<Vec<Value>> {
        let connection = self.storage.connection();
        let mut statement = connection.prepare_cached("SELECT event FROM events ORDER BY number")?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        rows.map(|row| Ok(serde_json::from_str(&row?)?)).collect()
    }
}
