//! The connection to the server that owns one tag's slot.
//!
//! The connection is dropped at any error or time-out and opened again, because a connection that died while its
//! sandbox was frozen never gets another reply; the client's own connection manager keeps such a connection. A request
//! that was sent but not answered may have taken effect, so the call is uncertain unless a later try is answered.

use std::time::Duration;

use backon::BackoffBuilder;
use futures::lock::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd, pipe};
use tokio::time::Instant;

use super::refusal::{Failure, Why};
use super::script::{Arguments, WRITE};
use super::server::{Address, Server};
use crate::backoff::backoff;
use crate::store::StoreError;

/// The request that is sent in each try.
#[derive(Debug)]
pub(super) enum Request {
    /// A call of the store's script.
    Write { keys: Vec<String>, arguments: Arguments },
    /// A command that changes nothing.
    Read(Cmd),
}

/// The time limit of one try, which is longer for long arguments.
const TRY: Duration = Duration::from_millis(500);

/// The time limit of all tries together, so that they end within the engine's default margin of 2 s.
const ALL_TRIES: Duration = Duration::from_millis(1800);

/// How many redirections a call follows without a pause: one to the owner of a slot, another one to the node to which
/// it is moving.
const REDIRECTIONS: usize = 4;

#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that the error of an old connection does not drop a new one.
    number: u64,
    /// The node that owns the slot, if another node has named it.
    owner: Option<Address>,
    /// How many of the server's addresses have failed.
    turn: usize,
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        Self { server, state: Mutex::default() }
    }

    /// Sends a request until it is answered, within its time limit.
    pub(super) async fn call(&self, request: &Request) -> Result<Value, StoreError> {
        let end = Instant::now() + ALL_TRIES + request.extra();
        let mut delays = backoff(25, 250).build();
        let (mut unanswered, mut redirections, mut ask) = (false, 0, None);
        loop {
            let Failure { why, source } = match self.attempt(request, ask.take(), end).await {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            unanswered |= why.may_have_taken_effect() && matches!(request, Request::Write { .. });
            if let Why::Asked(address) = &why {
                ask = Some(address.clone());
            }
            if why.is_redirection() && redirections < REDIRECTIONS {
                redirections += 1;
                continue;
            }
            let delay = delays.next().unwrap_or_default();
            if !why.is_passing() || Instant::now() + delay >= end {
                return Err(if unanswered { StoreError::Uncertain(source) } else { StoreError::NotApplied(source) });
            }
            tokio::time::sleep(delay).await;
        }
    }

    async fn attempt(&self, request: &Request, ask: Option<Address>, end: Instant) -> Result<Value, Failure> {
        let limit = || end.min(Instant::now() + TRY + request.extra());
        if let Some(address) = ask {
            // This needs a separate connection: the permission (`ASKING`) is for the connection's next command,
            // whichever call sends it.
            let connecting = async { self.server.connect(&address).await.map_err(Failure::not_connected) };
            let mut connection = connected(end, connecting).await?;
            return by(limit(), request.ask(&mut connection)).await.map_err(|error| error.of(request, &address));
        }
        let (mut connection, number, address) = connected(end, self.connection()).await?;
        let sent = by(limit(), request.send(&mut connection)).await.map_err(|error| error.of(request, &address));
        if let Err(failure) = &sent {
            self.failed(number, &failure.why).await;
        }
        sent
    }

    async fn connection(&self) -> Result<(MultiplexedConnection, u64, Address), Failure> {
        let mut state = self.state.lock().await;
        let address = state.owner.clone().unwrap_or_else(|| self.server.address(state.turn).clone());
        if let Some(connection) = &state.connection {
            return Ok((connection.clone(), state.number, address));
        }
        match self.server.connect(&address).await {
            Ok(connection) => {
                state.connection = Some(connection.clone());
                state.number += 1;
                Ok((connection, state.number, address))
            }
            Err(error) => {
                // The owner may be gone, and another node may know its successor.
                state.owner = None;
                state.turn += 1;
                Err(Failure::not_connected(error))
            }
        }
    }

    async fn failed(&self, number: u64, why: &Why) {
        if why.keeps_connection() {
            return;
        }
        let mut state = self.state.lock().await;
        if state.number != number {
            return;
        }
        state.connection = None;
        match why {
            Why::Moved(address) => state.owner = Some(address.clone()),
            _ => state.owner = None,
        }
    }
}

impl Request {
    async fn send(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        match self {
            Self::Read(command) => command.query_async(connection).await,
            Self::Write { keys, arguments } => {
                match call("EVALSHA", WRITE.get_hash(), keys, arguments).query_async(connection).await {
                    // A server that was restarted or promoted does not know the script yet. Nothing ran.
                    Err(error) if error.code() == Some("NOSCRIPT") => self.whole().query_async(connection).await,
                    answered => answered,
                }
            }
        }
    }

    /// Sends the script to a node that is taking over the slot.
    async fn ask(&self, connection: &mut MultiplexedConnection) -> Result<Value, RedisError> {
        let (_, value): (Value, Value) =
            pipe().add_command(cmd("ASKING")).add_command(self.whole()).query_async(connection).await?;
        Ok(value)
    }

    /// The command with the script itself.
    fn whole(&self) -> Cmd {
        match self {
            Self::Read(command) => command.clone(),
            Self::Write { keys, arguments } => call("EVAL", include_str!("write.lua"), keys, arguments),
        }
    }

    /// The additional time for long answers, which take longer to send.
    fn extra(&self) -> Duration {
        match self {
            Self::Read(_) => Duration::ZERO,
            Self::Write { arguments, .. } => {
                Duration::from_millis(arguments.0.iter().map(Vec::len).sum::<usize>() as u64 / 1024)
            }
        }
    }
}

fn call(command: &str, script: &str, keys: &[String], arguments: &Arguments) -> Cmd {
    let mut call = cmd(command);
    call.arg(script).arg(keys.len());
    for key in keys {
        call.arg(key);
    }
    for argument in &arguments.0 {
        call.arg(argument.as_slice());
    }
    call
}

/// A try that was sent and ended without a value.
enum Ended {
    TimedOut,
    Error(RedisError),
}

impl Ended {
    fn of(self, request: &Request, asked: &Address) -> Failure {
        match self {
            Self::TimedOut => Failure::new(Why::Silent, "the server did not answer in time"),
            Self::Error(error) => Failure::answered(error, asked, matches!(request, Request::Write { .. })),
        }
    }
}

/// Limits the time for a connection, since other calls may be connecting, one after another.
async fn connected<T>(end: Instant, connecting: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let connected = tokio::time::timeout_at(end, connecting).await;
    connected.unwrap_or_else(|_| Err(Failure::new(Why::Unreachable, "no connection was made in time")))
}

async fn by(end: Instant, sent: impl Future<Output = Result<Value, RedisError>>) -> Result<Value, Ended> {
    match tokio::time::timeout_at(end, sent).await {
        Ok(answered) => answered.map_err(Ended::Error),
        Err(_) => Err(Ended::TimedOut),
    }
}
