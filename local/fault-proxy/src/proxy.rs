//! The proxy: a listener, and a task for each connection.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::Add;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{client, http, server};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::contention::Contention;
use crate::fault::{self, Fault, FaultPlan, Moment, Refusal};
use crate::message::{Reply, Request};
use crate::partition::{PartitionLimits, Partitions};
use crate::reply_body::ReplyBody;
use crate::traffic::Traffic;
use crate::units::{self, Units};

/// A proxy on a free port of 127.0.0.1. A clone is another handle to it.
#[derive(Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    upstream: SocketAddr,
    arrived: AtomicU64,
    latency_us: AtomicU64,
    counts_units: AtomicBool,
    operations: Mutex<BTreeMap<String, Traffic>>,
    /// Faults of the next requests; they go before those of the plan.
    next: Mutex<VecDeque<Fault>>,
    plan: Mutex<Option<Box<dyn FaultPlan>>>,
    contention: Contention,
    partitions: Partitions,
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
            arrived: AtomicU64::new(0),
            latency_us: AtomicU64::new(0),
            counts_units: AtomicBool::new(false),
            operations: Mutex::default(),
            next: Mutex::default(),
            plan: Mutex::default(),
            contention: Contention::default(),
            partitions: Partitions::default(),
        });
        tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { address, state })
    }

    /// Its address.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as an endpoint URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The faults of the next requests, in order.
    pub fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        *self.state.next.lock() = faults.into_iter().collect();
    }

    /// From now on this plan chooses the fault of each request that has none by [`Proxy::plan`].
    pub fn follow(&self, plan: impl FaultPlan + 'static) {
        *self.state.plan.lock() = Some(Box::new(plan));
    }

    /// From now on a reply is sent at the earliest this long after its request arrived, as from a remote service.
    ///
    /// The time of the server is part of the latency, not added to it: a service answers many requests at a time, but
    /// the embedded database one after another, and its backlog would add up over a batch.
    pub fn set_latency(&self, latency: Duration) {
        self.state.latency_us.store(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// From now on a transaction takes this long, and one that writes an item of another in progress is cancelled, as
    /// in DynamoDB ("Amazon DynamoDB transactions: how it works", transaction conflict handling).
    pub fn contend(&self, transaction: Duration) {
        self.state.contention.enable(transaction);
    }

    /// From now on each partition serves so many units a second, and refuses what is beyond, as DynamoDB does.
    pub fn limit_partitions(&self, limits: PartitionLimits) {
        self.state.partitions.limit(limits);
    }

    /// The number of requests that were refused because their partition was too hot.
    #[must_use]
    pub fn throttled(&self) -> u64 {
        self.state.partitions.refused()
    }

    /// The number of transactions that were cancelled because of others.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.state.contention.conflicts()
    }

    /// From now on each request asks for its consumed capacity, and its units are counted.
    ///
    /// Not for measurements of time: the replies get longer.
    pub fn count_units(&self) {
        self.state.counts_units.store(true, Ordering::SeqCst);
    }

    /// The number of requests that have arrived, including those that were then lost or refused.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.state.arrived.load(Ordering::SeqCst)
    }

    /// All traffic so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.operations().into_values().fold(Traffic::default(), Add::add)
    }

    /// The traffic so far by operation: `PutItem`, `TransactWriteItems`, …
    #[must_use]
    pub fn operations(&self) -> BTreeMap<String, Traffic> {
        self.state.operations.lock().clone()
    }
}

impl State {
    fn fault_for(&self, request: &Request) -> Fault {
        self.arrived.fetch_add(1, Ordering::SeqCst);
        if let Some(fault) = self.next.lock().pop_front() {
            return fault;
        }
        self.plan.lock().as_mut().map_or(Fault::None, |plan| plan.fault_for(request))
    }

    fn kill(&self, moment: Moment, process: i32) {
        if let Some(plan) = &mut *self.plan.lock() {
            plan.kill(moment, process);
        }
    }

    fn count(&self, operation: &str, traffic: Traffic) {
        let mut operations = self.operations.lock();
        let sum = operations.entry(operation.to_owned()).or_default();
        *sum = *sum + traffic;
    }
}

/// The connection to the client ends without a reply.
#[derive(Debug, thiserror::Error)]
#[error("the connection breaks")]
struct Broken;

impl From<hyper::Error> for Broken {
    fn from(_: hyper::Error) -> Self {
        Self
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            // A broken connection is what the proxy is for; the client sees it.
            let _ = serve(client, state).await;
        });
    }
}

async fn serve(client: TcpStream, state: Arc<State>) -> io::Result<()> {
    client.set_nodelay(true)?;
    let upstream = Arc::new(Upstream::connect(state.upstream).await?);
    let service = service_fn(move |request| respond(request, Arc::clone(&upstream), Arc::clone(&state)));
    server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service).await.map_err(io::Error::other)
}

async fn respond(
    request: http::Request<Incoming>,
    upstream: Arc<Upstream>,
    state: Arc<State>,
) -> Result<http::Response<ReplyBody>, Broken> {
    let request = Request::read(request).await?;
    // In a task of its own: a request on its way arrives even if its sender has been killed.
    let reply = tokio::spawn(async move { pass(request, &upstream, &state).await });
    Ok(reply.await.map_err(|_| Broken)??.into_http())
}

async fn pass(request: Request, upstream: &Upstream, state: &State) -> Result<Reply, Broken> {
    let arrival = Instant::now();
    let fault = state.fault_for(&request);
    match fault {
        Fault::LoseRequest => return Err(Broken),
        Fault::Kill(Moment::Before, process) => {
            state.kill(Moment::Before, process);
            return Err(Broken);
        }
        Fault::Refuse(refusal) => return Ok(refusal.reply()),
        Fault::Throttle => return Ok(fault::throttled()),
        Fault::Maintain(rest) => return Ok(fault::maintained(rest)),
        Fault::Delay(delay) => tokio::time::sleep(delay).await,
        Fault::None | Fault::LoseReply | Fault::CutReply | Fault::Repeat | Fault::Kill(Moment::After, _) => {}
    }
    let admitted = match state.partitions.admit(&request) {
        Ok(admitted) => admitted,
        Err(refusal) => return Ok(*refusal),
    };
    let Some(_lock) = state.contention.lock(&request).await else { return Ok(Refusal::Cancelled.reply()) };
    if fault == Fault::Repeat {
        upstream.send(&request).await?;
    }
    let (mut reply, units) = forward(request, upstream, state).await?;
    state.partitions.settle(&admitted, units);
    match fault {
        Fault::LoseReply => return Err(Broken),
        Fault::CutReply => reply.cut(),
        Fault::Kill(moment, process) => {
            state.kill(moment, process);
            return Err(Broken);
        }
        Fault::None
        | Fault::LoseRequest
        | Fault::Repeat
        | Fault::Delay(_)
        | Fault::Refuse(_)
        | Fault::Throttle
        | Fault::Maintain(_) => {}
    }
    let due = arrival + Duration::from_micros(state.latency_us.load(Ordering::SeqCst));
    // A sleep until a time in the past still lasts until the timer's next millisecond.
    if Instant::now() < due {
        tokio::time::sleep_until(due).await;
    }
    Ok(reply)
}

/// Sends a request to the server and counts it when its reply is there.
async fn forward(mut request: Request, upstream: &Upstream, state: &State) -> Result<(Reply, Units), Broken> {
    let sent_bytes = request.bytes();
    let counts_units = state.counts_units.load(Ordering::SeqCst) || state.partitions.are_limited();
    if counts_units {
        units::ask(&mut request);
    }
    let reply = upstream.send(&request).await?;
    let units = if counts_units { units::of(&request, &reply) } else { Units::default() };
    let Units { write: write_units, read: read_units } = units;
    let received_bytes = reply.bytes();
    state.count(request.operation(), Traffic { requests: 1, sent_bytes, received_bytes, write_units, read_units });
    Ok((reply, units))
}

/// The connection to the server that belongs to one client connection.
struct Upstream(tokio::sync::Mutex<client::conn::http1::SendRequest<Full<Bytes>>>);

impl Upstream {
    async fn connect(address: SocketAddr) -> io::Result<Self> {
        let server = TcpStream::connect(address).await?;
        server.set_nodelay(true)?;
        let (sender, connection) =
            client::conn::http1::handshake(TokioIo::new(server)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self(tokio::sync::Mutex::new(sender)))
    }

    async fn send(&self, request: &Request) -> hyper::Result<Reply> {
        let mut sender = self.0.lock().await;
        sender.ready().await?;
        Reply::read(sender.send_request(request.to_http()).await?).await
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: DynamoDB_20120810.PutItem\r\n\
        Content-Length: 2\r\n\r\n{}";

    /// A server that answers each request with its number, and counts them.
    async fn server() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, count) = (listener.local_addr().expect("bound"), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let counted = Arc::clone(&counted);
                let service = service_fn(move |request| {
                    let counted = Arc::clone(&counted);
                    async move {
                        let request = Request::read(request).await?;
                        assert_eq!(request.json(), serde_json::json!({}));
                        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
                        Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(number.to_string()))))
                    }
                });
                let server = server::conn::http1::Builder::new().serve_connection(TokioIo::new(client), service);
                tokio::spawn(server);
            }
        });
        (address, count)
    }

    struct World {
        proxy: Proxy,
        served: Arc<AtomicU64>,
    }

    impl World {
        async fn start() -> Self {
            let (address, served) = server().await;
            Self { proxy: Proxy::start(address).await.expect("a port"), served }
        }

        async fn send(&self) -> TcpStream {
            let mut client = TcpStream::connect(self.proxy.address).await.expect("connects");
            client.write_all(REQUEST).await.expect("sent");
            client
        }

        /// The reply to a request on a new connection; `None` if the connection breaks.
        async fn exchange(&self) -> Option<String> {
            let (mut client, mut reply) = (self.send().await, Vec::new());
            while !is_whole(&reply) {
                if client.read_buf(&mut reply).await.ok()? == 0 {
                    return None;
                }
            }
            String::from_utf8(reply).ok()
        }

        /// All that arrives on a new connection until it breaks.
        async fn until_broken(&self) -> String {
            let (mut client, mut arrived) = (self.send().await, Vec::new());
            while client.read_buf(&mut arrived).await.is_ok_and(|bytes| bytes > 0) {}
            String::from_utf8(arrived).expect("text")
        }

        fn served(&self) -> u64 {
            self.served.load(Ordering::SeqCst)
        }
    }

    fn is_whole(reply: &[u8]) -> bool {
        let reply = String::from_utf8_lossy(reply);
        let Some((head, body)) = reply.split_once("\r\n\r\n") else { return false };
        head.lines().any(|line| line == format!("content-length: {}", body.len()))
    }

    fn body(reply: Option<String>) -> Option<String> {
        reply.and_then(|reply| Some(reply.split_once("\r\n\r\n")?.1.to_owned()))
    }

    #[tokio::test]
    async fn each_fault_does_what_it_says_to_one_request() {
        let world = World::start().await;
        let delay = Duration::from_millis(20);
        for (fault, answer, served) in [
            (Fault::None, Some("1"), 1),
            (Fault::LoseRequest, None, 1),
            (Fault::LoseReply, None, 2),
            (Fault::Repeat, Some("4"), 4),
            (Fault::Delay(delay), Some("5"), 5),
            (Fault::Kill(Moment::Before, 1), None, 5),
            (Fault::Kill(Moment::After, 1), None, 6),
        ] {
            world.proxy.plan([fault]);
            let start = Instant::now();
            assert_eq!(body(world.exchange().await).as_deref(), answer, "{fault:?}");
            assert_eq!(world.served(), served, "{fault:?}");
            assert!(!matches!(fault, Fault::Delay(_)) || start.elapsed() >= delay);
        }
        world.proxy.plan([Fault::Refuse(Refusal::Throttled)]);
        let refused = world.exchange().await.expect("a reply");
        assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("#ThrottlingException"), "{refused}");
        assert_eq!((world.served(), world.proxy.requests()), (6, 8));
        world.proxy.plan([Fault::Throttle]);
        let throttled = world.exchange().await.expect("a reply");
        assert!(throttled.starts_with("HTTP/1.1 429 "), "{throttled}");
        assert!(throttled.ends_with(r#"{"message":"Too Many Requests"}"#), "{throttled}");
        assert_eq!((world.served(), world.proxy.requests()), (6, 9));
        world.proxy.plan([Fault::Maintain(Duration::from_secs(3600))]);
        let refused = world.exchange().await.expect("a reply");
        assert!(
            refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: ") && refused.contains(" GMT\r\n")
        );
        assert_eq!((world.served(), world.proxy.requests()), (6, 10));
        assert_eq!(body(world.exchange().await).as_deref(), Some("7"), "the plan is used up");
    }

    #[tokio::test]
    async fn a_reply_that_is_cut_announces_all_of_its_body_and_sends_half() {
        let world = World::start().await;
        world.proxy.plan([[Fault::None; 9].as_slice(), &[Fault::CutReply]].concat());
        for _ in 0..9 {
            world.exchange().await;
        }
        let arrived = world.until_broken().await;
        assert!(arrived.starts_with("HTTP/1.1 200 ") && arrived.contains("content-length: 2\r\n"), "{arrived}");
        assert_eq!((body(Some(arrived)).as_deref(), world.served()), (Some("1"), 10));
    }

    #[tokio::test]
    async fn a_request_arrives_even_if_its_sender_is_gone_by_then() {
        let world = World::start().await;
        world.proxy.plan([Fault::Delay(Duration::from_millis(20))]);
        let client = world.send().await;
        while world.proxy.requests() == 0 {
            tokio::task::yield_now().await;
        }
        drop(client);
        while world.served() == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn bytes_are_counted_by_operation_as_they_are_on_the_wire() {
        let world = World::start().await;
        let reply = world.exchange().await.expect("a reply");
        let operations = world.proxy.operations();
        let Traffic { requests, sent_bytes, received_bytes, write_units, .. } = operations["PutItem"];
        assert_eq!((requests, sent_bytes, received_bytes), (1, REQUEST.len() as u64, reply.len() as u64));
        assert_eq!((operations.len(), write_units), (1, 0.0));
    }

    #[tokio::test]
    async fn a_request_is_forwarded_at_once_and_its_reply_is_held_back() {
        let world = World::start().await;
        world.proxy.set_latency(Duration::from_secs(3600));
        let client = world.send().await;
        // It counts when it has read the reply, and then holds it back.
        while world.proxy.traffic().requests == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(client.try_read(&mut [0]).expect_err("no reply").kind(), io::ErrorKind::WouldBlock);
    }
}
