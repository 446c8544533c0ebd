//! One server's part of a lock on several.

use std::time::Duration;

use futures::lock::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd};

use super::server::Server;

/// One server of a lock. Its connection is made anew after any error or silence.
#[derive(Debug)]
pub(crate) struct Part {
    server: Server,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// Only the holder extends or deletes: a lock that others have taken meanwhile is theirs.
const EXTEND: &str =
    "#!lua\nif redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";
const DELETE: &str =
    "#!lua\nif redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

impl Part {
    pub(crate) fn new(server: Server) -> Self {
        Self { server, connection: Mutex::default() }
    }

    /// Whether the server gave its part; `None` for no answer.
    pub(crate) async fn take(&self, key: String, token: [u8; 16], lease: Duration) -> Option<bool> {
        let mut set = cmd("SET");
        set.arg(key).arg(token.as_slice()).arg("NX").arg("PX").arg(lease.as_millis() as u64);
        match self.send(&set).await? {
            Value::Okay => Some(true),
            Value::Nil => Some(false),
            _ => None,
        }
    }

    /// Whether the part is still this token's and has a new lease.
    pub(crate) async fn extend(&self, key: String, token: [u8; 16], lease: Duration) -> Option<bool> {
        let milliseconds = lease.as_millis().to_string();
        self.eval(EXTEND, key, &[&token, milliseconds.as_bytes()]).await
    }

    /// Whether there was a part of this token to give back.
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

    /// The caller limits the time: a future that is dropped has taken the connection with it. A connection that was kept
    /// may have ended since; then there is one more try.
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
