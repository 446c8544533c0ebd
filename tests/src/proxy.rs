//! A proxy for HTTP/1.1 in front of a DynamoDB. It counts requests, loses what it is told to lose, and refuses what an
//! embedded database never does: transactions that conflict, requests that are too many.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Nothing.
    None,
    /// The connection breaks before the request arrives.
    Request,
    /// The request arrives and takes effect; the connection breaks before its reply.
    Reply,
    /// The request arrives twice; the second reply is the one that is given.
    Repeat,
    /// It takes this long.
    Delay(Duration),
    /// It does not arrive; DynamoDB's front refuses it.
    Refused(Refusal),
    /// The process that sent it is killed, and nothing hears of a reply.
    Killed(Moment, i32),
}

/// When the sender of a request is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Before the request arrives: it never does.
    Before,
    /// After it took effect, before its reply.
    After,
}

/// How DynamoDB refuses a request that may succeed later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A transaction was cancelled because another is under way on one of its items.
    Cancelled,
    /// A single write met a transaction on its item.
    Conflict,
    /// An earlier request with the same token is still under way.
    InProgress,
    /// Too many requests.
    Throttled,
}

/// Decides about requests that nothing is planned for.
pub trait Weather: Send {
    /// What happens to this request.
    fn over(&mut self, request: &[u8]) -> Loss;

    /// Kills a process: it was decided before, and now is the moment.
    fn kill(&mut self, moment: Moment, process: i32);
}

/// Weather in which nothing is lost, and which keeps what it reads in each request that has arrived, in their order.
pub struct Recorder<T> {
    read: fn(&[u8]) -> T,
    kept: Arc<Mutex<Vec<T>>>,
}

impl<T> Recorder<T> {
    /// Nothing has arrived yet.
    pub fn new(read: fn(&[u8]) -> T) -> Self {
        Self { read, kept: Arc::default() }
    }

    /// What has arrived since this was asked.
    pub fn take(&self) -> Vec<T> {
        std::mem::take(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Clone for Recorder<T> {
    fn clone(&self) -> Self {
        Self { read: self.read, kept: Arc::clone(&self.kept) }
    }
}

impl<T: Send> Weather for Recorder<T> {
    fn over(&mut self, request: &[u8]) -> Loss {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push((self.read)(request));
        Loss::None
    }

    fn kill(&mut self, _: Moment, _: i32) {}
}

/// A proxy on a free port.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    requests: AtomicU64,
    plan: Mutex<VecDeque<Loss>>,
    contention: Mutex<Option<Duration>>,
    conflicts: AtomicU64,
    /// The items that transactions under way write.
    held: Mutex<HashSet<String>>,
    weather: Mutex<Option<Box<dyn Weather>>>,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(State {
            upstream,
            requests: AtomicU64::new(0),
            plan: Mutex::default(),
            contention: Mutex::default(),
            conflicts: AtomicU64::new(0),
            held: Mutex::default(),
            weather: Mutex::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Self { address, state }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have arrived so far, those that were then lost among them.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }

    /// From now on a transaction takes this long, and one that writes an item of another under way is cancelled, as in
    /// DynamoDB ("Amazon DynamoDB transactions: how it works", transaction conflict handling).
    pub fn contend(&self, transaction: Duration) {
        *self.state.contention.lock().unwrap_or_else(PoisonError::into_inner) = Some(transaction);
    }

    /// How many transactions were cancelled because of others.
    pub fn conflicts(&self) -> u64 {
        self.state.conflicts.load(Ordering::SeqCst)
    }

    /// Decides about the next requests, in order.
    pub fn plan(&self, losses: impl IntoIterator<Item = Loss>) {
        *self.state.plan.lock().unwrap_or_else(PoisonError::into_inner) = losses.into_iter().collect();
    }

    /// Decides about all requests that nothing is planned for.
    pub fn weather(&self, weather: Box<dyn Weather>) {
        *self.state.weather.lock().unwrap_or_else(PoisonError::into_inner) = Some(weather);
    }
}

impl State {
    fn next(&self, request: &[u8]) -> Loss {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if let Some(planned) = self.plan.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
            return planned;
        }
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        weather.as_mut().map_or(Loss::None, |weather| weather.over(request))
    }

    fn kill(&self, moment: Moment, process: i32) {
        if let Some(weather) = &mut *self.weather.lock().unwrap_or_else(PoisonError::into_inner) {
            weather.kill(moment, process);
        }
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        // A broken connection is what the tests are about; the client tells of it.
        tokio::spawn(serve(client, Arc::clone(&state)));
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    let mut server = TcpStream::connect(state.upstream).await?;
    while let Some(request) = read_message(&mut client).await? {
        let loss = state.next(&request);
        if let Loss::Delay(delay) = loss {
            tokio::time::sleep(delay).await;
        }
        if loss == Loss::Repeat {
            server.write_all(&request).await?;
            read_message(&mut server).await?;
        }
        match loss {
            Loss::Request => return Ok(()),
            Loss::Killed(Moment::Before, process) => {
                state.kill(Moment::Before, process);
                return Ok(());
            }
            Loss::Reply | Loss::Killed(Moment::After, _) => {
                server.write_all(&request).await?;
                read_message(&mut server).await?;
                if let Loss::Killed(moment, process) = loss {
                    state.kill(moment, process);
                }
                return Ok(());
            }
            Loss::Refused(refusal) => client.write_all(&refusal.reply()).await?,
            Loss::None | Loss::Repeat | Loss::Delay(_) => {
                let Some(_hold) = Hold::of(&request, &state).await else {
                    client.write_all(&Refusal::Cancelled.reply()).await?;
                    continue;
                };
                server.write_all(&request).await?;
                let Some(reply) = read_message(&mut server).await? else { return Ok(()) };
                client.write_all(&reply).await?;
            }
        }
    }
    Ok(())
}

/// The items of a transaction that is under way.
struct Hold<'a> {
    state: &'a State,
    items: Vec<String>,
}

impl<'a> Hold<'a> {
    /// Takes the items of a request and waits as long as a transaction takes; nothing if another has one of them.
    async fn of(request: &[u8], state: &'a State) -> Option<Self> {
        let contention = *state.contention.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(duration) = contention else { return Some(Self { state, items: Vec::new() }) };
        let items = items(request);
        {
            let mut held = state.held.lock().unwrap_or_else(PoisonError::into_inner);
            if items.iter().any(|item| held.contains(item)) {
                state.conflicts.fetch_add(1, Ordering::SeqCst);
                return None;
            }
            held.extend(items.iter().cloned());
        }
        let hold = Self { state, items };
        tokio::time::sleep(duration).await;
        Some(hold)
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        let mut held = self.state.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|item| !self.items.contains(item));
    }
}

/// The keys of the items that a transaction writes.
fn items(request: &[u8]) -> Vec<String> {
    let body = body(request);
    let actions = body["TransactItems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let writes = actions.iter().filter_map(|action| action.as_object()?.values().next());
    let key = |write: &Value| {
        let item = if write["Key"].is_object() { &write["Key"] } else { &write["Item"] };
        format!("{} {} {} {}", write["TableName"], item["id"], item["pk"], item["sk"])
    };
    writes.map(key).collect()
}

/// What a request asks for; null if that is not JSON.
pub fn body(request: &[u8]) -> Value {
    let body = request.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |head| head + 4);
    serde_json::from_slice(&request[body..]).unwrap_or_default()
}

impl Refusal {
    fn reply(self) -> Vec<u8> {
        let (kind, reasons) = match self {
            Self::Cancelled => ("TransactionCanceledException", json!([{ "Code": "TransactionConflict" }])),
            Self::Conflict => ("TransactionConflictException", Value::Null),
            Self::InProgress => ("TransactionInProgressException", Value::Null),
            Self::Throttled => ("ThrottlingException", Value::Null),
        };
        let body = json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
            "message": "planned",
            "CancellationReasons": reasons,
        });
        let body = body.to_string();
        let length = body.len();
        let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.0";
        format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
    }
}

/// Reads one message: its head up to the empty line, and a body of Content-Length bytes.
async fn read_message(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let mut whole = usize::MAX;
    while message.len() < whole {
        match stream.read(&mut chunk).await? {
            0 => return Ok(None),
            count => message.extend_from_slice(&chunk[..count]),
        }
        if whole == usize::MAX
            && let Some(head) = message.windows(4).position(|window| window == b"\r\n\r\n")
        {
            whole = head + 4 + content_length(&message[..head]);
        }
    }
    Ok(Some(message))
}

fn content_length(head: &[u8]) -> usize {
    String::from_utf8_lossy(head)
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}
