//! A proxy for HTTP/1.1 in front of a DynamoDB: it counts per operation, delays, loses replies, and asks for units.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::units::{self, Units};

/// A proxy on a free port. A clone is another handle to it.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    delay_us: AtomicU64,
    asks_for_units: AtomicBool,
    replies_to_lose: AtomicU32,
    operations: Mutex<BTreeMap<String, Traffic>>,
}

/// What went through the proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Traffic {
    /// Requests that arrived, those whose reply was then lost among them.
    pub requests: u64,
    /// Requests with head and body.
    pub sent_bytes: u64,
    /// Replies with head and body.
    pub received_bytes: u64,
    /// Write units; none unless they are [asked for](Proxy::ask_for_units).
    pub write_units: f64,
    /// Read units, likewise.
    pub read_units: f64,
}

impl Proxy {
    /// Starts a proxy in front of a server.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(upstream: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            upstream,
            delay_us: AtomicU64::new(0),
            asks_for_units: AtomicBool::new(false),
            replies_to_lose: AtomicU32::new(0),
            operations: Mutex::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request from now on is answered no sooner than this after it came, like one of a service that is far away.
    ///
    /// The time that the server takes for it is within, not on top: a service answers many requests at a time, but the
    /// embedded database one after another, and what it is behind with would add up over a batch.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_us.store(u64::try_from(delay.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Every request from now on asks for its units, and they are counted.
    ///
    /// Not while time is measured: the replies are longer for that.
    pub fn ask_for_units(&self) {
        self.state.asks_for_units.store(true, Ordering::SeqCst);
    }

    /// The next requests take effect, but their connections break before the replies.
    pub fn lose_replies(&self, count: u32) {
        self.state.replies_to_lose.store(count, Ordering::SeqCst);
    }

    /// All traffic so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.operations().into_values().fold(Traffic::default(), Add::add)
    }

    /// The traffic so far by operation: `PutItem`, `TransactWriteItems`, …
    #[must_use]
    pub fn operations(&self) -> BTreeMap<String, Traffic> {
        self.state.operations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            received_bytes: self.received_bytes + other.received_bytes,
            write_units: self.write_units + other.write_units,
            read_units: self.read_units + other.read_units,
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            sent_bytes: self.sent_bytes - earlier.sent_bytes,
            received_bytes: self.received_bytes - earlier.received_bytes,
            write_units: self.write_units - earlier.write_units,
            read_units: self.read_units - earlier.read_units,
        }
    }
}

impl State {
    fn count(&self, operation: &str, traffic: Traffic) {
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        let sum = operations.entry(operation.to_owned()).or_default();
        *sum = *sum + traffic;
    }

    fn loses_this_reply(&self) -> bool {
        let one_less = |left: u32| left.checked_sub(1);
        self.replies_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok()
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        // A broken connection is the client's to tell of.
        tokio::spawn(serve(client, Arc::clone(&state)));
    }
}

async fn serve(mut client: TcpStream, state: Arc<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut server = TcpStream::connect(state.upstream).await?;
    server.set_nodelay(true)?;
    while let Some(mut request) = Message::read(&mut client).await? {
        let sent_bytes = request.bytes.len() as u64;
        let due = Instant::now() + Duration::from_micros(state.delay_us.load(Ordering::SeqCst));
        let asks_for_units = state.asks_for_units.load(Ordering::SeqCst);
        if asks_for_units {
            units::ask(&mut request);
        }
        server.write_all(&request.bytes).await?;
        let Some(reply) = Message::read(&mut server).await? else { return Ok(()) };
        let operation = operation(request.head());
        let units = if asks_for_units { units::of(&operation, &request, &reply) } else { Units::default() };
        let received_bytes = reply.bytes.len() as u64;
        let (write_units, read_units) = (units.write, units.read);
        state.count(&operation, Traffic { requests: 1, sent_bytes, received_bytes, write_units, read_units });
        if state.loses_this_reply() {
            return Ok(());
        }
        // A sleep that is over already would still last until the timer's next millisecond.
        if Instant::now() < due {
            tokio::time::sleep_until(due).await;
        }
        client.write_all(&reply.bytes).await?;
    }
    Ok(())
}

/// The operation of a request, from its target header: `DynamoDB_20120810.PutItem`.
fn operation(head: &[u8]) -> String {
    let target = header(head, "x-amz-target").unwrap_or_default();
    target.rsplit('.').next().unwrap_or_default().to_owned()
}

/// One request or reply: its head up to the empty line, and a body of Content-Length bytes.
pub(crate) struct Message {
    pub(crate) bytes: Vec<u8>,
    body: usize,
}

impl Message {
    async fn read(stream: &mut TcpStream) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        let mut body = None;
        loop {
            if body.is_none() {
                body = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|head| head + 4);
            }
            if let Some(body) = body
                && bytes.len() >= body + content_length(&bytes[..body])
            {
                return Ok(Some(Self { bytes, body }));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(None);
            }
        }
    }

    pub(crate) fn head(&self) -> &[u8] {
        &self.bytes[..self.body]
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.bytes[self.body..]
    }

    /// Replaces the body, and its length in the head.
    pub(crate) fn set_body(&mut self, body: &[u8]) {
        let head = String::from_utf8_lossy(self.head()).into_owned();
        let lines = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:"));
        let mut bytes = lines.collect::<Vec<_>>().join("\r\n").into_bytes();
        bytes.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
        self.body = bytes.len();
        bytes.extend_from_slice(body);
        self.bytes = bytes;
    }

    pub(crate) fn status(&self) -> u16 {
        let line = self.head().split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        std::str::from_utf8(line).ok().and_then(|status| status.parse().ok()).unwrap_or_default()
    }
}

fn content_length(head: &[u8]) -> usize {
    header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0)
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let mut fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_passed_on_at_once_and_its_reply_is_held_back() {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start(server.local_addr().unwrap()).await.unwrap();
        proxy.delay(Duration::from_secs(3600));
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        client.write_all(b"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();

        let (mut passed_on, _) = server.accept().await.unwrap();
        assert_eq!(Message::read(&mut passed_on).await.unwrap().unwrap().body(), b"{}");
        passed_on.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        // It counts when it has read the reply, and then holds it back.
        while proxy.traffic().requests == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.try_read(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
