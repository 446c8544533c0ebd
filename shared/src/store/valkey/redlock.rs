//! One server's vote in a lock on several servers.

use std::time::Duration;

use futures::lock::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd};

use super::server::Server;

/// One server of a lock. Its connection is opened again after any error or time-out.
#[derive(Debug)]
pub(crate) struct Part {
    server: Server,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// Only the holder extends or deletes the lock; another process may have acquired it meanwhile.
const EXTEND: &str =
    "#!lua\nif redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
const DELETE: &str =
    "#!lua\nif redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

impl Part {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, connection: Mutex::default() }
    }

    /// Whether the server granted its vote; `None` for no reply.
    pub(crate) async fn take(&self, key: String, token: [u8; 16], lease: Duration) -> Option<bool> {
        let mut set = cmd("SET");
        set.arg(key).arg(token.as_slice()).arg("NX").arg("PX").arg(lease.as_millis() as u64);
        match self.send(&set).await? {
            Value::Okay => Some(true),
            Value::Nil => Some(false),
            _ => None,
        }
    }

    /// Whether the vote still belongs to this token and has a new lease.
    pub(crate) async fn extend(&self, key: String, token: [u8; 16], lease: Duration) -> Option<bool> {
        let milliseconds = lease.as_millis().to_string();
        self.eval(EXTEND, key, &[&token, milliseconds.as_bytes()]).await
    }

    /// Whether there was a vote of this token to delete.
    pub(crate) async fn delete(&self, key: String, token: [u8; 16]) -> Option<bool> {
        self.eval(DELETE, key, &[&token]).await
    }

    async fn eval(&self, script: &str, key: String, arguments: &[&[u8]]) -> Option<bool> {
        let mut eval = cmd("EVAL");
        eval.arg(script).arg(1).arg(key);
        for argument in arguments {
            eval.arg(*argument);
        }
        match self.send(&eval).await? {
            Value::Int(changed) => Some(changed == 1),
            _ => None,
        }
    }

    /// The caller limits the time: a dropped future drops its connection, too. A kept connection may have ended since,
    /// in which case there is one more try.
    async fn send(&self, command: &Cmd) -> Option<Value> {
        let kept = self.connection.lock().await.take();
        if let Some(connection) = kept
            && let Some(value) = self.send_on(connection, command).await
        {
            return Some(value);
        }
        let connection = self.server.connect(self.server.address(0)).await.ok()?;
        self.send_on(connection, command).await
    }

    async fn send_on(&self, mut connection: MultiplexedConnection, command: &Cmd) -> Option<Value> {
        let answered: Result<Value, RedisError> = command.query_async(&mut connection).await;
        let value = answered.ok()?;
        *self.connection.lock().await = Some(connection);
        Some(value)
    }
}
