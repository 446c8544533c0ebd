//! The provider's state in [`Storage`], so that a restart with `--data` loses neither a charge nor a key.

use std::time::Duration;

use anyhow::Result;
use provider_simulator::{Answer, Change, Key, Provider, Saved};
use rusqlite::{Connection, params};
use serde::de::DeserializeOwned;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS payment_intents (
        sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document TEXT NOT NULL, idempotency_key TEXT
    ) STRICT;
    CREATE TABLE IF NOT EXISTS refunds (
        sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, payment_intent TEXT NOT NULL, document TEXT NOT NULL
    ) STRICT;
    CREATE TABLE IF NOT EXISTS idempotency_keys (
        account TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL, status INTEGER, body TEXT,
        PRIMARY KEY (account, key)
    ) STRICT;";

/// Restores the state of an earlier run.
pub(super) fn load(connection: &Connection, provider: &mut Provider) -> Result<()> {
    connection.execute_batch(SCHEMA)?;
    let mut intents = connection.prepare("SELECT document, idempotency_key FROM payment_intents ORDER BY sequence")?;
    let intents = intents.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?.map(|row| {
        let (document, key) = row?;
        Ok((parse(&document)?, key))
    });
    let mut refunds = connection.prepare("SELECT document FROM refunds ORDER BY sequence")?;
    let refunds = refunds.query_map([], |row| row.get::<_, String>(0))?.map(|row| parse(&row?));
    let mut keys = connection.prepare("SELECT account, key, fingerprint, status, body FROM idempotency_keys")?;
    let keys = keys.query_map([], |row| {
        let status: Option<u16> = row.get(3)?;
        let body: Option<String> = row.get(4)?;
        let answer = status.zip(body).map(|(status, body)| Answer { status, body });
        let key = Key { account: row.get(0)?, key: row.get(1)? };
        Ok((key, Saved { request: row.get(2)?, answer, first_used: Duration::ZERO }))
    })?;
    let (intents, refunds) = (intents.collect::<Result<_>>()?, refunds.collect::<Result<_>>()?);
    provider.restore(intents, refunds, keys.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(())
}

/// Stores changes in one transaction: an effect, and the key that remembers it.
pub(super) fn save(connection: &mut Connection, changes: Vec<Change>) -> Result<()> {
    let transaction = connection.transaction()?;
    for change in changes {
        save_one(&transaction, change)?;
    }
    Ok(transaction.commit()?)
}

fn save_one(connection: &Connection, change: Change) -> Result<()> {
    match change {
        Change::Intent { intent, idempotency_key } => connection.execute(
            "INSERT INTO payment_intents (id, document, idempotency_key) VALUES (?1, ?2, ?3) ON CONFLICT (id)
             DO UPDATE SET document = excluded.document, idempotency_key = excluded.idempotency_key",
            params![intent.id, serde_json::to_string(&intent)?, idempotency_key],
        )?,
        Change::Refund(refund) => connection.execute(
            "INSERT INTO refunds (id, payment_intent, document) VALUES (?1, ?2, ?3) ON CONFLICT (id)
             DO UPDATE SET document = excluded.document",
            params![refund.id, refund.intent(), serde_json::to_string(&refund)?],
        )?,
        Change::Key { key: Key { account, key }, request, answer } => {
            let (status, body) = answer.map(|answer| (answer.status, answer.body)).unzip();
            connection.execute(
                "INSERT OR REPLACE INTO idempotency_keys (account, key, fingerprint, status, body)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![account, key, request, status, body],
            )?
        }
        Change::KeysForgotten => connection.execute("DELETE FROM idempotency_keys", [])?,
    };
    Ok(())
}

fn parse<T: DeserializeOwned>(document: &str) -> Result<T> {
    Ok(serde_json::from_str(document)?)
}
