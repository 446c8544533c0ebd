//! Data that survives a restart and is not in a table: messages, charges, checkpoints, the signing key.
//!
//! One SQLite database, in memory or in the folder of `--data`. A change is on its way to the file when its
//! statement returns, so it survives a SIGKILL of this process (write-ahead log, `synchronous = NORMAL`); only a
//! power failure could lose the last moments, which is fair for a development machine.

use std::{fs::File, path::Path, sync::Arc};

use anyhow::{Context, Result};
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OptionalExtension, params};

#[derive(Clone)]
pub(crate) struct Storage {
    connection: Arc<Mutex<Connection>>,
    /// Held while the stack runs: two stacks on one folder would deliver each message twice.
    _lock: Option<Arc<File>>,
}

impl Storage {
    pub(crate) fn open(folder: Option<&Path>) -> Result<Self> {
        let (connection, lock) = match folder {
            None => (Connection::open_in_memory()?, None),
            Some(folder) => {
                let lock = lock(folder)?;
                let connection = Connection::open(folder.join("local.db"))?;
                connection.pragma_update(None, "journal_mode", "WAL")?;
                connection.pragma_update(None, "synchronous", "NORMAL")?;
                (connection, Some(Arc::new(lock)))
            }
        };
        connection
            .execute_batch("CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT")?;
        Ok(Self { connection: Arc::new(Mutex::new(connection)), _lock: lock })
    }

    pub(crate) fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    pub(crate) fn setting(&self, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
        self.connection().query_row("SELECT value FROM settings WHERE name = ?1", [name], |row| row.get(0)).optional()
    }

    pub(crate) fn set(&self, name: &str, value: &[u8]) -> rusqlite::Result<()> {
        self.connection()
            .execute("INSERT OR REPLACE INTO settings (name, value) VALUES (?1, ?2)", params![name, value])
            .map(drop)
    }
}

fn lock(folder: &Path) -> Result<File> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let lock = File::create(folder.join("lock")).with_context(|| format!("cannot write to {}", folder.display()))?;
    lock.try_lock().with_context(|| format!("another local stack is using {}", folder.display()))?;
    Ok(lock)
}
