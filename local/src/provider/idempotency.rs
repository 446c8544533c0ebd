//! Idempotency keys (Stripe, "Idempotent requests"): the first result under a key is kept and replayed, errors
//! included; other parameters under the key are refused; so is a repeat while the first request is running.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::error::ApiError;
use crate::storage::Storage;

/// API key and idempotency key: one account's keys are nothing to another's.
type Scoped = (String, String);

#[derive(Clone)]
pub(super) struct Keys {
    storage: Storage,
    running: Arc<Mutex<HashSet<Scoped>>>,
}

pub(super) enum Lookup {
    New(Reservation),
    Stored(Answer),
}

/// A status and body, as sent the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    status: StatusCode,
    body: String,
}

/// A key while its request runs; free again when this is dropped.
pub(super) struct Reservation {
    keys: Keys,
    key: Option<Scoped>,
    fingerprint: String,
    first: bool,
    displaced: Option<String>,
}

impl Keys {
    pub(super) fn open(storage: Storage) -> rusqlite::Result<Self> {
        storage.connection().execute_batch(
            "CREATE TABLE IF NOT EXISTS idempotency_keys (
                 account TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER, body TEXT,
                 PRIMARY KEY (account, key)
             ) STRICT",
        )?;
        Ok(Self { storage, running: Arc::default() })
    }

    /// Forgets all keys; how many there were.
    pub(super) fn forget(&self) -> rusqlite::Result<usize> {
        self.storage.connection().execute("DELETE FROM idempotency_keys", [])
    }

    pub(super) fn reserve(&self, key: Option<Scoped>, fingerprint: String) -> Result<Lookup, ApiError> {
        let Some(key) = key else {
            let keys = self.clone();
            return Ok(Lookup::New(Reservation { keys, key: None, fingerprint, first: true, displaced: None }));
        };
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains(&key) {
            return Err(ApiError::key_in_use());
        }
        let stored: Option<(String, Option<u16>, Option<String>)> = self
            .storage
            .connection()
            .query_row(
                "SELECT fingerprint, status, body FROM idempotency_keys WHERE account = ?1 AND key = ?2",
                params![key.0, key.1],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
            )
            .optional()?;
        let first = stored.is_none();
        if let Some((known, Some(status), Some(body))) = &stored {
            let (status, body) = (StatusCode::from_u16(*status).unwrap_or_default(), body.clone());
            return if *known == fingerprint {
                Ok(Lookup::Stored(Answer { status, body }))
            } else {
                Err(ApiError::key_reused(&key.1))
            };
        }
        running.insert(key.clone());
        let displaced = stored.map(|(known, ..)| known).filter(|known| *known != fingerprint);
        Ok(Lookup::New(Reservation { keys: self.clone(), key: Some(key), fingerprint, first, displaced }))
    }
}

impl Reservation {
    pub(super) fn first_attempt(&self) -> bool {
        self.first
    }

    pub(super) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The request that was the first under this key and was not executed, if this is another.
    pub(super) fn displaced(&self) -> Option<&str> {
        self.displaced.as_deref()
    }

    /// The next request under this key is not the first.
    pub(super) fn remember_attempt(&self, connection: &Connection) -> rusqlite::Result<()> {
        self.write(connection, None)
    }

    pub(super) fn store(&self, connection: &Connection, answer: &Answer) -> rusqlite::Result<()> {
        self.write(connection, Some(answer))
    }

    fn write(&self, connection: &Connection, answer: Option<&Answer>) -> rusqlite::Result<()> {
        let Some((account, key)) = &self.key else { return Ok(()) };
        let (status, body) = (answer.map(|answer| answer.status.as_u16()), answer.map(|answer| &answer.body));
        let sql = "INSERT OR REPLACE INTO idempotency_keys (account, key, fingerprint, status, body) VALUES (?1, ?2, ?3, ?4, ?5)";
        connection.execute(sql, params![account, key, self.fingerprint, status, body]).map(drop)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(key) = &self.key {
            self.keys.running.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
        }
    }
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: &impl Serialize) -> Self {
        // Serialising our own types cannot fail; an empty body would show if it ever did.
        Self { status, body: serde_json::to_string(body).unwrap_or_default() }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn body(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    pub(super) fn replayed(self) -> Response {
        ([("Idempotent-Replayed", "true")], self).into_response()
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        (self.status, [(header::CONTENT_TYPE, "application/json")], self.body).into_response()
    }
}
