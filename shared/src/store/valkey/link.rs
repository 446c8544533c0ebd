//! The connection to the server that owns one tag's slot.
//!
//! It is dropped at any error or time-out and made anew, because a connection that was silent while a sandbox was frozen
//! is never answered again; the client's own connection manager keeps such a connection. A request that was sent and not
//! answered may have taken effect: then the call is uncertain, unless a later try is answered.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use futures::lock::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd, pipe};
use tokio::time::Instant;

use super::refusal::{Failure, Why};
use super::script::{Arguments, WRITE};
use super::server::{Address, Server};
use crate::store::StoreError;

/// What is sent in one try.
#[derive(Debug)]
pub(super) enum Request {
    /// A call of the store's script.
    Write { keys: Vec<String>, arguments: Arguments },
    /// A command that changes nothing.
    Read(Cmd),
}

/// One try has this long, and more for long arguments.
const TRY: Duration = Duration::from_millis(500);

/// All tries together have this long, so that they end within the engine's default margin of 2 s.
const ALL_TRIES: Duration = Duration::from_millis(1800);

/// How many nodes a call follows without a pause: one names the owner of a slot, another one where it is moving.
const REDIRECTIONS: usize = 4;

#[derive(Debug)]
pub(super) struct Link {
    server: Server,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts the connections, so that an old one's error does not drop a new one.
    number: u64,
    /// The node that owns the slot, if another one has said so.
    owner: Option<Address>,
    /// How many of the server's addresses have failed.
    turn: usize,
}

impl Link {
    pub(super) fn new(server: Server) -> Self {
        Self { server, state: Mutex::default() }
    }

    /// Sends a request until it is answered, within its time.
    pub(super) async fn call(&self, request: &Request) -> Result<Value, StoreError> {
        let end = Instant::now() + ALL_TRIES + request.extra();
        let mut delays = backoff().build();
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
            // Of its own: the permission is for the connection's next command, whoever sends it.
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
                // The owner may be gone, and another node know its successor.
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
                    // A server that started anew, or was promoted, does not know it yet. Nothing ran.
                    Err(error) if error.code() == Some("NOSCRIPT") => self.whole().query_async(connection).await,
                    answered => answered,
                }
            }
        }
    }

    /// Sends it to a node that is taking over the slot.
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

    /// Long answers take longer to send.
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

/// Others may be connecting, one after the other.
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

fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(25))
        .with_max_delay(Duration::from_millis(250))
        .without_max_times()
}
